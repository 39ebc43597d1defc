"""Families against each other at equal K: gain factors, and the probability of improvement.

The paper's factors are accuracies of a family over those of plain quantization at equal K, before and after tuning
(arXiv 2602.03614). That a factor is one of means over replicates, and its interval, are ours.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.levels import is_allocated
from analysis.statistics.intervals.bootstrap import RESAMPLES
from analysis.statistics.intervals.improvement import improvement_interval
from analysis.statistics.intervals.interval import Rng
from analysis.statistics.intervals.ratios import paired_ratio_interval, ratio_interval
from analysis.statistics.pareto import candidates
from trainables.result import FINETUNE, REGULARIZE

BASELINE = "none"

ACCURACY_AFTER = {REGULARIZE: "val_accuracy_pre_tuning", FINETUNE: "val_accuracy"}
"""Column of the accuracy at the end of each phase: before tuning, and after it."""

VALIDATION = "validation"
TEST = "test"
"""The test split, which only confirmed trials and plans have."""

ACCURACIES = {
    VALIDATION: ACCURACY_AFTER,
    TEST: {REGULARIZE: "test_accuracy_pre_tuning", FINETUNE: "test_accuracy"},
}
"""Columns of accuracies by split and phase."""


def accuracies_of(trials: pd.DataFrame, split: str) -> dict[str, str]:
    """Return the columns of `ACCURACIES` by phase; only the first phase if the trials had no finetuning."""
    columns = ACCURACIES[split]
    before, after = (trials[columns[phase]] for phase in (REGULARIZE, FINETUNE))
    tuned = not before.equals(after)
    return columns if tuned or before.isna().all() else {REGULARIZE: columns[REGULARIZE]}


GAIN_COLUMNS = ("family", "num_levels", "phase", "n", "n_none", "accuracy", "accuracy_none", "gain", "low", "high")
IMPROVEMENT_COLUMNS = ("family", "over", "num_levels", "phase", "n", "n_over", "probability", "low", "high")


def best_replicates(trials: pd.DataFrame, *, phase: str = FINETUNE, minimum: int = 2) -> pd.DataFrame:
    """Return the trials of the best configuration of each family and K, which compares families at their best λ.

    The best has the highest mean accuracy after `phase` among configurations with at least `minimum` seeds; ties go to
    the first `config_hash`. The mean that decided is biased upwards, the more so the more configurations and the fewer
    seeds there are: a claim needs fresh seeds.

    Args:
        trials: rows of trials.parquet.
        phase: `regularize` (accuracy before tuning) or `finetune` (after).
        minimum: seeds that a configuration needs, at least 1.

    Returns:
        Rows of `trials`, one per seed, in their order; none for a family and K without enough seeds.

    Raises:
        ValueError: phase or minimum is not as above, or the trials can't be compared (see `gains`).
    """
    if phase not in ACCURACY_AFTER:
        raise ValueError(f"unknown phase {phase!r}; choose from {list(ACCURACY_AFTER)}")
    if minimum < 1:
        raise ValueError(f"minimum must be at least 1, got {minimum}; 2 is the least that gives an interval")
    complete = comparable(trials)
    # A seed that was trained twice is one replicate.
    complete = complete[complete[ACCURACY_AFTER[phase]].notna()].drop_duplicates(["config_hash", "seed"])
    means = complete.groupby(["family", "num_levels", "config_hash"])[ACCURACY_AFTER[phase]].agg(["mean", "size"])
    means = means[means["size"] >= minimum].sort_values("mean", ascending=False, kind="stable").reset_index()
    return complete[complete["config_hash"].isin(means.drop_duplicates(["family", "num_levels"])["config_hash"])]


def gains(
    trials: pd.DataFrame,
    *,
    split: str = VALIDATION,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    rng: Rng = 0,
) -> pd.DataFrame:
    """Return each family's mean accuracy over that of `none` at the same K, before and after tuning, with intervals.

    All candidates of a family and K are pooled; `best_replicates` leaves one configuration of each. If both have the
    same seeds, once each, their accuracies are paired by seed, since a seed decides split, initial weights and order
    of images for both. The accuracies are returned too: a factor says little if `none` has collapsed.

    Args:
        trials: rows of trials.parquet.
        split: `validation`, or `test` for confirmed trials.
        confidence: nominal coverage of the intervals, in (0, 1).
        resamples: number of resamples of each interval.
        rng: a generator, or the seed of one.

    Returns:
        Columns `GAIN_COLUMNS`, by family, K and phase, if both have an accuracy. `n` and `n_none` count trials,
        accuracies are means in [0, 1], `gain` is their ratio, `low` and `high` its bounds as in `ratio_interval` or
        `paired_ratio_interval`.

    Raises:
        ValueError: the trials are of several models, data sets or budgets of epochs, or there is no such split.
    """
    rows = []
    generator = np.random.default_rng(rng)
    for pair in _pairs(trials, BASELINE, split):
        ratio = paired_ratio_interval if pair.share_seeds else ratio_interval
        interval = ratio(pair.first, pair.second, confidence=confidence, resamples=resamples, rng=generator)
        counts = (len(pair.first), len(pair.second))
        means = (pair.first.mean(), pair.second.mean())
        bounds = (interval.estimate, interval.low, interval.high)
        rows.append((pair.family, pair.levels, pair.phase, *counts, *means, *bounds))
    return pd.DataFrame(rows, columns=list(GAIN_COLUMNS))


def improvements(
    trials: pd.DataFrame,
    over: str = BASELINE,
    *,
    split: str = VALIDATION,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    rng: Rng = 0,
) -> pd.DataFrame:
    """Return the probability that a trial of each family beats one of `over` at the same K, with its interval.

    Args:
        trials: rows of trials.parquet; pooled as in `gains`.
        over: the family that the others are compared with.
        split: as in `gains`.
        confidence: nominal coverage of the intervals, in (0, 1).
        resamples: number of resamples of each interval.
        rng: a generator, or the seed of one.

    Returns:
        Columns `IMPROVEMENT_COLUMNS`, by family, K and phase, if both have an accuracy; `n` and `n_over` count
        trials, `low` and `high` are bounds as in `improvement_interval`. Ties count half.

    Raises:
        ValueError: no candidate is of `over` though there are candidates, or as in `gains`.
    """
    families = sorted(candidates(trials)["family"].unique())
    if families and over not in families:
        raise ValueError(f"no complete trial of family {over!r}; choose from {families}")
    rows = []
    generator = np.random.default_rng(rng)
    for pair in _pairs(trials, over, split):
        interval = improvement_interval(
            pair.first, pair.second, confidence=confidence, resamples=resamples, rng=generator
        )
        counts = (len(pair.first), len(pair.second))
        bounds = (interval.estimate, interval.low, interval.high)
        rows.append((pair.family, over, pair.levels, pair.phase, *counts, *bounds))
    return pd.DataFrame(rows, columns=list(IMPROVEMENT_COLUMNS))


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Accuracies of two families at the same K after a phase.

    Attributes:
        family: the first family.
        levels: K.
        phase: `regularize` or `finetune`.
        first: (n,), accuracies of the first family.
        second: (m,), accuracies of the other family.
        share_seeds: whether both have the same seeds, once each; both are then in the order of the seeds.
    """

    family: str
    levels: int
    phase: str
    first: np.ndarray
    second: np.ndarray
    share_seeds: bool


