"""Rules that end a study before its last trial."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from analysis.statistics.pareto import hypervolume
from study.config import StudyConfig
from study.ledger.facts import ASKED, BASELINE, ENDED
from study.ledger.ledger import Ledger
from study.ledger.reading import read_history
from study.search.rungs import Rungs
from study.search.scheduler import RungScheduler
from study.search.searcher import OptunaSearcher
from study.search.stopping import StopWatch
from study.storage.liveliness import is_complete, rule_met
from tests.support.example_studies import (
    Unwritten,
    asked,
    history_of,
    metrics,
    start_session,
    study_config,
    train,
)
from trainables.result import TrialState


def config_with(stop: dict[str, Any], **changes: Any) -> StudyConfig:
    return study_config(**{"trials": 100, "stop": stop} | changes)


def reason(stop: dict[str, Any], ledger: Unwritten, **changes: Any) -> str | None:
    return StopWatch(config_with(stop, **changes), ledger.history).reason()


@pytest.fixture
def trained() -> Unwritten:
    """Four trials of 1.25 s each, and a float network of 5 s."""
    ledger = Unwritten()
    ledger.record(BASELINE, seed=0, epoch=1, val_accuracy=0.5, train_seconds=5.0)
    for number in range(4):
        ledger.record(ASKED, **asked(number, study_config().trial_config({"family": "none", "num_levels": 4})))
        train(ledger, number, 4, accuracy=0.5 + number / 10, bits=2.0)
        ledger.record(ENDED, number=number, state=TrialState.COMPLETE, failure=None)
    return ledger


def test_training_is_paid_by_the_hour(trained: Unwritten) -> None:
    hour = 10 / 3600
    gpus = {"resources": {"gpus": 0.5}}
    assert reason({"gpu_hours": 0.51 * hour}, trained, **gpus) is None
    assert reason({"gpu_hours": 0.5 * hour}, trained, **gpus) == "0.001389 of 0.00138889 GPU-hours"
    assert reason({"cost": 3.01 * hour, "price": 3.0}, trained) is None
    assert reason({"cost": 3.0 * hour, "price": 3.0}, trained) == "cost 0.008333 of 0.00833333"


def test_target_is_reached_by_one_trial_that_meets_all_bounds(trained: Unwritten) -> None:
    target = "val_accuracy >= 0.7 and bits_per_weight <= 2"
    assert reason({"target": target}, trained) == f"target {target} reached by trial 2"
    assert reason({"target": "val_accuracy >= 0.7 and bits_per_weight <= 1.9"}, trained) is None


def test_pruned_trials_and_float_baselines_reach_no_target() -> None:
    history = history_of((0.9, 2.0, TrialState.PRUNED, 4), (0.9, 2.0, TrialState.COMPLETE, None))
    assert StopWatch(config_with({"target": "val_accuracy >= 0.5"}), history).reason() is None


def test_plateau_looks_back_a_number_of_trials(trained: Unwritten) -> None:
    grown = 0.1 * 30 / 32  # of the last trial
    assert reason({"plateau": {"trials": 1, "hypervolume": 1.01 * grown}}, trained) is not None
    assert reason({"plateau": {"trials": 1, "hypervolume": 0.99 * grown}}, trained) is None
    assert reason({"plateau": {"trials": 5, "hypervolume": 1.0}}, trained) is None, "before five have ended"


@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.floats(0.5, 40), st.sampled_from([TrialState.COMPLETE, TrialState.PRUNED])),
        min_size=1,
        max_size=8,
    )
)
def test_hypervolume_is_that_of_reports(trials: list[tuple[float, float, str]]) -> None:
    history = history_of(*((accuracy, bits, state, 4) for accuracy, bits, state in trials))
    (gauge,) = StopWatch(config_with({"plateau": {"trials": len(trials), "hypervolume": 1e-9}}), history).gauges()
    table = pd.DataFrame(
        [
            {"number": number, "state": state, "num_levels": 4.0, "val_accuracy": accuracy, "bits_per_weight": bits}
            for number, (accuracy, bits, state) in enumerate(trials)
        ]
    )
    assert gauge.text.startswith(f"hypervolume grew by {hypervolume(table):.2g} in the last {len(trials)} trials")


def test_time_counts_sessions_and_not_the_time_between(tmp_path: Path) -> None:
    ledger = Unwritten()
    for session in (1, 2):
        content: dict[str, Any] = {"session": session, "pid": 1, "hostname": "head", "provenance": {}}
        ledger.record("session_started", **content)
        ledger.history.sessions[-1].seconds = 1800.0
    assert reason({"hours": 1.1}, ledger) is None
    assert reason({"hours": 1.0}, ledger) == "1:00:00 of 1 hours"


def studied(tmp_path: Path, config: StudyConfig) -> tuple[Ledger, OptunaSearcher]:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    start_session(ledger)
    return ledger, OptunaSearcher(config, ledger)


TARGET = {"target": "val_accuracy >= 0.5"}


def end_first(ledger: Ledger, searcher: OptunaSearcher) -> None:
    suggestion = searcher.suggest("first")
    assert isinstance(suggestion, dict)
    number = suggestion["number"]
    train(ledger, number, 4, accuracy=0.5)
    ledger.record(ENDED, number=number, state=TrialState.COMPLETE, failure=None)
    searcher.on_trial_complete("first", {})


def test_study_that_meets_a_rule_finishes_what_runs_and_is_complete(tmp_path: Path) -> None:
    config = config_with(TARGET, anchors={"num_levels": [2]}, space={"family": ["none"]})
    ledger, searcher = studied(tmp_path, config)
    float_anchor = searcher.suggest("anchor")
    assert isinstance(float_anchor, dict)
    end_first(ledger, searcher)
    assert searcher.suggest("second") is None, "one still runs"
    assert not is_complete(ledger.history, config)
    train(ledger, float_anchor["number"], 4)
    ledger.record(ENDED, number=float_anchor["number"], state=TrialState.COMPLETE, failure=None)
    searcher.on_trial_complete("anchor", {})
    assert searcher.suggest("second") == Searcher.FINISHED
    ledger.close()
    history = read_history(tmp_path / "ledger.jsonl")
    assert rule_met(history, config) == f"target {TARGET['target']} reached by trial 1"
    assert is_complete(history, config)
    assert len(history.trials) == 2
    assert not is_complete(history, config.model_copy(update={"trials": 101})), "it was extended"
    assert not is_complete(history, config_with({"target": "val_accuracy >= 0.6"})), "its rules were changed"


def test_running_trials_are_cut_where_the_rule_says_so(tmp_path: Path) -> None:
    config = config_with(TARGET | {"running": "cut"}, anchors={"num_levels": [2]}, space={"family": ["none"]})
    ledger, searcher = studied(tmp_path, config)
    running = searcher.suggest("running")
    assert isinstance(running, dict)
    scheduler = RungScheduler(Rungs.replay(config, ledger.history), cuts=lambda number: searcher.stops())

    class RayTrial:
        config = running

    assert scheduler.on_trial_result(None, RayTrial(), metrics(1)) == TrialScheduler.CONTINUE
    end_first(ledger, searcher)
    assert scheduler.on_trial_result(None, RayTrial(), metrics(2)) == TrialScheduler.STOP
    ledger.close()


@pytest.mark.parametrize(
    ("stop", "message"),
    [
        ({}, "stop must hold a rule: hours, gpu_hours, cost, plateau or target, got none"),
        ({"running": "cut"}, "stop must hold a rule"),
        ({"cost": 5.0}, "price must be given with cost, and only then, got None"),
        ({"hours": 1.0, "price": 2.0}, "price must be given with cost, and only then, got 2.0"),
        ({"hours": 0.0}, "stop.hours must be .*0"),
        ({"gpu_hours": 5.0}, "stop.gpu_hours must be left out where trials use no GPU, got 5.0"),
        ({"target": "val_accuracy > 0.9"}, "stop.target must be METRIC >= NUMBER"),
        ({"target": "accuracy >= 0.9"}, "unknown metric in stop.target 'accuracy'"),
        ({"plateau": {"trials": 0, "hypervolume": 0.1}}, "stop.plateau.trials must be"),
        ({"plateau": {"trials": 3}}, "stop.plateau.hypervolume"),
        ({"hours": 1.0, "running": "kill"}, "stop.running must be 'finish' or 'cut', got 'kill'"),
        ({"days": 1}, "stop.days"),
    ],
)
def test_wrong_rules_are_refused(stop: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config_with(stop)
