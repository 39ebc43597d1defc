"""Costs of a study, counted by hand; epoch e of the examples takes 0.125 · e seconds."""

import pytest

from study.ledger.costs import Costs, costs_of
from study.ledger.facts import ASKED, BASELINE, ENDED, EPOCH
from study.run.progress.lines import cost_lines
from tests.support.example_studies import Unwritten, asked, metrics, study_config, train
from trainables.result import TrialState

CONFIG = study_config()


def ask(ledger: Unwritten, number: int, family: str) -> None:
    searched = {"family": family, "num_levels": 4, "lam": 0.0 if family == "none" else 1e-3}
    placement = {"placement": "kmeans"}
    ledger.record(ASKED, **asked(number, CONFIG.trial_config(searched | placement)))


def costs(ledger: Unwritten) -> Costs:
    return costs_of(ledger.history)


@pytest.fixture
def ledger() -> Unwritten:
    """RS to its end, RE failed after two epochs."""
    ledger = Unwritten()
    ask(ledger, 0, "RS")
    train(ledger, 0, 4)
    ledger.record(ENDED, number=0, state=TrialState.COMPLETE, failure=None)
    ask(ledger, 1, "RE")
    train(ledger, 1, 2)
    ledger.record(ENDED, number=1, state=TrialState.FAIL, failure="it broke")
    return ledger


def test_seconds_are_summed_by_trial_phase_and_family(ledger: Unwritten) -> None:
    totals = costs(ledger)
    assert totals.by_trial == {"small-00000": 1.25, "small-00001": 0.375}
    assert totals.by_phase == {"regularize": 1.125, "finetune": 0.5}
    assert totals.by_family == {"RS": 1.25, "RE": 0.375}
    assert (totals.trials, totals.lost, totals.saved) == (1.625, 0.0, 0.0)


def test_float_networks_are_counted_apart_from_trials(ledger: Unwritten) -> None:
    before = costs(ledger).trials
    for seed, epoch in ((0, 1), (1, 1), (0, 2)):
        ledger.record(BASELINE, seed=seed, epoch=epoch, val_accuracy=0.5, train_seconds=2.0)
    assert costs(ledger).baseline == 6.0
    assert costs(ledger).trials == before
    assert cost_lines(costs(ledger))[0] == "float networks: training 0:06"
    assert cost_lines(Costs(baseline=6.0)) == ["float networks: training 0:06"], "before the first trial"


def test_epoch_that_was_trained_twice_is_lost_once(ledger: Unwritten) -> None:
    ask(ledger, 2, "RS")
    for epoch in (1, 2, 2, 3):
        ledger.record(EPOCH, number=2, metrics=metrics(epoch))
    totals = costs(ledger)
    assert totals.lost == 0.25
    assert totals.by_trial["small-00002"] == 0.75


def test_stopped_trial_saves_what_its_family_takes_on_average(ledger: Unwritten) -> None:
    ask(ledger, 2, "RS")
    ledger.record(EPOCH, number=2, metrics=metrics(1))
    ledger.record(ENDED, number=2, state=TrialState.PRUNED, failure=None)
    regularize = (0.125 + 0.25 + 0.375 + 0.125) / 4
    assert costs(ledger).saved == pytest.approx(2 * regularize + 0.5)


def test_stopped_trial_of_a_family_without_finetuning_takes_the_pace_of_all(ledger: Unwritten) -> None:
    ask(ledger, 2, "RE")
    train(ledger, 2, 3)
    ledger.record(ENDED, number=2, state=TrialState.PRUNED, failure=None)
    assert costs(ledger).saved == pytest.approx(0.5)


def test_lines_say_all_of_it_and_nothing_of_nothing(ledger: Unwritten) -> None:
    assert cost_lines(Costs()) == []
    totals = costs(ledger)
    assert len(cost_lines(totals)) == 2
    totals.lost, totals.saved = 75.0, 3600.0
    lines = cost_lines(totals)
    assert lines[2] == "lost to crashes: 1:15 of epochs that were trained twice"
    assert lines[3] == "saved by early stopping: about 1:00:00 against full budgets"


def test_a_trial_that_is_quantized_first_saves_epochs_of_finetuning(ledger: Unwritten) -> None:
    config = CONFIG.trial_config({"family": "quantize-first", "num_levels": 4})
    ledger.record(ASKED, **asked(2, config))
    for epoch in (1, 2):
        ledger.record(EPOCH, number=2, metrics=metrics(epoch, phase="finetune") | {"train_seconds": 3.0})
    ledger.record(ENDED, number=2, state=TrialState.PRUNED, failure=None)
    assert costs(ledger).saved == 6.0
