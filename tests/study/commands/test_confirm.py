"""Confirmation: which trials are trained again, under which seeds, and that only these see the test split."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from analysis.load import load_trials
from study.cli import app
from study.commands.confirm import (
    confirmation_of,
    first_free_seed,
    left_wanting,
    plan_of,
    study_confirmed_by,
    worth_confirming,
)
from study.config import parse_study
from study.ledger.facts import ASKED, ENDED, EPOCH
from study.ledger.history import History
from study.ledger.ledger import Ledger
from study.ledger.reading import read_history
from study.search.first_trials import first_trials
from study.storage.folder import StudyFolder
from study.storage.study_storage import CONFIRM
from tests.support.example_studies import (
    Unwritten,
    asked,
    files_below,
    make_study,
    metrics,
    start_session,
    study_config,
)
from tests.support.ledgers import change_facts
from tests.support.live_studies import qar
from trainables.files.checkpoint import read_checkpoint
from trainables.result import TrialState

CONFIG = study_config()


def history_of(*points: tuple[float, float], state: str = TrialState.COMPLETE) -> History:
    """Trials of RS at K = 2, 3, …, with these accuracies and bits."""
    ledger = Unwritten()
    for number, (accuracy, bits) in enumerate(points):
        searched = {"family": "RS", "num_levels": 2 + number, "lam": 1e-3, "placement": "own"}
        ledger.record(ASKED, **asked(number, CONFIG.trial_config(searched)))
        ledger.record(EPOCH, number=number, metrics=metrics(4, accuracy=accuracy, bits=bits, phase="finetune"))
        ledger.record(ENDED, number=number, state=state, failure=None)
    return ledger.history


POINTS = ((0.5, 1.0), (0.8, 2.0), (0.79, 2.5), (0.9, 3.0), (0.85, 4.0))


@pytest.mark.parametrize(
    ("margin", "expected"), [(0.0, [0, 1, 3]), (0.005, [0, 1, 3]), (0.02, [0, 1, 2, 3]), (0.06, [0, 1, 2, 3, 4])]
)
def test_front_and_what_is_near_it_is_worth_confirming(margin: float, expected: list[int]) -> None:
    assert [trial.number for trial in worth_confirming(history_of(*POINTS), margin)] == expected


def test_what_was_stopped_early_is_not_worth_confirming() -> None:
    assert worth_confirming(history_of(*POINTS, state=TrialState.PRUNED), 1.0) == []


def test_plan_begins_with_the_float_baseline_and_plain_quantization_at_the_same_levels() -> None:
    plan = plan_of(history_of(*POINTS), 0.0)
    assert [(trial.family, trial.num_levels) for trial in plan] == [
        ("none", None),
        *(("none", levels) for levels in (2, 3, 5)),
        *(("RS", levels) for levels in (2, 3, 5)),
    ]


def searched_history(*trials: tuple[str, int, float, float, float]) -> History:
    """Trials of uniform placement that were trained to their end: family, K, λ, accuracy, bits."""
    ledger = Unwritten()
    for number, (family, num_levels, lam, accuracy, bits) in enumerate(trials):
        searched = {"family": family, "num_levels": num_levels, "lam": lam, "placement": "uniform"}
        ledger.record(ASKED, **asked(number, CONFIG.trial_config(searched)))
        ledger.record(EPOCH, number=number, metrics=metrics(4, accuracy=accuracy, bits=bits, phase="finetune"))
        ledger.record(ENDED, number=number, state=TrialState.COMPLETE, failure=None)
    return ledger.history


def test_plan_holds_the_best_of_each_family_where_something_is_confirmed() -> None:
    history = searched_history(  # only the first is on the front
        *(("RM", 3, 1e-3, 0.94, 2.0), ("RS", 3, 1e-3, 0.80, 2.4), ("RS", 3, 1e-2, 0.85, 2.5), ("none", 3, 0, 0.7, 2.4)),
        *(("RE", 3, 1e-3, 0.90, 2.6), ("RE", 3, 1e-2, 0.90, 2.5), ("RC", 4, 1e-3, 0.93, 2.7)),
    )
    plan = [(trial.family, trial.num_levels, trial.lam, trial.placement) for trial in plan_of(history, 0.0)]
    assert plan == [
        *(("none", None, 0, "kmeans"), ("none", 3, 0, "kmeans"), ("RM", 3, 1e-3, "uniform")),
        *(("RE", 3, 1e-2, "uniform"), ("RS", 3, 1e-2, "uniform"), ("none", 3, 0, "uniform")),
    ]


def test_plan_at_some_levels_holds_these_and_the_float_baseline() -> None:
    plan = plan_of(history_of(*POINTS), 0.0, {3, 5})
    assert [(trial.family, trial.num_levels) for trial in plan] == [
        *(("none", None), ("none", 3), ("none", 5)),
        *(("RS", 3), ("RS", 5)),
    ]


def test_families_are_compared_at_levels_where_nothing_of_them_was_trained_to_its_end() -> None:
    history = searched_history(
        *(
            ("RM", 3, 1e-3, 0.94, 2.0),
            ("RM", 12, 1e-2, 0.95, 3.0),
            ("RS", 6, 1e-4, 0.8, 2.4),
            ("RS", 6, 1e-5, 0.7, 2.3),
        ),
        *(("none", 4, 0.0, 0.7, 2.2), ("RC", 2, 1e-1, 0.5, 1.5), ("RC", 8, 1e-2, 0.6, 2.6)),
    )
    plan = plan_of(history, 0.0, {4, 6})
    assert [(trial.family, trial.num_levels, trial.lam, trial.placement) for trial in plan] == [
        *(("none", None, 0, "kmeans"), ("none", 4, 0, "kmeans"), ("none", 6, 0, "kmeans")),
        *(("RC", 4, 1e-1, "uniform"), ("RM", 4, 1e-3, "uniform"), ("RS", 4, 1e-4, "uniform")),  # 4 / 2 is 8 / 4
        *(("none", 4, 0, "uniform"), ("RC", 6, 1e-2, "uniform"), ("RM", 6, 1e-3, "uniform")),
        *(("RS", 6, 1e-4, "uniform"), ("none", 6, 0, "uniform")),
    ]
    lines = left_wanting(history, CONFIG, plan)
    assert [line.partition(":")[0] for line in lines] == [
        *("RE is not compared", "RC at K = 4", "RM at K = 4", "RS at K = 4", "RC at K = 6", "RM at K = 6")
    ]
    assert lines[2].endswith("; λ = 0.001 and placement uniform are those of its best at the nearest K")
    assert {(trial.family, trial.num_levels) for trial in plan_of(history, 0.0)} == {
        *(("none", None), ("none", 2), ("none", 3), ("none", 12), ("RC", 2), ("RM", 3), ("RM", 12)),
    }


def test_level_outside_of_what_was_trained_to_its_end_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^levels must lie between 2 and 6, which .*, got \[7\]; leave these out$"):
        plan_of(history_of(*POINTS), 0.0, {3, 7})


def test_levels_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small")
    before = files_below(tmp_path)
    told = CliRunner().invoke(app, ["confirm", str(study.path), "--levels", "2;4"])
    assert (told.exit_code, told.stderr.count("\n")) == (2, 1)
    assert "--levels must be whole numbers" in told.stderr
    assert files_below(tmp_path) == before


def test_plan_holds_nothing_twice(tmp_path: Path) -> None:
    """The study's front has `none` at K = 2 already."""
    study = make_study(tmp_path / "small")
    plan = plan_of(read_history(study.ledger), 0.0)
    assert [(trial.family, trial.num_levels) for trial in plan] == [("none", None), ("none", 2), ("none", 8), ("RE", 8)]


