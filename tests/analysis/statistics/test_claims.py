"""Tests of the paper's claims, against SciPy and against simulated studies."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as students
from scipy.stats import ttest_rel

from analysis.statistics.claims import (
    Claim,
    best_penalty,
    contrast,
    decide,
    detectable_difference,
    lam_by_family,
    planned_claims,
)
from tests.support.example_studies import trials_frame
from trainables.result import FINETUNE, REGULARIZE

LAMS = {"RS": 2.0, "RC": 2.0, "RM": 8.0, "RE": 32.0}
ABOVE = {"none": 0.0, "quantize-first": 0.1, "RS": 0.05, "RC": 0.2, "RM": 0.15, "RE": 0.1}


def trial(family: str, num_levels: int, seed: int, accuracy: float, **changes: Any) -> dict[str, Any]:
    """A trial whose accuracies with kept statistics are 0.3 below those with re-estimated ones."""
    row: dict[str, Any] = {
        "family": family,
        "num_levels": num_levels,
        "seed": seed,
        "lam": LAMS.get(family),
        "placement": "own" if family in LAMS else "kmeans",
    }
    for phase, gain in (("_pre_tuning", 0.0), ("", 0.1)):
        for split in ("val", "test"):
            name = f"{split}_accuracy{phase}"
            row |= {
                name: accuracy + gain,
                f"{name}_recalibrated": accuracy + gain,
                f"{name}_kept": accuracy + gain - 0.3,
            }
    return row | changes


def study(seeds: int, spread: float = 0.01, **changes: Any) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return trials_frame(
        *(
            trial(family, num_levels, seed, 0.4 + 0.02 * seed + above + spread * rng.normal(), **changes)
            for seed in range(seeds)
            for num_levels in (2, 4)
            for family, above in ABOVE.items()
        )
    )


def searched() -> pd.DataFrame:
    """λ chosen on seed 100: each family's of `LAMS` is its best."""
    return trials_frame(
        *(
            trial(family, num_levels, 100, 0.4 + ABOVE[family] - 0.1 * (lam != LAMS[family]), lam=lam)
            for num_levels in (2, 4)
            for family in LAMS
            for lam in (2.0, 8.0, 32.0)
        )
    )


def test_lam_is_the_best_of_each_family_over_all_levels() -> None:
    trials = searched()
    assert lam_by_family(trials) == LAMS
    at_two = (trials["family"] == "RS") & (trials["num_levels"] == 2) & (trials["lam"] == 8.0)
    trials.loc[at_two, "val_accuracy_pre_tuning"] += 0.15
    assert lam_by_family(trials) == LAMS  # one K alone decides nothing: 0.05 better there, 0.1 worse at the other
    trials.loc[at_two, "val_accuracy_pre_tuning"] += 0.1
    assert lam_by_family(trials) == LAMS | {"RS": 8.0}


def test_best_penalty_is_that_at_its_lam_and_after_the_phase() -> None:
    trials = searched()
    assert best_penalty(trials, LAMS, 4, REGULARIZE) == "RC"
    trials.loc[(trials["family"] == "RE") & (trials["lam"] == 2.0), "val_accuracy_pre_tuning"] = 0.99
    assert best_penalty(trials, LAMS, 4, REGULARIZE) == "RC"  # RE's λ is another
    trials.loc[(trials["family"] == "RM") & (trials["num_levels"] == 2), "val_accuracy"] = 0.99
    assert best_penalty(trials, LAMS, 2, FINETUNE) == "RM"
    with pytest.raises(ValueError, match="must have penalties at K = 16"):
        best_penalty(trials, LAMS, 16, REGULARIZE)


def test_eight_claims_are_planned_whose_weights_cancel() -> None:
    claims = planned_claims("RC", "RM")
    assert len(claims) == 8
    assert all(sum(claim.weights.values()) == 0 for claim in claims)
    assert [claim.num_levels for claim in claims] == [4] * 6 + [2] * 2
    assert [claim.phase for claim in claims] == [REGULARIZE] * 6 + [FINETUNE] * 2


@pytest.mark.parametrize("statistics", ["recalibrated", "kept"])
def test_claim_of_a_difference_is_the_paired_t_test(statistics: str) -> None:
    trials, lams = study(5), LAMS
    claim = Claim.difference("RC", "none", 4, REGULARIZE)
    column = f"val_accuracy_pre_tuning_{statistics}"
    at = trials[trials["num_levels"] == 4].set_index("seed")
    first, second = (at.loc[at["family"] == family, column].sort_index() for family in ("RC", "none"))
    table = decide(trials, [claim], lams)
    row = table[table["statistics"] == statistics].iloc[0]
    assert row["n"] == 5
    assert row["difference"] == pytest.approx((first - second).mean())
    assert row["p"] == pytest.approx(ttest_rel(first, second).pvalue)
    assert row["low"] < row["difference"] < row["high"]


