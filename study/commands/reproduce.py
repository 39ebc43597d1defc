"""`qar reproduce`: trains a trial again without Ray, and compares each number with the recorded one."""

import math
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from rich.table import Table

from study.addresses import check_code
from study.commands.export import find_trial
from study.ledger.history import History, Session, Trial
from study.records.provenance import provenance
from study.run.session_facts import check_loop
from study.storage.folder import StudyFolder
from trainables.config import TrialConfig
from trainables.data.datasets import chosen_data
from trainables.errors import NonFiniteLossError
from trainables.files.checkpoint import read_weights
from trainables.packed.training import PackedTraining
from trainables.process import prepare_process
from trainables.result import TrialState
from trainables.run import CompressionRun, Metrics

TIMES_AND_PLACES = {"train_seconds", "device", "hostname"}
"""Metrics that are expected to differ in a second run."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One number of one epoch, as recorded and as reproduced.

    Attributes:
        epoch: epoch, counted across both phases, from 1.
        metric: name of the metric as in `trainables.result`, or `failure`.
    """

    epoch: int
    metric: str
    recorded: Any
    reproduced: Any

    @property
    def equal(self) -> bool:
        """Whether all bits are the same; a NaN equals a NaN."""
        both_nan = all(isinstance(value, float) and math.isnan(value) for value in (self.recorded, self.reproduced))
        return both_nan or self.recorded == self.reproduced

    @property
    def difference(self) -> float | None:
        """The reproduced minus the recorded number; None if one of them is no number."""
        numbers = all(isinstance(value, (int, float)) for value in (self.recorded, self.reproduced))
        return self.reproduced - self.recorded if numbers else None


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """A part of the environment that differs, or that is unknown."""

    name: str
    recorded: str
    here: str


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """Result of training a trial again.

    Attributes:
        trial: the trial, as recorded.
        comparisons: comparisons of all metrics of all epochs, in order.
        surroundings: differences from the environment in which the trial was trained.
    """

    trial: Trial
    comparisons: list[Comparison]
    surroundings: list[Surroundings]

    @property
    def differing(self) -> list[Comparison]:
        """Comparisons whose numbers are not equal."""
        return [comparison for comparison in self.comparisons if not comparison.equal]

    @property
    def last_epoch(self) -> list[Comparison]:
        """Comparisons of the last epoch."""
        last = max(comparison.epoch for comparison in self.comparisons)
        return [comparison for comparison in self.comparisons if comparison.epoch == last]


def reproduce(
    folder: StudyFolder,
    name: str,
    data_dir: str | None = None,
    on_epoch: Callable[[int, int], None] | None = None,
    *,
    dataset: str | None = None,
    trust_addresses: bool = False,
) -> Reproduction:
    """Train a trial again in this process, for as many epochs as are recorded. The study is only read.

    Args:
        folder: folder of the study.
        name: number or trial_id of the trial.
        data_dir: folder of the data sets; None for the one that the trial used.
        on_epoch: called with the epoch that begins, and the number of epochs.
        dataset: data set; None for the one that the trial used.
        trust_addresses: whether files at addresses that the study names may be downloaded or fetched.

    Raises:
        ValueError: there is no such study or trial, no epoch of it is recorded, its data set is not available, or a
            loop of the user's own has trained it.
        DamagedFileError: the study's files can't be read.
    """
    study = folder.read_config()
    check_code(study, trust_addresses)
    history = folder.read_history()
    check_loop(folder, history, own=False)
    trial = find_trial(history, name, folder)
    if not trial.epochs and trial.state != TrialState.FAIL:
        raise ValueError(f"trial {trial.number} ({trial.state}) has no epoch to compare with; choose another --trial")
    config = TrialConfig.from_stored(trial.config)
    source = chosen_data(config.dataset, config.data_dir, dataset, data_dir, trust_addresses)
    config = replace(config, dataset=source.name, data_dir=source.data_dir)
    prepare_process(study.resources.cpus)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    run = CompressionRun(config, device, _initial_weights(folder, config, history), fetch=source.fetch)
    return Reproduction(
        trial=trial,
        comparisons=_compare(
            trial, run, _trainer(study.resources.trials_per_actor), on_epoch or (lambda epoch, epochs: None)
        ),
        surroundings=surroundings_of(trial, history),
    )


def _initial_weights(folder: StudyFolder, config: TrialConfig, history: History) -> dict[str, Any] | None:
    if config.init != "pretrained" or config.initial_weights is not None:
        return None
    path = folder.fetched_baseline(config.seed)
    if not path.is_dir():
        raise ValueError(f"the float network that the trial began from is gone from {path}; restore it from a copy")
    return read_weights(path, expected=history.baseline_sums.get(config.seed))


