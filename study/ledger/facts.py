"""Facts: the events of a study. Each is one line of the ledger, and its values are checked when it is read.

`study.ledger.order` checks whether a fact may follow those before it.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from study.ledger.values import (
    Count,
    Digest,
    Distributions,
    EndState,
    EpochMetrics,
    InnerPath,
    LayerCosts,
    Metrics,
    Ordinal,
    RequestId,
    TrialId,
    TrialSettings,
)


class SessionOutcome(StrEnum):
    """End of a session that its driver has recorded itself."""

    FINISHED = "finished"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, kw_only=True)
class Fact:
    """Base of all facts.

    Attributes:
        time: seconds since 1970 by the driver's clock, for display.
        elapsed: seconds since the start of the session by a monotonic clock, for durations; None in facts of earlier
            versions.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    time: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    elapsed: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


@dataclass(frozen=True, kw_only=True)
class Proposed(Fact):
    """Base of facts about a proposal of the sampler.

    Attributes:
        params: Optuna's parameters, by name.
        distributions: Optuna's distributions of these parameters as JSON, by name.
    """

    params: dict[str, Any]
    distributions: Distributions

    def __post_init__(self) -> None:
        """Check that params and distributions have the same names. Raises ValueError."""
        if self.params.keys() != self.distributions.keys():
            raise ValueError(
                f"params must be those of distributions {sorted(self.distributions)}, got {sorted(self.params)}"
            )


@dataclass(frozen=True, kw_only=True)
class Prior(Proposed):
    """A result of another study, named by `source`, from which the sampler learns."""

    fact: Literal["prior"] = "prior"
    metrics: Metrics
    source: str


@dataclass(frozen=True, kw_only=True)
class Baseline(Fact):
    """A float network has trained an epoch."""

    fact: Literal["baseline"] = "baseline"
    seed: Count
    epoch: Ordinal
    val_accuracy: float
    train_seconds: float


@dataclass(frozen=True, kw_only=True)
class Measured(Fact):
    """The cost of quantizing each layer of a seed's float network was measured.

    Attributes:
        sensitivity: `trainables.groups.sensitivity.Sensitivity`, as a dictionary.
    """

    fact: Literal["measured"] = "measured"
    seed: Count
    sensitivity: LayerCosts


@dataclass(frozen=True, kw_only=True)
class BaselineWritten(Fact):
    """The checkpoint of a float network was written, or found whole without a record; `sha256` is its checksum."""

    fact: Literal["baseline_checkpoint"] = "baseline_checkpoint"
    seed: Count
    sha256: Digest


@dataclass(frozen=True, kw_only=True)
class Asked(Proposed):
    """A trial was created.

    Attributes:
        config: `TrialConfig` of the trial, as a dictionary.
        sampler_state: attributes that Optuna's sampler stored in its `trial` and its `study`.
        space_version: version of the study that proposed it, from 1.
        request: request of a user that asked for it; None for a proposal of the sampler.
    """

    fact: Literal["asked"] = "asked"
    number: Count
    trial_id: TrialId
    anchor: bool
    config: TrialSettings
    config_hash: str
    sampler_state: dict[str, dict[str, Any]] | None = None
    space_version: Ordinal = 1
    request: RequestId | None = None


@dataclass(frozen=True, kw_only=True)
class Enqueued(Fact):
    """A user has asked for a trial with these searched fields, by dotted name, which comes before further proposals."""

    fact: Literal["enqueued"] = "enqueued"
    request: RequestId
    user: str
    searched: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class StopRequested(Fact):
    """A user has asked the driver to end, or, with a `number`, a trial to end after its present epoch."""

    fact: Literal["stop_requested"] = "stop_requested"
    request: RequestId
    user: str
    number: Count | None = None