def test_claim_of_several_families_is_their_weighted_mean_by_seed() -> None:
    trials, lams = study(4), LAMS
    claim = planned_claims("RC", "RM")[4]
    values = contrast(trials.sample(frac=1.0, random_state=0), claim, lams, split="test")
    for seed, value in enumerate(values):
        at = trials[(trials["seed"] == seed) & (trials["num_levels"] == 4)].set_index("family")
        accuracy = at["test_accuracy_pre_tuning_recalibrated"]
        assert value == pytest.approx((accuracy["RM"] + accuracy["RE"] - accuracy["RS"] - accuracy["RC"]) / 2)


def test_claims_are_confirmed_refuted_or_open_after_holm() -> None:
    trials, lams = study(6), LAMS
    claims = [Claim.difference(first, second, 4, REGULARIZE) for first, second in (("RC", "none"), ("none", "RC"))]
    claims.append(Claim.difference("RE", "quantize-first", 4, REGULARIZE))  # equal but for noise
    table = decide(trials, claims, lams)
    decisive = table[table["statistics"] == "recalibrated"]
    assert list(decisive["decision"]) == ["confirmed", "refuted", "open"]
    assert (decisive["p_adjusted"] >= decisive["p"]).all()
    kept = table[table["statistics"] == "kept"]
    assert set(kept["decision"]) == {""}
    assert kept["p_adjusted"].isna().all()


def test_tests_that_cannot_be_run_yet_count_in_the_adjustment() -> None:
    trials = study(4)
    claims = [Claim.difference("RC", "none", 4, REGULARIZE), Claim.difference("RC", "none", 16, FINETUNE)]
    row = decide(trials, claims, LAMS).iloc[0]
    assert row["p_adjusted"] == pytest.approx(min(1.0, 2 * row["p"]))


def test_trials_at_another_lam_and_unfinished_ones_are_left_out() -> None:
    trials, lams = study(3), LAMS
    others = trials_frame(trial("RC", 4, 0, 0.99, lam=32.0), trial("RC", 4, 1, 0.99, state="PRUNED"))
    claim = Claim.difference("RC", "none", 4, REGULARIZE)
    plain = contrast(trials, claim, lams, split="validation")
    assert np.array_equal(contrast(pd.concat([trials, others]), claim, lams, split="validation"), plain)


def test_the_only_lam_of_a_family_needs_no_choice() -> None:
    trials = study(3)
    claim = Claim.difference("RC", "none", 4, REGULARIZE)
    values = contrast(trials, claim, LAMS, split="test")
    other = trials.assign(lam=trials["lam"] * 2)
    assert np.array_equal(contrast(other, claim, LAMS, split="test"), values)


def test_seed_without_one_of_the_families_is_left_out() -> None:
    trials, lams = study(3), LAMS
    fewer = trials[~((trials["family"] == "none") & (trials["seed"] == 1))]
    assert len(contrast(fewer, Claim.difference("RC", "none", 4, REGULARIZE), lams, split="test")) == 2


def test_two_trials_of_a_seed_are_refused() -> None:
    trials, lams = study(2), LAMS
    with pytest.raises(ValueError, match="RC must have one trial of each seed at K = 4, got two of seed 0; leave"):
        contrast(pd.concat([trials, trials]), Claim.difference("RC", "none", 4, REGULARIZE), lams, split="test")


def test_network_without_batch_statistics_has_one_accuracy_for_both() -> None:
    trials = study(3, test_accuracy_pre_tuning_recalibrated=None)
    trials["test_accuracy_pre_tuning"] = trials["test_accuracy_pre_tuning_kept"]
    lams = LAMS
    claim = Claim.difference("RC", "none", 4, REGULARIZE)
    first, second = (contrast(trials, claim, lams, split="test", statistics=name) for name in ("recalibrated", "kept"))
    assert len(first) == 3
    assert np.array_equal(first, second)


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_leave_a_claim_open(seeds: int) -> None:
    table = decide(study(seeds), planned_claims("RC", "RM"), LAMS)
    assert set(table["n"]) == {seeds}
    assert table["p"].isna().all() == (seeds == 1)
    assert set(table.loc[table["statistics"] == "recalibrated", "decision"]) == {"open"} or seeds > 1


@pytest.mark.parametrize(("n", "level"), [(3, 0.05), (5, 0.05 / 8), (20, 0.01)])
def test_detectable_difference_is_detected_in_four_of_five_simulated_studies(n: int, level: float) -> None:
    rng = np.random.default_rng(0)
    sample = rng.normal(size=n)
    sample = (sample - sample.mean()) / sample.std(ddof=1)
    shift = detectable_difference(sample, level)
    simulated = rng.normal(shift, 1.0, size=(20_000, n))
    t = simulated.mean(1) / (simulated.std(1, ddof=1) / math.sqrt(n))
    power = (np.abs(t) > students.ppf(1 - level / 2, n - 1)).mean()
    assert power == pytest.approx(0.8, abs=0.02)
