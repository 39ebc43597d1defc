"""Studies that are merged, and studies that are compared."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from analysis.load import load_epochs, load_trials
from study.cli import app
from study.commands.merge import merge_studies
from study.commands.status import status_of
from study.config.dimensions import Dimension
from study.config.versions import union_of
from study.doctor.check import CheckStatus
from study.doctor.verification import verify_study
from study.ledger.facts import CHECKPOINT
from study.run.launch import resume
from study.storage.folder import StudyFolder
from tests.study.search.test_searcher import Driver
from tests.study.search.test_versions import change, new_study, run
from tests.support.example_studies import files_below, make_study, study_config
from tests.support.ledgers import change_facts


def merged(*studies: StudyFolder, into: Path) -> StudyFolder:
    return merge_studies(studies, StudyFolder(into), pytest.fail).folder


def a_study(path: Path, **changes: Any) -> StudyFolder:
    return make_study(path, study_config(**{"trials": 5} | changes))


@pytest.fixture
def pair(tmp_path: Path) -> tuple[StudyFolder, StudyFolder]:
    """Two studies of different seeds, with the files of their checkpoints."""
    pair = a_study(tmp_path / "one"), a_study(tmp_path / "two", seed=1)
    for study in pair:
        for trial in study.read_history().trials.values():
            for checkpoint in trial.checkpoints:
                (study.path / checkpoint.path).mkdir(parents=True)
                (study.path / checkpoint.path / "state").write_text(f"{study.path.name} {trial.number}")
    return pair


def test_merged_study_has_the_trials_of_both_with_numbers_and_seeds_apart(
    tmp_path: Path, pair: tuple[StudyFolder, StudyFolder]
) -> None:
    before = [files_below(study.path) for study in pair]
    both = merged(*pair, into=tmp_path / "both")
    assert [files_below(study.path) for study in pair] == before
    table = load_trials(both.path)
    assert list(table["number"]) == list(range(10))
    assert list(table["trial_id"]) == [f"both-{number:05d}" for number in range(10)]
    assert list(table["seed"]) == [0] * 5 + [1] * 5
    for place, study in enumerate(pair):
        own = table.iloc[5 * place : 5 * place + 5].reset_index(drop=True)
        expected = load_trials(study.path)
        assert own.drop(columns=["number", "trial_id", "checkpoint"]).equals(
            expected.drop(columns=["number", "trial_id", "checkpoint"])
        )
    assert len(load_epochs(both.path)) == sum(len(load_epochs(study.path)) for study in pair)
    history = both.read_history()
    assert [len(history.sessions), history.sessions[0].hostname] == [2, "head"]
    checkpoint = history.trials[7].checkpoint
    assert checkpoint is not None
    assert checkpoint.path.startswith("ray/session-002/")
    assert (both.path / checkpoint.path / "state").read_text() == "two 2"


def test_merged_study_is_read_by_all_commands(tmp_path: Path, pair: tuple[StudyFolder, StudyFolder]) -> None:
    both = merged(*pair, into=tmp_path / "both")
    status = status_of(both)
    assert (status.state, status.config.trials, status.history.num_ended) == ("finished", 10, 10)
    outcome = resume(str(both.path))
    assert outcome.state == "finished"
    assert outcome.report.text
    checks = {check.name: check for check in verify_study(both)}
    for name in ("study.yaml", "ledger", "trials.parquet", "epochs.parquet", "Optuna's study"):
        assert checks[name].status is CheckStatus.PASS, checks[name]


def test_trial_that_both_have_run_comes_once(tmp_path: Path) -> None:
    pair = a_study(tmp_path / "one"), a_study(tmp_path / "two", trials=6)
    result = merge_studies(pair, StudyFolder(tmp_path / "both"), pytest.fail)
    assert (result.trials, result.repeated) == (5, 5)
    assert result.folder.read_config().trials == 5


def test_studies_of_different_spaces_become_versions_of_one(tmp_path: Path) -> None:
    one, two = new_study(tmp_path / "one"), new_study(tmp_path / "two", seed=7, space={"family": ["RM"]})
    run(one, 8)
    change(one, "space.family=[none, RE]")
    run(one, 4)
    run(two, 6)
    both = merged(one, two, into=tmp_path / "both")
    config = both.read_config()
    assert [version.space.family for version in config.versions] == [
        ["none", "RS"],
        ["none", "RE"],
        ["RM"],
        ["none", "RE", "RM"],
    ]
    assert config.space.num_levels.high == 64
    trials = both.read_history().trials.values()
    assert [trial.space_version for trial in trials] == [1] * 8 + [2] * 4 + [3] * 6
    before = len(trials)
    driver = Driver(both.path, config.model_copy(update={"trials": 100}))
    driver.run(4)  # it goes on with what it has learned
    assert driver.ledger.history.trials[before].space_version == 4
    driver.die()


def test_union_of_spaces_holds_both() -> None:
    one = study_config(space={"family": ["none"], "fields": {"recipe.batch_size": [16, 32]}}).space
    other = study_config(
        space={
            "family": ["RE"],
            "lam_by_family": {"RE": {"low": 1.0, "high": 2.0}},
            "num_levels": {"low": 3, "high": 99},
        }
    ).space
    both = union_of(one, other)
    assert both.family == ["none", "RE"]
    assert (both.num_levels.low, both.num_levels.high) == (2, 99)
    assert (both.lam_by_family["RE"].low, both.lam_by_family["RE"].high) == (one.lam.low, 2.0)
    assert both.fields == one.fields
    clash = one.model_copy(update={"fields": {"recipe.batch_size": Dimension(low=16, high=32)}})
    with pytest.raises(ValueError, match="must stay a list of values"):
        union_of(one, clash)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trial": {"regularize_epochs": 2, "finetune_epochs": 2}}, r"trial.finetune_epochs \(1 and 2\), trial.regul"),
        (
            {"trial": {"regularize_epochs": 3, "finetune_epochs": 1, "model": "vgg16"}},
            r"trial.model \(small_cnn and vgg16\)",
        ),
    ],
)
def test_studies_whose_trials_cannot_be_compared_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    pair = a_study(tmp_path / "one"), new_study(tmp_path / "two", **changes)
    before = files_below(tmp_path)
    with pytest.raises(ValueError, match=message):
        merged(*pair, into=tmp_path / "both")
    assert files_below(tmp_path) == before


def test_failed_merger_leaves_nothing_behind(tmp_path: Path, pair: tuple[StudyFolder, StudyFolder]) -> None:
    change_facts(
        pair[1].ledger, lambda facts: [fact.update(path="ray/one") for fact in facts if fact["fact"] == CHECKPOINT]
    )
    (pair[1].path / "ray" / "one").mkdir()  # several trials name it
    before = files_below(tmp_path)
    with pytest.raises(FileExistsError):
        merged(*pair, into=tmp_path / "both")
    assert files_below(tmp_path) == before


def test_comparison_names_what_differs_and_what_came_out(tmp_path: Path) -> None:
    a_study(tmp_path / "one")
    a_study(tmp_path / "two", seed=1, early_stopping={"grace_period": 2})
    done = CliRunner().invoke(app, ["compare", str(tmp_path / "one"), str(tmp_path / "two")])
    assert done.exit_code == 0
    lines = [line.split() for line in done.stdout.splitlines() if line]
    assert [line for line in lines if line[0] in ("seed", "early_stopping.grace_period")] == [
        ["seed", "0", "1"],
        ["early_stopping.grace_period", "1", "2"],
    ]
    assert lines[0] == ["setting", "one", "two"]
    assert ["points", "of", "the", "joint", "front", "2", "2"] in lines
    assert "trial" not in json.dumps([line[0] for line in lines[:3]])


def test_comparison_of_equal_studies_says_so(tmp_path: Path) -> None:
    a_study(tmp_path / "one")
    a_study(tmp_path / "two")
    done = CliRunner().invoke(app, ["compare", str(tmp_path / "one"), str(tmp_path / "two")])
    assert done.stdout.startswith("the studies have the same settings\n")


PLAN = [
    {"family": "none", "num_levels": None},
    {"family": "none", "num_levels": 2},
    {"family": "RE", "num_levels": 8, "lam": 1e-3, "placement": "own"},
    {"family": "RS", "num_levels": 4, "lam": 1e-4, "placement": "kmeans"},
    {"family": "RC", "num_levels": 4, "lam": 1e-2, "placement": "uniform"},
]


def a_plan(path: Path, seed: int, *, ended: bool = True, **trial: Any) -> StudyFolder:
    lengths = {"regularize_epochs": 3, "finetune_epochs": 1}
    return make_study(path, study_config(plan=PLAN, trials=5, seed=seed, trial=lengths | trial), ended=ended)


def test_studies_of_one_plan_make_that_plan_with_all_seeds(tmp_path: Path) -> None:
    studies = a_plan(tmp_path / "one", 1), a_plan(tmp_path / "two", 2, evaluate_test=True)
    config = merged(*studies, into=tmp_path / "both").read_config()
    trials = StudyFolder(tmp_path / "both").read_history().trials.values()
    assert (config.plan, config.replicates, config.trials) == (studies[0].read_config().plan, 2, 10)
    assert [trial.config["seed"] for trial in trials] == [1] * 5 + [2] * 5
    assert config.trial["evaluate_test"] is False, "one seed has not evaluated it"
    said = CliRunner().invoke(app, ["merge", *(str(one.path) for one in studies), "--into", str(tmp_path / "again")])
    assert said.stdout.splitlines()[-1] == f"next: qar report {tmp_path / 'again'}", "a plan is not extended"
    a_plan(tmp_path / "far", 3)
    before = files_below(tmp_path)
    for names in (("two", "one"), ("one", "far")):
        with pytest.raises(ValueError, match=r"seeds that follow each other.*name them in that order"):
            merged(*(StudyFolder(tmp_path / name) for name in names), into=tmp_path / "more")
        assert files_below(tmp_path) == before


def test_plan_that_has_not_ended_is_not_merged(tmp_path: Path) -> None:
    studies = a_plan(tmp_path / "one", 1), a_plan(tmp_path / "two", 2, ended=False)
    with pytest.raises(ValueError, match=r"have all ended, got .*two with 4 of 5; end them with: qar resume"):
        merged(*studies, into=tmp_path / "both")


def test_plan_is_not_merged_with_a_search(tmp_path: Path) -> None:
    studies = a_plan(tmp_path / "one", 1), a_study(tmp_path / "two", seed=9)
    with pytest.raises(ValueError, match=r"searches, or studies of one plan.*whose plans differ"):
        merged(*studies, into=tmp_path / "both")
