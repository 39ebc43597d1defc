"""Hyperparameter importances: shares of the variance of accuracy and bits, by Optuna's fANOVA on finished trials."""

import sys
from collections.abc import Callable

import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import FanovaImportanceEvaluator
from optuna.trial import FrozenTrial, create_trial

from study.search.optuna_trials import OBJECTIVES
from trainables.result import TRIAL_COLUMNS, TrialState

COLUMNS = ("objective", "parameter", "importance", "n")

PARAMETERS = ("family", "num_levels", "lam", "placement")

FEWEST = 10
"""Fewest trials for which importances are computed."""

NUM_TREES = 32

MOST = 300
"""Most trials that the forest is trained on, drawn at random if there are more. Its time grows with their square."""


def hyperparameter_importances(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the share of each objective's variance that each hyperparameter explains alone, in complete trials.

    Trials without a penalty have no λ and are left out, as is what does not vary. A penalty of strength 0, as a plan
    may have it, counts as a tenth of the least other strength, for logarithmic distributions have no 0.

    Args:
        trials: rows of trials.parquet.

    Returns:
        Columns `COLUMNS`; `importance` is in [0, 1], `n` the number of trials. Empty if there are fewer than `FEWEST`,
        or nothing varies.

    Source: Hutter, Hoos and Leyton-Brown, "An efficient approach for assessing hyperparameter importance" (ICML 2014),
    as Optuna computes it.
    """
    usable = (trials["state"] == TrialState.COMPLETE) & trials[["num_levels", "lam", *OBJECTIVES]].notna().all(axis=1)
    of = trials[usable].assign(lam=lambda rows: _without_zeros(rows["lam"]))
    if len(of) > MOST:
        of = of.sample(MOST, random_state=0)
    further = [str(name) for name in trials.columns if name not in {column.name for column in TRIAL_COLUMNS}]
    varied = [name for name in (*PARAMETERS, *further) if of[name].nunique(dropna=False) > 1]
    rows: list[tuple[str, str, float, int]] = []
    if len(of) >= FEWEST and varied:
        optuna_study = _as_optuna_study(of, varied)
        evaluator = FanovaImportanceEvaluator(n_trees=NUM_TREES, seed=0)
        for place, objective in enumerate(OBJECTIVES):
            if of[objective].nunique() > 1:
                found = evaluator.evaluate(optuna_study, varied, target=_value(place))
                rows += [(objective, name, float(share), len(of)) for name, share in found.items()]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _without_zeros(strengths: pd.Series) -> pd.Series:
    """Return strengths that a logarithmic scale can show."""
    positive = strengths[strengths > 0]
    # A tenth of a denormal number may be 0. If no strength is positive, 1 replaces them all: they don't vary.
    least = max(float(positive.min()) / 10, sys.float_info.min) if len(positive) else 1.0
    return strengths.astype(float).clip(lower=least)


def _value(place: int) -> Callable[[FrozenTrial], float]:
    return lambda trial: trial.values[place]


def _as_optuna_study(trials: pd.DataFrame, names: list[str]) -> optuna.Study:
    """Return an Optuna study in memory with the trials and these hyperparameters, over the ranges that they span."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        optuna_study = optuna.create_study(directions=["maximize", "minimize"])
    finally:
        optuna.logging.set_verbosity(verbosity)
    distributions = {name: _distribution(trials[name]) for name in names}
    kinds = {name: _kind(trials[name]) for name in names}
    optuna_study.add_trials(
        [
            create_trial(
                params={name: kinds[name](row[name]) for name in names},
                distributions=distributions,
                values=[float(row[objective]) for objective in OBJECTIVES],
            )
            for row in trials.to_dict("records")
        ]
    )
    return optuna_study


def _distribution(values: pd.Series) -> BaseDistribution:
    if values.name == "num_levels":
        return IntDistribution(int(values.min()), int(values.max()), log=True)
    if _kind(values) is float:
        low, high = float(values.min()), float(values.max())
        return FloatDistribution(low, high, log=low > 0)
    return CategoricalDistribution(sorted(values.astype(str).unique()))


def _kind(values: pd.Series) -> type[str] | type[float] | type[int]:
    """Return the type by which a forest sees a hyperparameter; what is no number, or missing in a trial, is a name."""
    if values.name == "num_levels":
        return int
    numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    return float if numeric and values.notna().all() else str
