"""Tables of accuracies and of sizes: means with intervals by family and K, and tests against `none`."""

from typing import Any

import numpy as np
import pandas as pd
import scipy

from analysis.statistics.family_gains import BASELINE, TEST, accuracies_of, comparable
from analysis.statistics.intervals.means import accuracy_interval, mean_interval
from analysis.statistics.pareto import candidates

COLUMNS = (
    *("family", "num_levels", "phase", "config_hash", "lam", "placement", "n", "accuracy", "low", "high", "best"),
    *("difference", "difference_low", "difference_high", "p", "p_adjusted", "significant"),
)


def compare(trials: pd.DataFrame, *, split: str, confidence: float = 0.95, tests: bool | None = None) -> pd.DataFrame:
    """Return the accuracy of each family at each K before and after tuning, and its difference from `none`.

    Differences are those of trials with the same seed, which share the split and the order of images. They are tested
    by a two-sided paired t-test over the common seeds. All tests of the table are corrected together (Holm), so that
    the probability of any false mark is at most 1 − confidence. Configurations that were chosen by the tested numbers
    must not be tested: a fifth of tables would have a false mark.

    Args:
        trials: one configuration per family and K: `analysis.statistics.confirmation.selected`, or
            `analysis.statistics.family_gains.best_replicates`.
        split: `validation`, or `test` for confirmed trials.
        confidence: nominal coverage of the intervals, in (0, 1); 1 − confidence is the level of the tests.
        tests: whether differences are tested; None for the test split alone, by which nothing is chosen.

    Returns:
        Columns `COLUMNS`, by phase, K and family. `n` counts seeds, `accuracy` is their mean, `low` and `high` bound it
        (`accuracy_interval`); `best` marks the highest mean of a phase and K if it has rivals, several on ties. `p`
        is that of a single test, `p_adjusted` after Holm; NaN for `none`, for fewer than two common seeds, where all
        differences are equal, and where nothing is tested.

    Raises:
        ValueError: the trials are of several models, data sets or budgets, or a family and K has two configurations.

    Source: Holm, "A simple sequentially rejective multiple test procedure" (Scand. J. Statistics 6, 1979).
    """
    complete = comparable(trials)
    counts = complete.groupby(["family", "num_levels"])["config_hash"].nunique()
    if (counts > 1).any():
        where: Any = counts.idxmax()
        raise ValueError(
            f"a family and K must have one configuration, got {counts.max()} of {where[0]} at {where[1]:g}; choose one"
        )
    rows = []
    for phase, column in accuracies_of(complete, split).items():
        # A seed that was trained twice counts once.
        measured = complete[complete[column].notna()].drop_duplicates(["family", "num_levels", "seed"])
        groups = [group for _, group in measured.groupby(["num_levels", "family"])]
        plain = {group["num_levels"].iloc[0]: group for group in groups if group["family"].iloc[0] == BASELINE}
        for group in groups:
            family, levels = str(group["family"].iloc[0]), int(group["num_levels"].iloc[0])
            interval = accuracy_interval(group[column], confidence=confidence)
            compared = plain.get(levels) if family != BASELINE else None
            against = (np.nan,) * 4 if compared is None else _paired_test(group, compared, column, confidence)
            configuration = group.iloc[0][["config_hash", "lam", "placement"]]
            means = (len(group), interval.estimate, interval.low, interval.high)
            rows.append((family, levels, phase, *configuration, *means, False, *against, np.nan, False))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table = mark_best(table)
    if not (split == TEST if tests is None else tests):
        table["p"] = np.nan
    table["p_adjusted"] = holm(table["p"].to_numpy(dtype=float))
    table["significant"] = table["p_adjusted"] < 1 - confidence
    return table


def mark_best(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of `compare`, or some rows of it, in which `best` marks the highest mean of a phase and K."""
    rivals = table.groupby(["phase", "num_levels"])["accuracy"]
    return table.assign(best=(table["accuracy"] == rivals.transform("max")) & (rivals.transform("size") > 1))


def _paired_test(
    family: pd.DataFrame, baseline: pd.DataFrame, column: str, confidence: float
) -> tuple[float, float, float, float]:
    """Return the mean difference over common seeds, its bounds, and the p-value of no difference."""
    _, first, second = np.intersect1d(family["seed"].to_numpy(), baseline["seed"].to_numpy(), return_indices=True)
    accuracies, baseline_accuracies = family[column].to_numpy()[first], baseline[column].to_numpy()[second]
    differences = accuracies - baseline_accuracies
    if len(differences) == 0:
        return np.nan, np.nan, np.nan, np.nan
    interval = mean_interval(differences, confidence=confidence)
    if np.allclose(differences, differences[0], rtol=0, atol=1e-12):  # no spread, so no test
        return interval.estimate, interval.low, interval.high, np.nan
    p = float(scipy.stats.ttest_rel(accuracies, baseline_accuracies).pvalue)
    return interval.estimate, interval.low, interval.high, p


def holm(p: np.ndarray) -> np.ndarray:
    """Return p-values, (n,), adjusted by Holm for all tests that are not NaN; `compare` names the source."""
    adjusted = np.full(len(p), np.nan)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]
    factors = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0) if len(order) else []
    return adjusted


def sizes(trials: pd.DataFrame) -> pd.DataFrame:
    """Return bits and bytes of each family and K, means over seeds.

    Args:
        trials: as in `compare`.

    Returns:
        Columns `family`, `num_levels`, `config_hash`, `lam`, `placement`, `n`, then bits per weight (of the network, of
        convolutions, of fully connected layers, of an index, and the entropy bound), `artifact_bytes`,
        `weight_bops`, and `times_smaller`: 32 bits over `bits_per_weight`. Rows are ordered by K and family.
    """
    complete = candidates(trials)
    names = ["num_levels", "family", "config_hash"]
    measures = [
        *("bits_per_weight", "conv_bits_per_weight", "linear_bits_per_weight", "index_bits_per_weight"),
        *("entropy_bits_per_weight", "artifact_bytes", "weight_bops"),
    ]
    grouped = complete.groupby(names, sort=True)
    table = grouped[measures].mean()
    table.insert(0, "n", grouped.size())
    for place, column in enumerate(("lam", "placement")):
        table.insert(place, column, grouped[column].first())
    table["times_smaller"] = 32 / table["bits_per_weight"]
    table = table.reset_index()
    table["num_levels"] = table["num_levels"].astype(int)
    return table[["family", "num_levels", "config_hash", *table.columns[3:]]]
