"""Statistics of batch normalization, the control that quantizes first, and trials with a decoupled penalty."""

from typing import Any

import pytest
import torch

from tests.support.example_trials import quick
from tests.support.quick_runs import rest_of
from tests.trainables.phases.test_phases import restored, saved
from trainables.codebooks.placement import place_representatives
from trainables.config import PenaltyForm, Recipe, TrialConfig
from trainables.models import build_model, quantized_weights
from trainables.run import CompressionRun, trial_seeds

pytestmark = pytest.mark.usefixtures("quick_names")


def test_accuracy_is_reported_with_kept_and_with_recalibrated_statistics() -> None:
    def last(**recipe: Any) -> dict[str, Any]:
        return rest_of(CompressionRun(quick("RM", recipe=Recipe(batch_size=40, **recipe))))[-1]

    both, kept = last(recalibration_batches=2), last(recalibration_batches=2, statistics="kept")
    alone = last(recalibration_batches=0)
    assert both["val_accuracy"] == both["val_accuracy_recalibrated"] is not None
    assert both["val_accuracy_pre_tuning"] == both["val_accuracy_pre_tuning_recalibrated"] is not None
    assert kept["val_accuracy"] == kept["val_accuracy_kept"]
    assert kept["val_accuracy_recalibrated"] is not None
    assert alone["val_accuracy_recalibrated"] is None
    assert alone["val_accuracy"] == alone["val_accuracy_kept"] == kept["val_accuracy_kept"]


def test_recalibration_leaves_no_trace_in_a_network_with_kept_statistics() -> None:
    plain, measured = (
        CompressionRun(quick("RS", recipe=Recipe(batch_size=40, statistics="kept", recalibration_batches=batches)))
        for batches in (0, 2)
    )
    for _ in range(4):
        plain.run_epoch()
        measured.run_epoch()
    states = plain.model.state_dict(), measured.model.state_dict()
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


def test_quantize_first_tunes_a_quantized_network_over_both_phases() -> None:
    run = CompressionRun(quick("quantize-first", lam=0.0))
    fresh = build_model(run.config.model, (1, 8, 8), 10, trial_seeds(run.config.seed)[1], run.config.width)
    assignments = {}
    for name, weight in quantized_weights(fresh).items():
        values = place_representatives("kmeans", weight.detach().flatten(), 4, None)
        assert torch.equal(run.weights[name].unique(), values.unique())
        assignments[name] = run.phase.codebooks()[name][1].clone()
    rates, metrics = [], []
    while not run.finished:
        metrics.append(run.run_epoch())
        rates.append(run.phase.optimizers[0].param_groups[0]["lr"])
    assert {epoch["phase"] for epoch in metrics} == {"finetune"}
    assert rates == sorted(rates, reverse=True)  # one cosine over both phases
    # Before tuning stands for the end of the first phase's epochs, as of every other family.
    assert [epoch["val_accuracy_pre_tuning"] for epoch in metrics] == [None] + 3 * [metrics[1]["val_accuracy"]]
    for name, (_, assignment) in run.phase.codebooks().items():
        assert torch.equal(assignment, assignments[name])


@pytest.mark.parametrize(
    "config",
    [
        quick("RE", lam=2.0, recipe=Recipe(batch_size=40)),
        quick("RM", lam=2.0, recipe=Recipe(batch_size=40), penalty=PenaltyForm(initial="quantiles")),
        quick("RM", lam=2.0, recipe=Recipe(batch_size=40, penalty_application="proximal")),
        quick("RS", lam=2.0, recipe=Recipe(batch_size=40), penalty=PenaltyForm(interval="minmax")),
        quick("quantize-first", lam=0.0, recipe=Recipe(batch_size=40, recalibration_batches=2)),
    ],
    ids=["RE", "RM", "proximal", "RS", "quantize-first"],
)
def test_restore_reproduces_the_epochs_that_follow(config: TrialConfig) -> None:
    for epochs in (1, 2, 3):
        run = CompressionRun(config)
        for _ in range(epochs):
            run.run_epoch()
        again = restored(config, saved(run))
        assert rest_of(again) == rest_of(run)


def test_decoupled_penalty_lands_the_weights_on_their_representatives() -> None:
    recipe = Recipe(batch_size=40)
    errors = {}
    for lam in (0.0, 8.0):
        config = quick("RM", lam=lam, recipe=recipe)
        metrics = [CompressionRun(config).run_epoch() for _ in range(1)]
        run = CompressionRun(config)
        while run.epoch < config.regularize_epochs:
            metrics.append(run.run_epoch())
        errors[lam] = metrics[-1]["quantization_error"]
    assert errors[8.0] < 1e-3 < errors[0.0]


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"penalty_application": "sideways"}, "unknown penalty_application 'sideways'"),
        (
            {"penalty_application": "coupled"},
            "lam_unit must be 'gradient' where penalty_application is 'coupled', got 'half_spacings'; "
            "set lam_unit to 'gradient', or penalty_application to 'decoupled'",
        ),
        ({"statistics": "both"}, "unknown statistics 'both'"),
    ],
)
def test_recipe_that_makes_no_sense_is_refused(changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        Recipe(**changes)


def test_proximal_step_is_refused_where_it_has_no_closed_form() -> None:
    recipe = Recipe(penalty_application="proximal")
    quick("RM", recipe=recipe)
    with pytest.raises(ValueError, match="penalty_application must be 'decoupled' or 'coupled' for family 'RS'"):
        quick("RS", recipe=recipe)


def test_coupled_penalty_is_chosen_by_two_keys() -> None:
    recipe = Recipe(batch_size=40, penalty_application="coupled", lam_unit="gradient")
    metrics = rest_of(CompressionRun(quick("RM", lam=1e-2, recipe=recipe)))
    assert metrics[-1]["val_accuracy"] is not None