def _pairs(trials: pd.DataFrame, other: str, split: str) -> Iterator[Pair]:
    """Yield a pair for each family, K and phase at which it and `other` have an accuracy."""
    if split not in ACCURACIES:
        raise ValueError(f"unknown split {split!r}; choose from {list(ACCURACIES)}")
    complete = comparable(trials)
    columns = accuracies_of(complete, split)
    others = dict(list(complete[complete["family"] == other].groupby("num_levels")))
    for _, rows in complete[complete["family"] != other].groupby(["family", "num_levels"]):
        family, levels = str(rows["family"].iloc[0]), int(rows["num_levels"].iloc[0])
        for phase, column in columns.items():
            if levels not in others:
                continue
            first, second = (
                part[part[column].notna()].sort_values("seed", kind="stable") for part in (rows, others[levels])
            )
            if len(first) and len(second):
                yield Pair(
                    family=family,
                    levels=levels,
                    phase=phase,
                    first=first[column].to_numpy(),
                    second=second[column].to_numpy(),
                    share_seeds=first["seed"].is_unique and first["seed"].tolist() == second["seed"].tolist(),
                )


def comparable(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the candidates that have one K; raise ValueError unless they share model, data set and budget.

    Trials whose layers were given K from measured costs have none, and are left out.
    """
    complete = candidates(trials)
    complete = complete[~is_allocated(complete)]
    for column in ("model", "dataset", "epochs"):
        values = sorted(complete[column].dropna().unique())
        if len(values) > 1:
            raise ValueError(f"trials to compare must share {column}, got {values}; select those of one")
    return complete
