"""Confirmed results: configurations that a search has found, trained again under fresh seeds, on the test split."""

from pathlib import Path

import numpy as np
import pandas as pd

from analysis.load import load_trials
from analysis.statistics.front import candidates
from analysis.statistics.intervals import accuracy_interval
from trainables.result import COMPLETE, FAIL, RUNNING

FOLDER = "confirm"
"""Where `qar confirm` leaves its study, in the folder of the study that it confirms."""

COLUMNS = (
    *("family", "num_levels", "lam", "placement", "config_hash", "seeds", "bits_per_weight"),
    *("test_accuracy", "low", "high", "val_accuracy", "searched_val_accuracy", "optimism"),
)


def confirmation_named(study: str) -> str:
    """The name of the confirmation of a study of this name."""
    return f"{study}-{FOLDER}"


def load_confirmation(study: Path) -> pd.DataFrame | None:
    """Trials of the study's confirmation, as `load_trials` gives them; None if there are none yet."""
    folder = study / FOLDER
    if not (folder / "trials.parquet").exists():
        return None
    trials = load_trials(folder)
    return None if tested(trials).empty else trials


def load_gaps(study: Path, planned: int | None) -> list[str]:
    """What the study's confirmation lacks, a sentence each: trials that failed, so that no mean has them, or run still.

    Args:
        study: folder of the study.
        planned: trials that the confirmation asks for; None if that is not known.
    """
    folder = study / FOLDER
    if not (folder / "trials.parquet").exists():
        return []
    trials = load_trials(folder)
    gaps = []
    failed = trials["state"] == FAIL
    if failed.any():
        each = failed.groupby([trials["family"], trials["num_levels"]], dropna=False).agg(["sum", "size"])
        where = [
            f"{family}, {'float' if np.isnan(levels) else f'K = {levels:.0f}'} ({lost} of {size})"
            for (family, levels), lost, size in each[each["sum"] > 0].itertuples()
        ]
        count = f"{failed.sum()} of {len(trials)} trials of the confirmation"
        gaps.append(f"{count} failed, and no mean has them: {'; '.join(where)}")
    if (unfinished := count_unfinished(trials, planned)) is not None:
        gaps.append("the confirmation is not finished: {} of {} trials have ended".format(*unfinished))
    return gaps


def count_unfinished(trials: pd.DataFrame, planned: int | None) -> tuple[int, int] | None:
    """How many trials have ended, and of how many; None if all have."""
    ended = int((trials["state"] != RUNNING).sum())
    asked = max(len(trials), planned or 0)
    return (ended, asked) if ended < asked else None


def tested(confirmation: pd.DataFrame) -> pd.DataFrame:
    """Trials of a confirmation that were trained to their end, measured, and looked at on the test split."""
    measured = confirmation[["test_accuracy", "bits_per_weight"]].notna().all(axis=1)
    return confirmation[(confirmation["state"] == COMPLETE) & measured]


def confirmed(search: pd.DataFrame, confirmation: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """What the seeds of the confirmation say of each configuration, by increasing bits.

    Args:
        search: trials.parquet of the study.
        confirmation: that of its confirmation; only COMPLETE trials count.
        confidence: nominal coverage of the intervals, in (0, 1).

    Returns:
        Columns `COLUMNS`, a row a configuration. `test_accuracy`, `val_accuracy` and `bits_per_weight` are means over
        `seeds` trials; `low` and `high` bound the mean test accuracy (`accuracy_interval`, NaN for a single seed).
        `searched_val_accuracy` is what the search has seen, the best if it saw it several times, NaN if never;
        `optimism` is how much that is above the test accuracy.
    """
    rows = []
    finished = search[search["state"] == COMPLETE]
    for config_hash, trials in tested(confirmation).groupby("config_hash", sort=False):
        interval = accuracy_interval(trials["test_accuracy"], confidence=confidence)
        seen = finished.loc[finished["config_hash"] == config_hash, "val_accuracy"]
        searched = float(seen.max()) if len(seen) else np.nan
        first = trials.iloc[0]
        rows.append(
            [
                *(first[name] for name in COLUMNS[:4]),
                config_hash,
                len(trials),
                trials["bits_per_weight"].mean(),
                *(interval.estimate, interval.low, interval.high),
                trials["val_accuracy"].mean(),
                searched,
                searched - interval.estimate,
            ]
        )
    return pd.DataFrame(rows, columns=list(COLUMNS)).sort_values("bits_per_weight", kind="stable", ignore_index=True)


def as_trials(results: pd.DataFrame) -> pd.DataFrame:
    """Return one row per confirmed configuration, in the form that `analysis.statistics.front` takes.

    Its accuracy is the mean test accuracy; `low` and `high` bound it.
    """
    return results[
        ["family", "num_levels", "lam", "placement", "config_hash", "bits_per_weight", "low", "high"]
    ].assign(number=range(len(results)), state=COMPLETE, val_accuracy=results["test_accuracy"])


def selected(search: pd.DataFrame, confirmation: pd.DataFrame) -> pd.DataFrame:
    """Complete trials of the confirmation, one configuration a family and K: the one that the search thought best.

    So no choice is made by the results that are reported. A configuration that the search never finished comes last;
    on ties the one with fewer bits, then the first by `config_hash`.

    Args:
        search: trials.parquet of the study.
        confirmation: that of its confirmation.

    Returns:
        Rows of `confirmation`, in their order; the float baseline is not among them.
    """
    of = candidates(confirmation, "test_accuracy")
    seen = search[search["state"] == COMPLETE].groupby("config_hash")["val_accuracy"].max()
    each = of.groupby(["family", "num_levels", "config_hash"])["bits_per_weight"].mean().reset_index()
    each["searched"] = each["config_hash"].map(seen).fillna(-1.0)
    each = each.sort_values(["searched", "bits_per_weight", "config_hash"], ascending=[False, True, True])
    return of[of["config_hash"].isin(each.drop_duplicates(["family", "num_levels"])["config_hash"])]
