"""Studies whose space changes while they go on: what is proposed, what a sampler learns from, and who is stopped."""

from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.samplers import TPESampler

from analysis.load import load_trials
from study.config import StudyConfig
from study.records.optuna_mirror import OptunaMirror
from study.records.tables import write_tables
from study.run.change import change_study
from study.run.options import RunOptions
from study.search.rungs import Rungs
from study.storage.folder import StudyFolder
from tests.study.search.test_searcher import Driver, config_of
from tests.support.example_studies import start_session
from tests.support.proposals import HOW
from trainables.result import TrialState

SPACE = {"family": ["none", "RS"], "num_levels": {"low": 2, "high": 8}, "lam": {"low": 1e-3, "high": 1e-2}}
QUIET = RunOptions(say=lambda line: None)


def new_study(path: Path, **changes: Any) -> StudyFolder:
    study = StudyFolder(path)
    study.create(config_of(**{"space": SPACE} | changes))
    with closing(study.open_ledger(print)) as ledger:
        start_session(ledger, study)
    return study


def run(study: StudyFolder, trials: int, restart_at: int | None = None) -> None:
    """Trains trials one at a time; the driver is killed before trial `restart_at`."""
    driver = Driver(study.path, study.read_config())
    for index in range(trials):
        if index == restart_at:
            driver.die()
            driver = Driver(study.path, study.read_config())
        number = driver.ask()["number"]
        driver.end(number, HOW[number % len(HOW)])
    driver.die()


def change(study: StudyFolder, *overrides: str) -> StudyConfig:
    return change_study(study, overrides, QUIET)


def changed_study(
    path: Path,
    sampler: str,
    restarts: tuple[int | None, ...] = (None, None, None),
    trials: tuple[int, int, int] = (12, 12, 14),
) -> StudyFolder:
    """A study that is widened, and then changed in every way; so many trials follow each change."""
    study = new_study(path, sampler=sampler)
    run(study, trials[0], restarts[0])
    change(study, "space.lam.high=10", "space.family=[none, RS, RE]")
    run(study, trials[1], restarts[1])
    change(study, "space.num_levels.low=3", "space.family=[RS, RM, RE]", "space.placement=[own, kmeans]")
    run(study, trials[2], restarts[2])
    return study


@pytest.mark.parametrize("sampler", ["tpe", "optuna-tpe", "nsga2", "gp", "qmc", "random"])
def test_proposals_after_changes_do_not_depend_on_restarts(tmp_path: Path, sampler: str) -> None:
    """A Gaussian process, which takes half a second a proposal, makes its first one after ten trials."""
    trials, restarts = ((12, 5, 6), (11, 1, 4)) if sampler == "gp" else ((12, 12, 14), (5, 1, 9))
    undisturbed = changed_study(tmp_path / "undisturbed", sampler, trials=trials)
    killed = changed_study(tmp_path / "killed", sampler, restarts, trials)
    configs = [[trial.config for trial in study.read_history().trials.values()] for study in (undisturbed, killed)]
    assert configs[0] == configs[1]


def test_trials_are_drawn_from_the_space_in_force_and_say_so(tmp_path: Path) -> None:
    study = changed_study(tmp_path / "small", "tpe")
    history, config = study.read_history(), study.read_config()
    assert [len(config.earlier_versions), config.version] == [2, 3]
    for trial in history.trials.values():
        assert trial.space_version == (1 if trial.number < 12 else 2 if trial.number < 24 else 3)
        space = config.versions[trial.space_version - 1].space
        if trial.params:
            assert trial.config["family"] in space.family
            assert space.num_levels.low <= trial.config["num_levels"] <= space.num_levels.high
            assert trial.config["lam"] == 0 or space.lam.low <= trial.config["lam"] <= space.lam.high
    write_tables(study, history)
    assert list(load_trials(study.path)["space_version"]) == [trial.space_version for trial in history.trials.values()]


def test_study_yaml_keeps_earlier_spaces_and_the_ledger_who_changed_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "ada")
    study = new_study(tmp_path / "small")
    run(study, 3)
    change(study, "space.lam.high=10")
    change(study, "early_stopping.reduction_factor=4")
    config = study.read_config()
    assert [version.space.lam.high for version in config.versions] == [1e-2, 10.0, 10.0]
    assert [version.early_stopping.reduction_factor for version in config.versions] == [3, 3, 4]
    changes = study.read_history().version_changes
    assert {version: (change.user, change.changes, change.proposals) for version, change in changes.items()} == {
        2: ("ada", ("space.lam.high=10",), 3),
        3: ("ada", ("early_stopping.reduction_factor=4",), 3),
    }


def test_first_trial_of_each_new_family_is_an_anchor_and_those_left_go_on(tmp_path: Path) -> None:
    study = new_study(tmp_path / "small", anchors={"num_levels": [2, 4]})
    run(study, 4)  # float baseline, K = 2 and 4, and the first trial of none
    change(study, "space.family=[none, RE, RS]")
    run(study, 1)
    change(study, "space.family=[none, RE, RM]")
    run(study, 4)
    trials = list(study.read_history().trials.values())
    assert [(trial.config["family"], trial.anchor) for trial in trials[:7]] == [
        ("none", True),
        ("none", True),
        ("none", True),
        ("none", True),
        ("RS", True),  # left from the beginning
        ("RE", True),
        ("RM", True),
    ]
    assert not any(trial.anchor for trial in trials[7:])


def test_anchors_that_are_left_take_the_place_that_the_new_space_gives_them(tmp_path: Path) -> None:
    study = new_study(tmp_path / "small", anchors={"num_levels": [4, 64]})
    run(study, 1)
    change(study, "space.num_levels.high=64")
    run(study, 2)
    last = study.read_history().trials[2]
    assert (last.config["num_levels"], last.params["num_levels"]) == (64, 64)


