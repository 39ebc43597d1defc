"""Tests of the paper's claims, named before they are run: paired by seed, adjusted by Holm, with their power.

A claim is a contrast of families at one K and after one phase: the weighted sum of their accuracies, which is 0 if the
claim does not hold. A seed decides the split, the float network and the order of images of all families, so that each
seed gives one value of the contrast, and the test is Student's t for one sample.

λ is chosen on seeds of its own, one for each family (`lam_by_family`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy

from analysis.statistics.comparison import holm
from analysis.statistics.family_gains import ACCURACIES, ACCURACY_AFTER, BASELINE, VALIDATION
from analysis.statistics.intervals.means import mean_interval
from trainables.families import FAMILIES, QUANTIZE_FIRST
from trainables.result import FINETUNE, REGULARIZE, TrialState

PENALTIES = ("RS", "RC", "RM", "RE")
"""Families of the paper."""

STATISTICS = ("recalibrated", "kept")
"""Batch statistics of the accuracies: re-estimated, by which claims are decided, and kept, which stand beside them."""

POWER = 0.8

CLAIM_COLUMNS = ("claim", "num_levels", "phase", "statistics", "n", "difference", "low", "high", "p", "p_adjusted")
COLUMNS = (*CLAIM_COLUMNS, "decision", "detectable")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A contrast of families, at one K and after one phase.

    Attributes:
        name: the claim in words.
        num_levels: K.
        phase: `regularize` (before tuning) or `finetune` (after it).
        weights: weight of each family's accuracy; they sum to 0.
    """

    name: str
    num_levels: int
    phase: str
    weights: Mapping[str, float]

    @classmethod
    def difference(cls, first: str, second: str, num_levels: int, phase: str) -> "Claim":
        """Return the claim that one family is more accurate than another."""
        name = f"{first} above {second}"
        return cls(name=name, num_levels=num_levels, phase=phase, weights={first: 1.0, second: -1.0})


def planned_claims(best_before: str, best_after: str) -> list[Claim]:
    """Return the eight claims that the study of the paper tests.

    Args:
        best_before: penalty with the best accuracy before tuning at K = 4, on the seeds on which λ was chosen.
        best_after: the same after tuning at K = 2.
    """
    halves = {"RM": 0.5, "RE": 0.5, "RS": -0.5, "RC": -0.5}
    dynamic = Claim(name="mean of RM and RE above mean of RS and RC", num_levels=4, phase=REGULARIZE, weights=halves)
    return [
        *(Claim.difference(family, BASELINE, 4, REGULARIZE) for family in PENALTIES),
        dynamic,
        Claim.difference(best_before, QUANTIZE_FIRST, 4, REGULARIZE),
        Claim.difference(best_after, BASELINE, 2, FINETUNE),
        Claim.difference(best_after, QUANTIZE_FIRST, 2, FINETUNE),
    ]


def lam_by_family(trials: pd.DataFrame) -> dict[str, float]:
    """Return the λ of each penalty with the best mean validation accuracy before tuning, over all K and seeds.

    Args:
        trials: rows of trials.parquet of the studies in which λ is chosen; their seeds must be in no claim.
    """
    at = _quantized(trials)
    at = at[at["family"].isin([name for name, family in FAMILIES.items() if family.has_penalty])]
    means = at.groupby(["family", "lam"])[ACCURACY_AFTER[REGULARIZE]].mean().sort_values(ascending=False, kind="stable")
    best = means.reset_index().drop_duplicates("family")
    return {str(family): float(lam) for family, lam in zip(best["family"], best["lam"], strict=True)}


def best_penalty(trials: pd.DataFrame, lams: Mapping[str, float], num_levels: int, phase: str) -> str:
    """Return the penalty with the best mean validation accuracy at its λ, at one K and after one phase.

    Args:
        trials: as in `lam_by_family`.
        lams: λ of each penalty.
        num_levels: K.
        phase: `regularize` (before tuning) or `finetune` (after it).

    Raises:
        ValueError: no trial of a penalty has this K.
    """
    at = _quantized(trials)
    at = at[(at["num_levels"] == num_levels) & at["family"].isin(list(lams))]
    at = at[np.isclose(at["lam"].astype(float), at["family"].map(lams).astype(float))]
    if at.empty:
        raise ValueError(f"the studies of λ must have penalties at K = {num_levels}, got none; add them to their plan")
    means = at.groupby("family")[ACCURACY_AFTER[phase]].mean().sort_values(ascending=False, kind="stable")
    return str(means.index[0])