def _trainer(places: int) -> Callable[[CompressionRun], Metrics]:
    """Return a function that trains an epoch as the study did: alone, or at a place of a pack, whose others are empty.

    Args:
        places: `resources.trials_per_actor` of the study.
    """
    if places == 1:
        return CompressionRun.run_epoch
    training = PackedTraining(places)

    def train(run: CompressionRun) -> Metrics:
        result = training.run_epoch({0: run})[0]
        if isinstance(result, Exception):
            raise result
        return result

    return train


def _compare(
    trial: Trial,
    run: CompressionRun,
    train: Callable[[CompressionRun], Metrics],
    on_epoch: Callable[[int, int], None],
) -> list[Comparison]:
    """Train the recorded epochs; a trial that failed is trained for one more epoch, which should fail again."""
    comparisons: list[Comparison] = []
    failed = trial.state == TrialState.FAIL
    epochs = min(max(trial.epochs, default=0) + failed, run.config.epochs)
    for epoch in range(1, epochs + 1):
        on_epoch(epoch, epochs)
        recorded = trial.epochs.get(epoch)
        try:
            metrics = train(run)
        except NonFiniteLossError as error:
            text = trial.failure if recorded is None else None
            return [*comparisons, Comparison(epoch=epoch, metric="failure", recorded=text, reproduced=str(error))]
        if recorded is None:
            comparisons.append(Comparison(epoch=epoch, metric="failure", recorded=trial.failure, reproduced=None))
            continue
        comparisons += [
            Comparison(epoch=epoch, metric=metric, recorded=recorded[metric], reproduced=metrics[metric])
            for metric in metrics
            if metric in recorded and metric not in TIMES_AND_PLACES
        ]
    return comparisons


def surroundings_of(trial: Trial, history: History) -> list[Surroundings]:
    """Return how this environment differs from the trial's: versions, platform, commit, device, host."""
    here = provenance()
    places = {"host": (trial.last.get("hostname"), socket.gethostname())}
    places["device"] = (trial.last.get("device"), torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu")
    differing = [
        Surroundings(name=name, recorded=str(recorded), here=str(now))
        for name, (recorded, now) in places.items()
        if recorded not in (None, now)
    ]
    known = sorted(set(trial.sessions.values()))
    if not known:  # no epoch of it is recorded, and so no place
        differing += [Surroundings(name=name, recorded="unknown", here=str(now)) for name, (_, now) in places.items()]
        known = list(range(1, len(history.sessions) + 1))
    for number in known:
        differing += _differences(history.sessions[number - 1], here)
    return list(dict.fromkeys(differing))


def _differences(session: Session, here: dict[str, Any]) -> list[Surroundings]:
    then = session.provenance
    pairs = {"platform": (then.get("platform"), here["platform"])}
    pairs |= {
        package: (version, here["versions"].get(package)) for package, version in then.get("versions", {}).items()
    }
    differing = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    # Uncommitted changes are not recorded, so they may differ.
    if then.get("git_sha") != here["git_sha"] or then.get("git_dirty") or here["git_dirty"]:
        differing["commit"] = (_commit(then), _commit(here))
    return [Surroundings(name=name, recorded=str(then), here=str(now)) for name, (then, now) in differing.items()]


def _commit(provenance: dict[str, Any]) -> str:
    sha = provenance.get("git_sha")
    if sha is None:
        return "unknown"
    return sha[:12] + (" with uncommitted changes" if provenance.get("git_dirty") else "")


def comparison_table(done: Reproduction) -> Table:
    """Return a table of the metrics of the last epoch, recorded and reproduced."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for header in ("metric", "recorded", "reproduced", "difference"):
        table.add_column(header, justify="left" if header == "metric" else "right")
    for comparison in done.last_epoch:
        difference = comparison.difference
        shown = "equal" if comparison.equal else "differs" if difference is None else f"{difference:+.2g}"
        table.add_row(comparison.metric, _value(comparison.recorded), _value(comparison.reproduced), shown)
    return table


def conclusions(done: Reproduction) -> list[str]:
    """Return lines about the number of differences, the first one, and differences of the environment."""
    trial, differing = done.trial, done.differing
    epochs = len({comparison.epoch for comparison in done.comparisons})
    lines = [f"trial {trial.number} ({trial.trial_id}), {trial.state}, seed {trial.config['seed']}, {epochs} epochs"]
    total = len(done.comparisons)
    if differing:
        first = differing[0]
        lines.append(f"differs: {len(differing)} of {total} numbers, first {first.metric} of epoch {first.epoch}")
    else:
        lines.append(f"equal: all {total} numbers, bit by bit")
    if done.surroundings:
        lines.append("the environment differs, or is not known to be the same, in:")
        lines += [f"    {part.name}: recorded {part.recorded}, here {part.here}" for part in done.surroundings]
    else:
        lines.append("the environment is the same: host, device, versions, commit")
    return lines


def _value(value: Any) -> str:
    return "–" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