def test_sampler_learns_from_the_trials_that_lie_in_the_present_space(tmp_path: Path) -> None:
    study = changed_study(tmp_path / "small", "tpe")
    config = study.read_config()
    driver = Driver(study.path, config)
    shown = {trial.params["lam"] for trial in driver.optuna_trials if "lam" in trial.params}
    choices = {trial.distributions["family"].choices for trial in driver.optuna_trials}  # type: ignore[attr-defined]
    assert choices == {("RS", "RM", "RE")}
    space = config.space
    inside = [
        trial
        for trial in driver.ledger.history.trials.values()
        if trial.config["family"] in space.family
        and trial.config["placement"] in space.placement
        and space.num_levels.low <= trial.config["num_levels"] <= space.num_levels.high
    ]
    assert any(trial.space_version < 3 for trial in inside)
    assert any(trial.space_version < 3 and trial not in inside for trial in driver.ledger.history.trials.values())
    succeeded = [trial for trial in inside if trial.state is not TrialState.FAIL]
    assert {trial.config["lam"] for trial in succeeded} <= shown <= {trial.config["lam"] for trial in inside}
    driver.die()


def test_field_that_is_no_longer_searched_must_have_the_value_of_all_trials(tmp_path: Path) -> None:
    space = SPACE | {"recipe.batch_size": [16, 32]}
    study = new_study(tmp_path / "small", space=space, trial={"regularize_epochs": 3, "finetune_epochs": 1})
    run(study, 16)
    fixed = study.read_config().trial["recipe"]["batch_size"]
    values = {trial.config["recipe"]["batch_size"] for trial in study.read_history().trials.values()}
    assert {16, 32} <= values
    change(study, "space.fields={}")
    driver = Driver(study.path, study.read_config())
    inside = [
        trial
        for trial in driver.ledger.history.trials.values()
        if trial.config["recipe"]["batch_size"] == fixed and trial.config["num_levels"]
    ]
    assert len(driver.optuna_trials) == sum(trial.config["num_levels"] <= 8 for trial in inside)
    driver.die()


def test_optuna_database_shows_all_versions_with_all_their_choices(tmp_path: Path) -> None:
    study = new_study(tmp_path / "small")
    run(study, 8)
    OptunaMirror(study, study.read_config()).sync(study.read_history())
    change(study, "space.lam.high=10", "space.family=[RE, RS]")
    run(study, 8)
    config, history = study.read_config(), study.read_history()
    mirror = OptunaMirror(study, config)
    mirror.sync(history)
    assert mirror.trouble is None
    shown = optuna.load_study(
        study_name=config.name, storage=f"sqlite:///{study.optuna_db}", sampler=TPESampler(seed=0, multivariate=True)
    )
    assert [trial.params for trial in shown.trials] == [proposal.params for proposal in history.proposals]
    families = {trial.distributions["family"] for trial in shown.trials if trial.params}
    assert families == {optuna.distributions.CategoricalDistribution(("none", "RS", "RE"))}
    asked = shown.ask(shown.trials[-1].distributions)  # Optuna's own sampler can go on from it
    assert set(asked.params) == set(shown.trials[-1].params)


def test_changed_rules_stop_no_trial_by_an_earlier_report(tmp_path: Path) -> None:
    study = new_study(tmp_path / "small", early_stopping={"scheduler": "none"})
    driver = Driver(study.path, study.read_config())
    numbers = [driver.ask()["number"] for _ in range(12)]
    for number in numbers:
        driver.train(number, 2)
    driver.die()
    change(study, "early_stopping.scheduler=pareto-asha", "early_stopping.grace_period=1")
    config, history = study.read_config(), study.read_history()
    rungs = Rungs.replay(config, history)
    assert not any(rungs.stopped(number) for number in numbers)
    always = Rungs(config.model_copy(update={"earlier_versions": []}))
    for report in history.rung_reports:
        always.report(report.number, history.trials[report.number].anchor, report.metrics)
    assert any(always.stopped(number) for number in numbers), "the same reports stop trials where the rules held before"


def test_trial_that_the_old_rules_have_stopped_ends_before_they_change(tmp_path: Path) -> None:
    """Its driver was killed between the decision and its record."""
    study = new_study(tmp_path / "small", early_stopping={"scheduler": "asha", "grace_period": 1})
    driver = Driver(study.path, study.read_config())
    numbers = [driver.ask()["number"] for _ in range(12)]
    for number in numbers:
        driver.train(number, 1)
    stopped = {number for number in numbers if Rungs.replay(study.read_config(), driver.ledger.history).stopped(number)}
    driver.die()
    assert stopped
    change(study, "early_stopping.scheduler=none")
    trials = study.read_history().trials.values()
    assert {trial.number for trial in trials if trial.state is TrialState.PRUNED} == stopped


def test_change_that_a_crash_has_cut_off_can_be_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger announces a version that study.yaml lacks: the study goes on with the old one, until it is changed."""
    study = new_study(tmp_path / "small")
    run(study, 6)

    def crash(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(StudyFolder, "_replace_config", crash)
        with pytest.raises(KeyboardInterrupt):
            change(study, "space.family=[none, RE]")
    assert study.read_config().version == 1
    run(study, 6)
    assert {trial.space_version for trial in study.read_history().trials.values()} == {1}
    change(study, "space.family=[none, RE]")
    run(study, 3)
    trials = study.read_history().trials
    assert study.read_history().version_changes[2].proposals >= 12
    assert (trials[12].config["family"], trials[12].anchor, trials[12].space_version) == ("RE", True, 2)