@dataclass(frozen=True, kw_only=True)
class Repeated(Proposed):
    """The sampler proposed a configuration again and received the known result of trial `number`."""

    fact: Literal["repeated"] = "repeated"
    number: Count
    state: EndState
    failure: str | None = None
    metrics: Metrics
    sampler_state: dict[str, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Epoch(Fact):
    """A trial has trained an epoch."""

    fact: Literal["epoch"] = "epoch"
    number: Count
    metrics: EpochMetrics


@dataclass(frozen=True, kw_only=True)
class Lost(Fact):
    """The actor that trained a trial was lost; the trial continues from its last checkpoint."""

    fact: Literal["lost"] = "lost"
    number: Count
    reason: str


@dataclass(frozen=True, kw_only=True)
class Checkpointed(Fact):
    """A checkpoint of a trial after an epoch was written, at a path relative to the study.

    Attributes:
        sha256: checksum of its file; None in facts of earlier versions.
    """

    fact: Literal["checkpoint"] = "checkpoint"
    number: Count
    epoch: Ordinal
    path: InnerPath
    sha256: Digest | None = None


@dataclass(frozen=True, kw_only=True)
class Ended(Fact):
    """A trial has ended."""

    fact: Literal["ended"] = "ended"
    number: Count
    state: EndState
    failure: str | None


@dataclass(frozen=True, kw_only=True)
class Stopped(Fact):
    """A rule of the section `stop` was met, so that no further trial is created.

    Attributes:
        reason: the rule, in words.
        trials: number of trials of the study at that time.
        rules: the section `stop` at that time. The study goes on if it is extended, or if its rules are changed.
    """

    fact: Literal["stopped"] = "stopped"
    reason: str
    trials: Ordinal
    rules: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class SessionStarted(Fact):
    """A driver started a session; sessions are numbered from 1.

    Attributes:
        study_yaml: SHA-256 of study.yaml; None in facts of earlier versions.
    """

    fact: Literal["session_started"] = "session_started"
    session: Ordinal
    pid: Count
    hostname: str
    provenance: dict[str, Any]
    study_yaml: Digest | None = None


@dataclass(frozen=True, kw_only=True)
class Configured(Fact):
    """study.yaml, whose SHA-256 is `replaces`, is about to be replaced by one whose SHA-256 is `study_yaml`.

    Attributes:
        version: number of the version that begins with it; None if space and early stopping stay as they are.
        user: name of the user who made the change; None in facts of earlier versions.
        changes: the change, each part as KEY=VALUE.
    """

    fact: Literal["configured"] = "configured"
    study_yaml: Digest
    replaces: Digest
    version: Ordinal | None = None
    user: str | None = None
    changes: list[str] | None = None


@dataclass(frozen=True, kw_only=True)
class SessionEnded(Fact):
    """A driver ended its session in an orderly way."""

    fact: Literal["session_ended"] = "session_ended"
    session: Ordinal
    outcome: SessionOutcome


FACTS: dict[str, type[Fact]] = {
    kind.fact: kind
    for kind in (
        Prior,
        Baseline,
        BaselineWritten,
        Measured,
        Asked,
        Enqueued,
        StopRequested,
        Repeated,
        Epoch,
        Lost,
        Checkpointed,
        Ended,
        Stopped,
        SessionStarted,
        SessionEnded,
        Configured,
    )
}
"""All kinds of facts, by their names in the ledger."""

PRIOR = Prior.fact
BASELINE = Baseline.fact
BASELINE_WRITTEN = BaselineWritten.fact
MEASURED = Measured.fact
ASKED = Asked.fact
ENQUEUED = Enqueued.fact
STOP_REQUESTED = StopRequested.fact
REPEATED = Repeated.fact
EPOCH = Epoch.fact
LOST = Lost.fact
CHECKPOINT = Checkpointed.fact
ENDED = Ended.fact
STOPPED = Stopped.fact
SESSION_STARTED = SessionStarted.fact
SESSION_ENDED = SessionEnded.fact
CONFIGURED = Configured.fact
