"""A study as the page of a report needs it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.load import find_epochs, load_trials
from analysis.report.origin import Named, Origin, read_origin
from analysis.report.points import EPOCH_COLUMNS, Selection, confirmed_points, select
from analysis.statistics.confirmed import FOLDER, confirmed, load_confirmation, load_gaps


@dataclass(frozen=True, kw_only=True, eq=False)
class PageStudy:
    """A study as the page needs it."""

    origin: Origin
    trials: pd.DataFrame
    epochs: pd.DataFrame
    selection: Selection
    confirmation: pd.DataFrame | None
    confirmed: list[dict[str, Any]]
    gaps: list[str]

    @property
    def results(self) -> pd.DataFrame | None:
        """Rows of `analysis.statistics.confirmed.confirmed`; None if nothing was confirmed."""
        return None if self.confirmation is None else confirmed(self.trials, self.confirmation)

    @property
    def budget(self) -> tuple[int, int]:
        """Epochs of both phases; as long as the longest trial where study.yaml doesn't say."""
        return self.origin.budget or (max([1, *self.trials["epochs"].dropna().astype(int)]), 0)


def load_page_study(folder: Path, named: Named = str, label: str | None = None) -> PageStudy:
    """Reads a study; `named` and `label` are as in `read_origin`; raises what `analysis.load.load_trials` does."""
    origin = read_origin(folder, named, label)
    trials, epochs = load_trials(folder), find_epochs(folder, EPOCH_COLUMNS)
    confirmation = load_confirmation(folder)
    points: list[dict[str, Any]] = []
    planned = None
    confirming = folder / FOLDER
    if (confirming / "study.yaml").exists():
        origin_of_it = read_origin(confirming, named)
        planned = origin_of_it.settings.get("trials")
        if confirmation is not None:
            epochs_of_it = find_epochs(confirming, EPOCH_COLUMNS)
            points = confirmed_points(trials, confirmation, epochs_of_it, origin_of_it)
    return PageStudy(
        origin=origin,
        trials=trials,
        epochs=epochs,
        selection=select(trials, sum(origin.budget or (1, 0))),
        confirmation=confirmation,
        confirmed=points,
        gaps=load_gaps(folder, planned if isinstance(planned, int) else None),
    )
