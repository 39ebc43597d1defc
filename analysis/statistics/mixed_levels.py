"""Comparison of networks whose layers have K of their own with networks of one K, at equal bits."""

import numpy as np
import pandas as pd

from analysis.levels import is_allocated
from analysis.statistics.family_gains import ACCURACIES, VALIDATION, accuracies_of
from analysis.statistics.intervals.means import mean_interval
from analysis.statistics.pareto import BITS, candidates

COLUMNS = ("family", "num_levels", "phase", "n", "bits", "accuracy", "mixed_accuracy", "difference", "low", "high")


def compare_at_equal_bits(trials: pd.DataFrame, split: str = VALIDATION, confidence: float = 0.95) -> pd.DataFrame:
    """Return the accuracy of mixed K less that of one K, at the bits of the latter.

    The accuracy of mixed K of a seed is interpolated linearly in bits between its networks. Beyond the largest of them,
    it is that of the largest, which has fewer bits. A seed whose networks of mixed K all have more bits is left out.

    Args:
        trials: rows of trials.parquet, of trials with one K and of such whose K was chosen for each layer.
        split: `validation`, or `test` for trials that evaluated it.
        confidence: nominal coverage of the intervals, in (0, 1).

    Returns:
        Columns `COLUMNS`, a row for each family, K and phase: means over `n` seeds. `low` and `high` bound the mean of
        the differences, paired by seed (`mean_interval`).
    """
    complete = candidates(trials)
    mixed, plain = complete[is_allocated(complete)], complete[~is_allocated(complete)]
    rows = []
    for (family, _), networks in plain.groupby(["family", "num_levels"]):
        for phase, column in accuracies_of(complete, split).items():
            assert column in ACCURACIES[split].values()
            pairs = []
            for seed, bits, accuracy in networks[["seed", BITS, column]].itertuples(index=False):
                rivals = mixed[(mixed["family"] == family) & (mixed["seed"] == seed)].sort_values(BITS)
                if len(rivals) and rivals[BITS].iloc[0] <= bits:
                    pairs.append((bits, accuracy, np.interp(bits, rivals[BITS], rivals[column])))
            if not pairs:
                continue
            at, one, several = np.array(pairs).T
            interval = mean_interval(several - one, confidence=confidence)
            means = [float(values.mean()) for values in (at, one, several)]
            rows.append(
                [
                    family,
                    int(networks["num_levels"].iloc[0]),
                    phase,
                    len(pairs),
                    *means,
                    interval.estimate,
                    interval.low,
                    interval.high,
                ]
            )
    return pd.DataFrame(rows, columns=list(COLUMNS))
