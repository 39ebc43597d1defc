"""Facts: the events of a study. Each is one line of the ledger, and its values are checked when it is read.

`study.ledger.order` checks whether a fact may follow those before it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from study.containment import is_file_name, is_inner_path
from trainables.config import TrialConfig, with_earlier_defaults
from trainables.result import END_STATES, EPOCH_COLUMNS, TRIAL_COLUMNS, TrialState

METRICS = {column.name: column for column in (*TRIAL_COLUMNS, *EPOCH_COLUMNS)}
"""Columns that define the type and range of each metric, by name."""
REQUIRED_METRICS = ("epoch", "phase", "val_accuracy", "bits_per_weight", "train_seconds")
"""Metrics that every epoch must have."""
REQUIRED_SETTINGS = ("family", "num_levels", "lam", "placement", "seed", "regularize_epochs", "finetune_epochs")
"""Settings that the configuration of every trial must have, in all versions."""
_JSON_TYPES: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,)}
_TRIAL_CONFIG = TypeAdapter(TrialConfig)


def _check_metrics(metrics: dict[str, Any]) -> dict[str, Any]:
    for name, value in metrics.items():
        column = METRICS.get(name)
        if column is None:
            raise ValueError(f"{name} must be one of the metrics, got an unknown one")
        if value is None:
            continue
        if type(value) not in _JSON_TYPES[column.type]:
            raise ValueError(f"{name} must be of type {column.type}, got {value!r}")
        if column.range is not None and (
            value < column.range.low or value > column.range.high or (column.range.above and value == column.range.low)
        ):
            raise ValueError(f"{name} must be a number {column.range}, got {value!r}")
        if column.choices and value not in column.choices:
            raise ValueError(f"{name} must be one of {list(column.choices)}, got {value!r}")
    return metrics


def _check_epoch_metrics(metrics: dict[str, Any]) -> dict[str, Any]:
    missing = [name for name in REQUIRED_METRICS if metrics.get(name) is None]
    if missing:
        raise ValueError(f"metrics of an epoch must hold {missing}")
    return _check_metrics(metrics)


def _check_config(config: dict[str, Any]) -> dict[str, Any]:
    missing = [name for name in REQUIRED_SETTINGS if name not in config]
    if missing:
        raise ValueError(f"config must hold {missing}")
    _TRIAL_CONFIG.validate_json(json.dumps(with_earlier_defaults(config)), strict=True)
    return config


def _check_trial_id(trial_id: str) -> str:
    if not is_file_name(trial_id):  # it names the trial's folder
        raise ValueError(f"trial_id must be a file name, got {trial_id!r}")
    return trial_id


def _check_path(path: str) -> str:
    if not is_inner_path(path):
        raise ValueError(f"checkpoint must lie in the study, got {path!r}")
    return path


def _end_state(state: Any) -> TrialState:
    if state not in END_STATES:
        raise ValueError(f"state must be one of {', '.join(END_STATES)}, got {state!r}")
    return TrialState(state)


def _check_distributions(distributions: dict[str, str]) -> dict[str, str]:
    for name, text in distributions.items():
        distribution = json.loads(text)
        if not isinstance(distribution, dict) or set(distribution) != {"name", "attributes"}:
            raise ValueError(f"distribution of {name} must have a name and attributes, got {text!r}")
    return distributions


Count = Annotated[int, Field(ge=0)]
Ordinal = Annotated[int, Field(ge=1)]
Metrics = Annotated[dict[str, Any], AfterValidator(_check_metrics)]
EpochMetrics = Annotated[dict[str, Any], AfterValidator(_check_epoch_metrics)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
RequestId = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
Distributions = Annotated[dict[str, str], AfterValidator(_check_distributions)]
EndState = Annotated[TrialState, BeforeValidator(_end_state)]


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
    """A float baseline has trained an epoch."""

    fact: Literal["baseline"] = "baseline"
    seed: Count
    epoch: Ordinal
    val_accuracy: float
    train_seconds: float


def _check_sensitivity(values: dict[str, Any]) -> dict[str, Any]:
    from trainables.groups.sensitivity import Sensitivity  # here, since it imports torch

    TypeAdapter(Sensitivity).validate_json(json.dumps(values), strict=True)
    return values


@dataclass(frozen=True, kw_only=True)
class Measured(Fact):
    """What quantizing each layer of a seed's float network costs was measured.

    Attributes:
        sensitivity: `trainables.groups.sensitivity.Sensitivity`, as a dictionary.
    """

    fact: Literal["measured"] = "measured"
    seed: Count
    sensitivity: Annotated[dict[str, Any], AfterValidator(_check_sensitivity)]


@dataclass(frozen=True, kw_only=True)
class BaselineWritten(Fact):
    """The checkpoint of a float baseline was written, or found whole without a record; `sha256` is its checksum."""

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
    trial_id: Annotated[str, AfterValidator(_check_trial_id)]
    anchor: bool
    config: Annotated[dict[str, Any], AfterValidator(_check_config)]
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
    path: Annotated[str, AfterValidator(_check_path)]
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

_ADAPTERS: dict[str, TypeAdapter[Fact]] = {name: TypeAdapter(kind) for name, kind in FACTS.items()}

_SURROGATE = "\\ud"
"""Start of an escaped surrogate in JSON. A pair encodes one character; pydantic refuses a lone surrogate."""

_SURROGATE_BYTES = _SURROGATE.encode()

_START = re.compile(rb'\{"fact": "([a-z_]+)"')
"""Start of every line that `encode` has written, which tells the kind without decoding the line twice."""
_ADAPTERS_BY_START = {name.encode(): adapter for name, adapter in _ADAPTERS.items()}


def encode(entry: Mapping[str, Any]) -> bytes:
    """Return the line of the ledger that holds a fact; lone surrogates are replaced by U+FFFD."""
    text = json.dumps(entry)
    if _SURROGATE in text:
        whole = json.dumps(entry, ensure_ascii=False).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        text = json.dumps(json.loads(whole))
    return text.encode() + b"\n"


def decode(line: bytes) -> Fact:
    """Return the fact that a line of the ledger holds.

    Raises:
        ValueError: the line holds no valid fact; the message gives the reason, in one line.
    """
    start = _START.match(line)
    if start is not None and start[1] in _ADAPTERS_BY_START and _SURROGATE_BYTES not in line:
        try:
            return _ADAPTERS_BY_START[start[1]].validate_json(line)
        except ValidationError:
            pass  # what follows gives the reason
    try:
        entry = json.loads(line)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    name = entry.get("fact") if isinstance(entry, dict) else None
    if not isinstance(name, str) or name not in _ADAPTERS:
        raise ValueError(f"fact must be one of {list(FACTS)}, got {name!r}")
    try:
        return _ADAPTERS[name].validate_json(encode(entry) if _SURROGATE_BYTES in line else line)
    except ValidationError as error:
        raise ValueError("; ".join(_in_words(problem) for problem in error.errors(include_url=False))) from None


def _in_words(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    text = problem["msg"].removeprefix("Value error, ")
    return " ".join((f"{where}: {text}" if where else text).split())
