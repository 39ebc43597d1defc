"""Points and curves that report.html draws, as plain values for JSON.

If a search has very many trials, only a selection is drawn. Numbers are rounded to the precision that a reader can see.
"""

from dataclasses import dataclass
from typing import Any

import moocore
import numpy as np
import pandas as pd

from analysis.load import searched_columns
from analysis.origin import Origin
from analysis.statistics.confirmation import measured_trials
from analysis.statistics.family_gains import ACCURACIES, ACCURACY_AFTER, TEST, VALIDATION
from analysis.statistics.intervals.means import accuracy_interval
from analysis.statistics.pareto import candidates
from trainables.result import REGULARIZE, TrialState

MOST_POINTS = 4000
"""Greatest number of a study's trials on a page, besides those that may be on a front."""

MOST_CURVES = 1500
"""Greatest number of a study's trials whose learning curves are on a page."""

MOST_CURVE_VALUES = 400_000
"""Greatest number of values in all curves of a study; bounds the size of the page."""

CONFIDENCE = 0.95

_CURVES = ("val_accuracy", "float_val_accuracy", "train_loss")


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Trials that a page shows.

    Attributes:
        trials: rows of trials.parquet.
        measured: number of trials that could be shown: quantized, with an accuracy and bits.
        curves: numbers of the trials whose learning curves are on the page.
    """

    trials: pd.DataFrame
    measured: int
    curves: frozenset[int]


def select(trials: pd.DataFrame, epochs_each: int, most: int = MOST_POINTS) -> Selection:
    """Choose the trials of a search that a page shows.

    All trials that are on the front of any choice of families and levels, before or after tuning, are kept. The others
    are thinned at even distances in the order of their numbers.

    Args:
        trials: rows of trials.parquet.
        epochs_each: number of epochs of a trial with the full budget.
        most: greatest number of other trials.
    """
    shown = trials[trials["num_levels"].notna() & trials["val_accuracy"].notna() & trials["bits_per_weight"].notna()]
    on_fronts = _on_fronts(trials, ["family", "num_levels"])
    rest = _even_share(shown.index.difference(on_fronts), most)
    kept = on_fronts.append(rest)
    # If not all curves fit, those of the overall front come first.
    capacity = _curve_capacity(epochs_each)
    first = _on_fronts(trials)[:capacity]
    others = _even_share(kept.difference(first, sort=False), capacity - len(first))
    return Selection(
        trials=shown.loc[kept].sort_values("number"),
        measured=len(shown),
        curves=frozenset(int(number) for number in trials.loc[first.append(others), "number"]),
    )


def _curve_capacity(epochs_each: int) -> int:
    """Return the number of trials whose curves fit on a page."""
    return min(MOST_CURVES, MOST_CURVE_VALUES // max(1, len(_CURVES) * epochs_each))


def _even_share(labels: pd.Index, most: int) -> pd.Index:
    """Return at most `most` of the labels, at even distances."""
    if len(labels) <= most:
        return labels
    return labels[np.linspace(0, len(labels) - 1, most).round().astype(int)]


def _on_fronts(trials: pd.DataFrame, by: list[str] | None = None) -> pd.Index:
    """Return the labels of the trials on the front before or after tuning: of all trials, or of those of each group."""
    complete = candidates(trials)
    labels: list[pd.Index] = []
    for column in ACCURACY_AFTER.values():
        measured = complete[complete[column].notna()]
        for group in [measured] if by is None else [group for _, group in measured.groupby(by)]:
            if len(group):
                points = np.column_stack([-group[column], group["bits_per_weight"]])
                labels.append(group.index[moocore.is_nondominated(points, keep_weakly=True)])
    return trials.index[:0].append(labels).unique()


def search_points(selection: Selection) -> dict[str, Any]:
    """Return the chosen trials by column, as lists with None for missing values."""
    trials = selection.trials
    exact = ("number", "trial_id", "state", "family", "num_levels", "lam", "placement", "seed", "epochs", "config_hash")
    places = {"val_accuracy": 5, "val_accuracy_pre_tuning": 5, "float_val_accuracy": 5, "train_seconds": 1}
    places |= {f"{kind}bits_per_weight": 4 for kind in ("", "index_", "entropy_")}
    return {
        **{name: _plain(trials[name]) for name in (*exact, "artifact_bytes", "device", "hostname")},
        **{name: _plain(trials[name].round(digits)) for name, digits in places.items()},
        "fields": {name: _plain(trials[name]) for name in searched_columns(trials)},
    }


def curves(epochs: pd.DataFrame, numbers: frozenset[int]) -> dict[str, dict[str, list[float | None]]]:
    """Return learning curves by trial number: for each metric one value per epoch, from epoch 1.

    The float accuracy is constant in the finetune phase, and is omitted there.
    """
    chosen = epochs[epochs["number"].isin(numbers)].sort_values(["number", "epoch"])
    float_accuracy = chosen["float_val_accuracy"].where(chosen["phase"] == REGULARIZE)
    chosen = chosen.assign(float_val_accuracy=float_accuracy)
    by_trial = {}
    for number, rows in chosen.groupby("number"):
        whole = rows.set_index("epoch").reindex(range(1, int(rows["epoch"].max()) + 1))
        by_trial[str(number)] = {name: _plain(whole[name].round(4)) for name in _CURVES}
    return by_trial


def confirmed_points(
    search: pd.DataFrame, confirmation: pd.DataFrame, epochs: pd.DataFrame, origin: Origin, *, split: str = TEST
) -> list[dict[str, Any]]:
    """Return configurations by increasing bits, each with mean and interval of every accuracy, and its trials.

    Args:
        search: rows of the study's trials.parquet; no rows if there was no search.
        confirmation: rows of the confirmation's trials.parquet, or of the plan's; only COMPLETE trials count.
        epochs: rows of epochs.parquet for the trials in `confirmation`.
        origin: origin of the trials in `confirmation`.
        split: split on which trials must have been evaluated.
    """
    complete = measured_trials(confirmation, split)
    finished = search[search["state"] == TrialState.COMPLETE]
    drawn = curves(epochs, frozenset(complete["number"]))
    points = []
    exact_bits = []
    for config_hash, trials in complete.groupby("config_hash", sort=False):
        exact_bits.append(float(trials["bits_per_weight"].mean()))
        seen = finished[finished["config_hash"] == config_hash]
        points.append(
            {
                "config_hash": config_hash,
                **{name: _plain(trials[name].iloc[:1])[0] for name in ("family", "num_levels", "lam", "placement")},
                "fields": {name: _plain(trials[name].iloc[:1])[0] for name in searched_columns(trials)},
                "bits_per_weight": round(float(trials["bits_per_weight"].mean()), 4),
                "accuracy": {
                    split: {phase: _interval(trials, column) for phase, column in columns.items()}
                    for split, columns in ACCURACIES.items()
                },
                "searched": {
                    "numbers": _plain(seen["number"]),
                    **{phase: _best(seen, column) for phase, column in ACCURACIES[VALIDATION].items()},
                },
                "trials": [
                    {
                        "number": int(row["number"]),
                        "seed": int(row["seed"]),
                        **{name: _rounded(row[name]) for name in ("test_accuracy", "val_accuracy")},
                        "command": origin.reproducing(int(row["number"])),
                        "curves": drawn.get(str(row["number"]), {}),
                    }
                    for _, row in trials.sort_values("seed").iterrows()
                ],
            }
        )
    # `analysis.statistics.confirmation.confirmed` sorts by exact bits; rounded bits could give another order.
    return [points[place] for place in np.argsort(exact_bits, kind="stable")]


def _interval(trials: pd.DataFrame, column: str) -> list[float | None] | None:
    """Return mean, lower and upper bound of a column; None if it has no values."""
    values = trials[column].dropna()
    if values.empty:
        return None
    interval = accuracy_interval(values, confidence=CONFIDENCE)
    return [None if np.isnan(value) else round(value, 5) for value in (interval.estimate, interval.low, interval.high)]


def _best(trials: pd.DataFrame, column: str) -> float | None:
    return _rounded(trials[column].max() if len(trials) else np.nan)


def _rounded(accuracy: float) -> float | None:
    return None if pd.isna(accuracy) else round(float(accuracy), 5)


def _plain(values: pd.Series) -> list[Any]:
    """Return the values of a column for JSON: None for NaN, and whole numbers as integers."""
    whole = pd.api.types.is_numeric_dtype(values) and bool((values.dropna() % 1 == 0).all())
    return [None if pd.isna(value) else int(value) if whole else value for value in values.tolist()]