def test_confirmation_runs_fresh_seeds_to_the_full_budget_and_looks_at_the_test_split(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small", study_config(trials=5, seed=3, replicates=2))
    folder, config = confirmation_of(study, seeds=4, margin=0.0)
    assert folder.path == study.path / CONFIRM
    assert (config.trials, config.seed, config.replicates, config.name) == (16, 5, 4, "small-confirm")
    assert config.trial["evaluate_test"]
    assert config.early_stopping.scheduler == "none"
    assert not study.read_config().trial["evaluate_test"]


def test_confirmation_that_began_is_gone_on_with_or_named(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small")
    folder, config = confirmation_of(study, seeds=2, margin=0.0)
    folder.create(config)
    assert confirmation_of(study, seeds=2, margin=0.0) == (folder, config)
    with pytest.raises(ValueError, match=r"holds another confirmation: of 4 configurations with 2 seeds.*qar resume"):
        confirmation_of(study, seeds=1, margin=0.0)


def test_confirmation_that_is_being_run_is_given_no_more_seeds(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small")
    folder, config = confirmation_of(study, seeds=2, margin=0.0)
    folder.create(config)
    driver = Ledger(folder.ledger)
    before = files_below(tmp_path)
    told = CliRunner().invoke(app, ["confirm", str(study.path), "--seeds", "3"])
    assert (told.exit_code, told.stderr.count("\n")) == (2, 1)
    assert "is being run by another process" in told.stderr
    assert files_below(tmp_path) == before
    driver.close()


def test_confirmation_goes_on_with_more_seeds(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small")
    folder, fewer = confirmation_of(study, seeds=2, margin=0.0)
    folder.create(fewer)
    _, config = confirmation_of(study, seeds=3, margin=0.0)
    assert (config.replicates, config.trials, config.seed, config.plan) == (3, 12, fewer.seed, fewer.plan)
    begun, more = first_trials(fewer), first_trials(config)
    assert more[: len(begun)] == begun, "what was run keeps its place"


def test_confirmation_leaves_out_seeds_that_an_exhausted_search_has_used(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small")
    ledger = Ledger(study.ledger)
    again = study.read_config().trial_config({"family": "none", "num_levels": 2, "seed": 4})
    start_session(ledger)
    ledger.record(ASKED, **asked(5, again))
    ledger.close()
    assert confirmation_of(study, seeds=2, margin=0.0)[1].seed == 5


def test_confirmation_of_a_confirmation_is_refused(tmp_path: Path) -> None:
    folder, config = confirmation_of(make_study(tmp_path / "small"), seeds=2, margin=0.0)
    folder.create(config)
    with pytest.raises(ValueError, match="is a confirmation itself"):
        confirmation_of(folder, seeds=2, margin=0.0)


def test_confirmation_of_a_plan_is_refused_with_the_way_to_its_results(tmp_path: Path) -> None:
    plan = [{"family": "RS", "num_levels": 2, "lam": 1e-3}]
    folder = StudyFolder(tmp_path / "planned")
    folder.create(study_config(name="planned", trials=3, replicates=3, plan=plan))
    with pytest.raises(ValueError, match=r"takes a search, got \S+planned, [^\n]*: qar report \S+planned$"):
        confirmation_of(folder, seeds=2, margin=0.0)


@pytest.mark.parametrize("first_of_family", ["finished", "compared"])
def test_confirmation_is_the_same_again(first_of_family: str, tmp_path: Path) -> None:
    """Also of a study whose version had no such key, and whose confirmation has none either."""
    stopping = {"grace_period": 1, "first_of_family": first_of_family}
    study = make_study(tmp_path / "small", study_config(trials=5, early_stopping=stopping))
    folder, config = confirmation_of(study, seeds=2, margin=0.0)
    folder.create(config)
    if first_of_family == "compared":
        for file in (study.study_yaml, folder.study_yaml):
            file.write_text(file.read_text().replace("  first_of_family: compared\n", ""))
        change_facts(study.ledger, lambda facts: facts[0].pop("study_yaml"))
    assert confirmation_of(study, seeds=2, margin=0.0)[1] == config == folder.read_config()


def test_report_after_resuming_a_confirmation_is_that_of_its_study(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small")
    folder, config = confirmation_of(study, seeds=2, margin=0.0)
    assert study_confirmed_by(folder, config) == study
    assert study_confirmed_by(study, study.read_config()) is None


def test_study_without_a_front_has_nothing_to_confirm(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "small")
    folder.create(study_config())
    with pytest.raises(ValueError, match="no quantized trial with its full budget to confirm"):
        confirmation_of(folder, seeds=2, margin=0.0)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"trials": 5}, r"trials must be plan × replicates \(1 × 3 = 3\), got 5"),
        ({"plan": [{"family": "RX", "num_levels": 2}]}, "RX"),
        ({"plan": [{"family": "RS", "num_levels": None}]}, "num_levels"),
        ({"plan": [{"family": "none", "num_levels": 2, "lam": 0.1}]}, "lam must be 0"),
    ],
)
def test_plan_that_makes_no_sense_is_refused(changes: dict[str, Any], rule: str) -> None:
    values = study_config().model_dump() | {"plan": [{"family": "none", "num_levels": 2}], "replicates": 3, "trials": 3}
    assert parse_study(values, "test").plan
    with pytest.raises(ValueError, match=rule):
        parse_study(values | changes, "test")


@pytest.mark.e2e
def test_confirmed_results_are_the_report_of_the_study(tmp_path: Path) -> None:
    epochs = ("--set", "trial.regularize_epochs=2", "--set", "trial.finetune_epochs=1")
    short = (*epochs, "--set", "trial.width=0.25", "--set", "trial.subset=160")
    pretrained = ("--set", "trial.init=pretrained", "--set", "baseline_epochs=4")
    stopping = ("--set", "early_stopping.scheduler=none", "--set", "early_stopping.grace_period=1")
    assert qar("launch", "digits", "--trials", "4", *short, *pretrained, *stopping, cwd=tmp_path).status == 0
    study = tmp_path / "studies" / "digits"
    ended = qar("confirm", "studies/digits", "--seeds", "2", cwd=tmp_path)
    assert (ended.status, ended.stderr) == (0, ""), ended
    assert "confirmed under fresh seeds, on the test split:" in ended.stdout
    assert "optimism of the search" in ended.stdout

    searched, trials = load_trials(study), load_trials(study / CONFIRM)
    assert searched["test_accuracy"].isna().all()
    assert (trials["state"] == TrialState.COMPLETE).all()
    assert trials["test_accuracy"].between(0, 1).all()
    assert set(trials["seed"]) == {1, 2}
    assert (trials.groupby("config_hash")["seed"].nunique() == 2).all()
    baselines = [sorted(path.name for path in (folder / "baseline").iterdir()) for folder in (study, study / CONFIRM)]
    assert baselines == [["seed-0"], ["seed-1", "seed-2"]]
    assert read_checkpoint(study / CONFIRM / "baseline" / "seed-2")["epoch"] == 4
    front = read_history(study / "ledger.jsonl")
    assert {trial.config_hash for trial in worth_confirming(front, 0.0)} <= set(trials["config_hash"])
    table = (study / "report" / "confirmed.csv").read_text().splitlines()
    assert len(table) == 1 + trials["config_hash"].nunique()
    assert json.loads((study / "report" / "summary.json").read_text())["trials"] == 4

    for folder, number in ((study, 3), (study / CONFIRM, 1)):
        before = files_below(folder)
        reproduced = qar("reproduce", str(folder), "--trial", str(number), cwd=tmp_path)
        assert (reproduced.status, reproduced.stderr) == (0, ""), "a worker of Ray's and this process train alike"
        assert "bit by bit" in reproduced.stdout
        assert files_below(folder) == before

    again = qar("confirm", "studies/digits", "--seeds", "2", cwd=tmp_path)
    assert again.status == 0
    assert load_trials(study / CONFIRM).equals(trials), "nothing is trained again"


def test_seeds_of_a_confirmation_stay_within_the_tables(tmp_path: Path) -> None:
    history = Ledger(make_study(tmp_path / "small").ledger).history
    largest = 2**63 - 1
    assert first_free_seed(study_config(seed=7), history) == 8
    near = study_config(seed=largest - 100)
    assert first_free_seed(near, history) == 0
