"""What the page of a report draws: points of the search, thinned where they are many, and confirmed configurations.

All of it is plain values that JSON can hold. Numbers are rounded to what a reader could tell apart.
"""

from dataclasses import dataclass
from typing import Any

import moocore
import numpy as np
import pandas as pd

from analysis.origin import Origin
from analysis.statistics.confirmation import measured_trials
from analysis.statistics.family_gains import ACCURACIES, ACCURACY_AFTER, TEST, VALIDATION
from analysis.statistics.means import accuracy_interval
from analysis.statistics.pareto import candidates
from trainables.result import COMPLETE, REGULARIZE

MOST_POINTS = 4000
"""Of a study's search on a page, beside those that may be on a front."""

MOST_CURVES = 1500
"""Trials of a study's search whose learning curves a page holds."""

MOST_CURVE_VALUES = 400_000
"""Numbers in all curves of a study: what leaves a page with long trials below some megabytes."""

CONFIDENCE = 0.95

_CURVES = ("val_accuracy", "float_val_accuracy", "train_loss")


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Trials that a page shows.

    Attributes:
        trials: rows of trials.parquet.
        measured: how many could have been shown: quantized, with an accuracy and bits.
        curves: numbers of the trials whose learning curves are there.
    """

    trials: pd.DataFrame
    measured: int
    curves: frozenset[int]


def select(trials: pd.DataFrame, epochs_each: int, most: int = MOST_POINTS) -> Selection:
    """Chooses what a page shows of a search.

    Whatever could be on the front of any choice of families and levels is kept, before and after tuning; of the rest
    an even share in the order of their numbers.

    Args:
        trials: rows of trials.parquet.
        epochs_each: of a trial with the full budget.
        most: trials beside those that are always kept.
    """
    shown = trials[trials["num_levels"].notna() & trials["val_accuracy"].notna() & trials["bits_per_weight"].notna()]
    on_fronts = _on_fronts(trials, ["family", "num_levels"])
    rest = _even_share(shown.index.difference(on_fronts), most)
    kept = on_fronts.append(rest)
    # The front of all comes first where not every curve has room.
    first = _on_fronts(trials)[: _room(epochs_each)]
    others = _even_share(kept.difference(first, sort=False), _room(epochs_each) - len(first))
    return Selection(
        trials=shown.loc[kept].sort_values("number"),
        measured=len(shown),
        curves=frozenset(int(number) for number in trials.loc[first.append(others), "number"]),
    )


def _room(epochs_each: int) -> int:
    """How many trials' curves a page holds."""
    return min(MOST_CURVES, MOST_CURVE_VALUES // max(1, len(_CURVES) * epochs_each))


def _even_share(labels: pd.Index, most: int) -> pd.Index:
    """At most so many of the labels, as far apart from each other as can be."""
    if len(labels) <= most:
        return labels
    return labels[np.linspace(0, len(labels) - 1, most).round().astype(int)]


def _on_fronts(trials: pd.DataFrame, by: list[str] | None = None) -> pd.Index:
    """Labels of the trials that no other beats before tuning or after it: of all, or of the same group."""
    of = candidates(trials)
    found: list[pd.Index] = []
    for column in ACCURACY_AFTER.values():
        measured = of[of[column].notna()]
        for group in [measured] if by is None else [group for _, group in measured.groupby(by)]:
            if len(group):
                points = np.column_stack([-group[column], group["bits_per_weight"]])
                found.append(group.index[moocore.is_nondominated(points, keep_weakly=True)])
    return trials.index[:0].append(found).unique()


def search_points(selection: Selection) -> dict[str, Any]:
    """The chosen trials by column, a list each, null where a value is missing."""
    trials = selection.trials
    exact = ("number", "trial_id", "state", "family", "num_levels", "lam", "placement", "seed", "epochs", "config_hash")
    places = {"val_accuracy": 5, "val_accuracy_pre_tuning": 5, "float_val_accuracy": 5, "train_seconds": 1}
    places |= {f"{kind}bits_per_weight": 4 for kind in ("", "index_", "entropy_")}
    return {
        **{name: _plain(trials[name]) for name in (*exact, "artifact_bytes", "device", "hostname")},
        **{name: _plain(trials[name].round(digits)) for name, digits in places.items()},
    }


def curves(epochs: pd.DataFrame, numbers: frozenset[int]) -> dict[str, dict[str, list[float | None]]]:
    """Learning curves by the trial's number: for each metric a value an epoch, from the first on.

    The float accuracy stands still in the finetune phase, and is left out there.
    """
    of = epochs[epochs["number"].isin(numbers)].sort_values(["number", "epoch"])
    float_accuracy = of["float_val_accuracy"].where(of["phase"] == REGULARIZE)
    of = of.assign(float_val_accuracy=float_accuracy)
    found = {}
    for number, rows in of.groupby("number"):
        whole = rows.set_index("epoch").reindex(range(1, int(rows["epoch"].max()) + 1))
        found[str(number)] = {name: _plain(whole[name].round(4)) for name in _CURVES}
    return found


def confirmed_points(
    search: pd.DataFrame, confirmation: pd.DataFrame, epochs: pd.DataFrame, origin: Origin, *, split: str = TEST
) -> list[dict[str, Any]]:
    """Return configurations by increasing bits, each with mean and interval of every accuracy, and its trials.

    Args:
        search: trials.parquet of the study; no rows where nothing was searched.
        confirmation: that of its confirmation, or of a plan; only COMPLETE trials count.
        epochs: epochs.parquet that belongs to it.
        origin: that belongs to it.
        split: that trials must have been measured on.
    """
    complete = measured_trials(confirmation, split)
    finished = search[search["state"] == COMPLETE]
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
    # By the bits that `analysis.statistics.confirmation.confirmed` sorts by: rounded ones could change places.
    return [points[place] for place in np.argsort(exact_bits, kind="stable")]


def _interval(trials: pd.DataFrame, column: str) -> list[float | None] | None:
    """Mean, lower and upper bound; None where the column holds nothing."""
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
    """Values of a column as JSON has them: no NaN, and whole numbers without a point."""
    whole = pd.api.types.is_numeric_dtype(values) and bool((values.dropna() % 1 == 0).all())
    return [None if pd.isna(value) else int(value) if whole else value for value in values.tolist()]
