"""Accuracies of families before tuning, with kept and with re-estimated statistics of batch normalization."""

import pandas as pd

from analysis.statistics.family_gains import ACCURACIES, VALIDATION, best_replicates
from trainables.result import REGULARIZE

COLUMNS = ("num_levels", "family", "n", "recalibrated", "kept", "bits_per_weight")


def accuracies_before_tuning(trials: pd.DataFrame, split: str = VALIDATION) -> pd.DataFrame:
    """Return the accuracy before tuning of each family at each K at which several families can be compared.

    It is that of the family's configuration with the best validation accuracy before tuning, so that accuracies of a
    search are too high.

    Args:
        trials: rows of trials.parquet.
        split: `validation`, or `test` for trials that evaluated it.

    Returns:
        Columns `COLUMNS`, by K and decreasing accuracy: means over the `n` seeds of a configuration. `recalibrated` is
        the accuracy with re-estimated statistics, `kept` that with those of training; NaN where they are unknown, as in
        networks without batch normalization and in studies of earlier versions.
    """
    best = best_replicates(trials, phase=REGULARIZE, minimum=1)
    column = ACCURACIES[split][REGULARIZE]
    names = {f"{column}_recalibrated": "recalibrated", f"{column}_kept": "kept", "bits_per_weight": "bits_per_weight"}
    groups = best.astype({"num_levels": int}).groupby(["num_levels", "family"])
    table = groups[[column, *names]].mean().assign(n=groups.size()).reset_index()
    several = table.groupby("num_levels")["family"].transform("size") > 1
    table = table[several].sort_values(["num_levels", column], ascending=[True, False], kind="stable")
    return table.rename(columns=names)[list(COLUMNS)].reset_index(drop=True)
