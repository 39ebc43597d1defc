"""Results of configurations over seeds, from a confirmation on the test split or from a plan."""

from pathlib import Path

import numpy as np
import pandas as pd

from analysis.levels import is_allocated
from analysis.load import load_trials, searched_columns
from analysis.statistics.family_gains import ACCURACIES, TEST
from analysis.statistics.intervals.means import accuracy_interval
from analysis.statistics.pareto import candidates
from trainables.result import FINETUNE, TrialState

FOLDER = "confirm"
"""Folder of the confirmation, in the folder of the study that it confirms."""

OTHER_COSTS = ("artifact_bytes", "weight_bops")
"""Columns of costs beside bits per weight."""

COLUMNS = (
    *("family", "num_levels", "lam", "placement", "config_hash", "seeds", "bits_per_weight", *OTHER_COSTS),
    *("test_accuracy", "low", "high", "val_accuracy", "searched_val_accuracy", "optimism"),
)


def confirmation_named(study: str) -> str:
    """Return the name of the confirmation of a study with this name."""
    return f"{study}-{FOLDER}"


def load_confirmation(study: Path) -> pd.DataFrame | None:
    """Read the trials of the study's confirmation, as `load_trials` does; None if none has ended with a result."""
    folder = study / FOLDER
    if not (folder / "trials.parquet").exists():
        return None
    trials = load_trials(folder)
    return None if measured_trials(trials).empty else trials


def gaps_of(trials: pd.DataFrame, planned: int | None, name: str = "the confirmation") -> list[str]:
    """Return what means over seeds lack, a sentence each: trials that failed, and those that have not ended.

    Args:
        trials: of a confirmation, or of a plan.
        planned: trials that it asks for; None if that is not known.
        name: of what was run, in the sentences.
    """
    gaps = []
    failed = trials["state"] == TrialState.FAIL
    if failed.any():
        each = failed.groupby([trials["family"], trials["num_levels"]], dropna=False).agg(["sum", "size"])
        where = [
            f"{family}, {'float' if np.isnan(levels) else f'K = {levels:.0f}'} ({lost} of {size})"
            for (family, levels), lost, size in each[each["sum"] > 0].itertuples()
        ]
        count = f"{failed.sum()} of {len(trials)} trials of {name}"
        gaps.append(f"{count} failed, and no mean has them: {'; '.join(where)}")
    if (unfinished := count_unfinished(trials, planned)) is not None:
        gaps.append(f"{name} is not finished: {unfinished[0]} of {unfinished[1]} trials have ended")
    return gaps


def count_unfinished(trials: pd.DataFrame, planned: int | None) -> tuple[int, int] | None:
    """Return how many trials have ended, and how many were planned; None if all have ended."""
    ended = int((trials["state"] != TrialState.RUNNING).sum())
    asked = max(len(trials), planned or 0)
    return (ended, asked) if ended < asked else None


def measured_trials(trials: pd.DataFrame, split: str = TEST) -> pd.DataFrame:
    """Return the trials that were trained to their end, and measured on a split; the float baselines among them."""
    measured = trials[[ACCURACIES[split][FINETUNE], "bits_per_weight"]].notna().all(axis=1)
    return trials[(trials["state"] == TrialState.COMPLETE) & measured]


def confirmed(
    search: pd.DataFrame, confirmation: pd.DataFrame, confidence: float = 0.95, *, split: str = TEST
) -> pd.DataFrame:
    """Return means and intervals of each configuration over its seeds, by increasing bits.

    Args:
        search: trials.parquet of the study; no rows where nothing was searched.
        confirmation: that of its confirmation, or of a plan; only COMPLETE trials count.
        confidence: nominal coverage of the intervals, in (0, 1).
        split: of the accuracy that intervals are of: `test`, or `validation` for a plan without test accuracies.

    Returns:
        Columns `COLUMNS`, then `groups` of the first seed where a trial has some, and those of further searched fields;
        a row per configuration. `test_accuracy`, `val_accuracy` and the costs are means over `seeds` trials; `low` and
        `high` bound the mean accuracy of the split (`accuracy_interval`, NaN for one seed). `searched_val_accuracy` is
        the best validation accuracy of the configuration in the search, NaN without any; `optimism` is that less the
        test accuracy.
    """
    rows = []
    has_groups = "groups" in confirmation and confirmation["groups"].notna().any()
    fields = [*(["groups"] if has_groups else []), *searched_columns(confirmation)]
    finished = search[search["state"] == TrialState.COMPLETE]
    for config_hash, trials in measured_trials(confirmation, split).groupby("config_hash", sort=False):
        interval = accuracy_interval(trials[ACCURACIES[split][FINETUNE]], confidence=confidence)
        seen = finished.loc[finished["config_hash"] == config_hash, "val_accuracy"]
        searched = float(seen.max()) if len(seen) else np.nan
        first = trials.iloc[0]
        rows.append(
            [
                *(first[name] for name in COLUMNS[:4]),
                config_hash,
                len(trials),
                trials["bits_per_weight"].mean(),
                *(trials[cost].mean() for cost in OTHER_COSTS),
                *(trials["test_accuracy"].mean(), interval.low, interval.high),
                trials["val_accuracy"].mean(),
                searched,
                searched - trials["test_accuracy"].mean(),
                *(first[name] for name in fields),
            ]
        )
    results = pd.DataFrame(rows, columns=[*COLUMNS, *fields])
    return results.sort_values("bits_per_weight", kind="stable", ignore_index=True)


def as_trials(results: pd.DataFrame, split: str = TEST) -> pd.DataFrame:
    """Return one row per configuration of `confirmed`, in the form that `analysis.statistics.pareto` takes.

    Its accuracy is the mean on the split; `low` and `high` bound it.
    """
    return results[
        ["family", "num_levels", "lam", "placement", "config_hash", "bits_per_weight", *OTHER_COSTS, "low", "high"]
    ].assign(number=range(len(results)), state=TrialState.COMPLETE, val_accuracy=results[ACCURACIES[split][FINETUNE]])


def selected(search: pd.DataFrame, confirmation: pd.DataFrame) -> pd.DataFrame:
    """Return complete trials of the confirmation, those of one configuration for each family and K.

    It is the configuration with the best accuracy in the search, so that the reported results do not decide. One that
    the search never finished comes last; ties go to fewer bits, then to the first `config_hash`.

    Args:
        search: trials.parquet of the study.
        confirmation: that of its confirmation.

    Returns:
        Rows of `confirmation`, in their order; the float baseline is not among them.
    """
    complete = candidates(confirmation, "test_accuracy")
    complete = complete[~is_allocated(complete)]
    seen = search[search["state"] == TrialState.COMPLETE].groupby("config_hash")["val_accuracy"].max()
    each = complete.groupby(["family", "num_levels", "config_hash"])["bits_per_weight"].mean().reset_index()
    each["searched"] = each["config_hash"].map(seen).fillna(-1.0)
    each = each.sort_values(["searched", "bits_per_weight", "config_hash"], ascending=[False, True, True])
    return complete[complete["config_hash"].isin(each.drop_duplicates(["family", "num_levels"])["config_hash"])]