def decide(
    trials: pd.DataFrame,
    claims: Sequence[Claim],
    lams: Mapping[str, float],
    *,
    split: str = VALIDATION,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Test claims on the trials of all seeds together.

    Args:
        trials: rows of trials.parquet of the studies of single seeds, one below the other.
        claims: the claims, named before the trials are looked at.
        lams: λ of each penalty, as `lam_by_family` returns them; only used where trials have several.
        split: `validation`, or `test` for trials that evaluated it.
        confidence: nominal coverage of the intervals; 1 − confidence is the error rate of all tests together.

    Returns:
        Columns `COLUMNS`, for each claim with re-estimated and with kept batch statistics. `difference` is the mean
        over `n` seeds, `low` and `high` bound it, `p` is two-sided. `p_adjusted` is Holm's, over the claims with
        re-estimated statistics, which alone decide: `decision` is `confirmed` if the difference is above 0 and
        significant, `refuted` if it is below 0 and significant, otherwise `open`. `detectable` is the least true
        difference that the test would find with a probability of 80 % at this spread and number of seeds, if it had to
        pass Holm's strictest step; NaN for fewer than two seeds.

    Raises:
        ValueError: a family that a claim needs has two trials of one seed, or a seed of theirs chose λ.
    """
    rows = []
    for statistics in STATISTICS:
        for claim in claims:
            values = contrast(trials, claim, lams, split=split, statistics=statistics)
            interval = mean_interval(values, confidence=confidence) if len(values) else None
            bounds = (interval.estimate, interval.low, interval.high) if interval else (math.nan,) * 3
            spread = len(values) > 1 and not np.allclose(values, values[0], rtol=0, atol=1e-12)
            p_value = float(scipy.stats.ttest_1samp(values, 0.0).pvalue) if spread else math.nan
            detectable = detectable_difference(values, (1 - confidence) / len(claims)) if spread else math.nan
            place = (claim.name, claim.num_levels, claim.phase, statistics, len(values))
            rows.append((*place, *bounds, p_value, math.nan, "", detectable))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    decisive = table["statistics"] == STATISTICS[0]
    p = table.loc[decisive, "p"]
    # A test that can't be run yet counts as one all the same: it was named.
    table.loc[decisive, "p_adjusted"] = pd.Series(holm(p.fillna(1.0).to_numpy(dtype=float)), p.index).where(p.notna())
    significant = table["p_adjusted"] < 1 - confidence
    table.loc[decisive, "decision"] = "open"
    table.loc[significant, "decision"] = np.where(table["difference"] > 0, "confirmed", "refuted")[significant]
    return table


def contrast(
    trials: pd.DataFrame, claim: Claim, lams: Mapping[str, float], *, split: str, statistics: str = STATISTICS[0]
) -> np.ndarray:
    """Return the contrast of each seed that has all families of a claim, (n,), in the order of seeds.

    A network without batch normalization has one accuracy, which stands for both kinds of statistics. Arguments and
    errors are those of `decide`; `statistics` is one of `STATISTICS`.
    """
    column = ACCURACIES[split][claim.phase]
    at = _quantized(trials)
    at = at[at["num_levels"] == claim.num_levels]
    columns = []
    for family, weight in claim.weights.items():
        rows = at[at["family"] == family]
        if rows["lam"].nunique() > 1:
            rows = rows[np.isclose(rows["lam"].astype(float), lams[family], rtol=1e-6)]
        if rows["seed"].duplicated().any():
            seed = rows.loc[rows["seed"].duplicated(), "seed"].iloc[0]
            raise ValueError(
                f"{family} must have one trial of each seed at K = {claim.num_levels}, got two of seed {seed}; "
                "leave one of them out"
            )
        accuracy = rows[f"{column}_{statistics}"].fillna(rows[column])
        columns.append(pd.Series(weight * accuracy.to_numpy(dtype=float), index=rows["seed"]))
    values: np.ndarray = pd.concat(columns, axis=1).dropna().sort_index().sum(axis=1).to_numpy()
    return values


def detectable_difference(values: np.ndarray, level: float) -> float:
    """Return the least true mean that a two-sided t-test of one sample finds with a probability of `POWER`.

    Args:
        values: (n,), n ≥ 2, whose spread is taken for the true one.
        level: error rate of the test.
    """
    n = len(values)
    critical = float(scipy.stats.t.ppf(1 - level / 2, n - 1))
    shift = scipy.optimize.brentq(
        lambda shift: float(scipy.stats.nct.sf(critical, n - 1, shift)) - POWER, 0.0, 20 * critical
    )
    return float(shift) * float(values.std(ddof=1)) / math.sqrt(n)


def _quantized(trials: pd.DataFrame) -> pd.DataFrame:
    return trials[(trials["state"] == TrialState.COMPLETE) & trials["num_levels"].notna()]
