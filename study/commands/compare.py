"""`qar compare`: the settings in which studies differ, and their results side by side."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import moocore
import numpy as np
from rich.table import Table

from study.config import StudyConfig
from study.ledger.front import front_so_far, hypervolume_of, knee_of
from study.ledger.history import History, Trial
from study.storage.folder import StudyFolder
from study.storage.liveliness import Liveliness, liveliness

UNSET = "–"
"""Text for a setting that a study does not have."""

MOST_CHARACTERS = 40
"""Longest value of a setting that the table shows whole."""

NOT_COMPARED = ("name", "trial.data_dir", "code")


@dataclass(frozen=True, kw_only=True)
class ComparedStudy:
    """A study beside others."""

    folder: StudyFolder
    config: StudyConfig
    history: History
    state: Liveliness

    @property
    def front(self) -> list[Trial]:
        """Its front."""
        return front_so_far(self.history)


def read_studies(folders: Sequence[StudyFolder]) -> list[ComparedStudy]:
    """Read the studies to compare.

    Raises:
        ValueError: there are fewer than two different ones, or a folder holds no study.
        DamagedFileError: the files of a study can't be read.
    """
    if len({folder.address for folder in folders}) < max(2, len(folders)):
        raise ValueError(f"qar compare needs at least two different studies, got {', '.join(map(str, folders))}")
    studies = []
    for folder in folders:
        config, history = folder.read_config(), folder.read_history()
        state = liveliness(folder, history, config)
        studies.append(ComparedStudy(folder=folder, config=config, history=history, state=state))
    return studies


def settings_table(studies: Sequence[ComparedStudy]) -> Table:
    """Return a table of the settings in which the studies differ; without rows if there are none."""
    table = _table(studies, "setting")
    values = [flat(study.config.model_dump()) for study in studies]
    for key in dict.fromkeys(key for settings in values for key in settings):
        row = [settings.get(key, UNSET) for settings in values]
        if key.startswith(NOT_COMPARED) or all(value == row[0] for value in row):
            continue
        table.add_row(key, *map(_shown, row))
    return table


def results_table(studies: Sequence[ComparedStudy]) -> Table:
    """Return a table of the results, and of the best accuracy at each K that the studies have in common."""
    table = _table(studies, "result")
    fronts = [study.front for study in studies]
    table.add_row("state", *(str(study.state) for study in studies))
    table.add_row("trials", *(f"{study.history.num_ended} of {study.config.trials}" for study in studies))
    table.add_row("hypervolume", *(f"{hypervolume_of(front):.4f}" for front in fronts))
    table.add_row("points of the joint front", *map(str, _shares_of_joint_front(fronts)))
    table.add_row("knee", *(_point(knee_of(front)) for front in fronts))
    best = [_best_by_levels(study.history) for study in studies]
    for levels in sorted(set.intersection(*(set(found) for found in best))):
        table.add_row(f"best at K = {levels}", *(_point(found[levels]) for found in best))
    return table


def _table(studies: Sequence[ComparedStudy], header: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(header, no_wrap=True)
    names = [study.folder.path.name for study in studies]
    for study, name in zip(studies, names, strict=True):
        table.add_column(name if names.count(name) == 1 else study.folder.address)
    return table


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings in one level, with dotted names."""
    return dict(_flat(values, prefix))


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"


def _point(trial: Trial | None) -> str:
    if trial is None:
        return UNSET
    where = f"{trial.last['val_accuracy']:.4f} at {trial.last['bits_per_weight']:.2f} bits"
    return f"{where} ({trial.config['family']}, K = {trial.config['num_levels']})"


def _best_by_levels(history: History) -> dict[int, Trial]:
    best: dict[int, Trial] = {}
    for trial in history.trials.values():
        if trial.is_front_candidate:
            levels = trial.config["num_levels"]
            if levels not in best or trial.last["val_accuracy"] > best[levels].last["val_accuracy"]:
                best[levels] = trial
    return best


def _shares_of_joint_front(fronts: Sequence[Sequence[Trial]]) -> list[int]:
    """Return how many points of the front of all studies together come from each."""
    owners = [place for place, front in enumerate(fronts) for _ in front]
    points = [(-t.last["val_accuracy"], t.last["bits_per_weight"]) for front in fronts for t in front]
    kept = moocore.is_nondominated(np.array(points), keep_weakly=True) if points else []
    return [
        sum(bool(keep) and owner == place for owner, keep in zip(owners, kept, strict=True))
        for place in range(len(fronts))
    ]
