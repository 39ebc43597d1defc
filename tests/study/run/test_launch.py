"""Launch, resumption and extension as Python calls, without Ray."""

from contextlib import closing
from pathlib import Path

import pytest

from study.commands.confirmation import add_seeds
from study.commands.status import status_of
from study.ledger.ledger import Ledger
from study.run.launch import extend, launch, resume
from study.run.options import RunOptions
from study.storage.folder import StudyFolder
from tests.support.example_studies import files_below, make_study, study_config


def test_extension_needs_the_lock_of_the_ledger(tmp_path: Path) -> None:
    """A driver that began after the check must keep the number of trials that it has read."""
    study = make_study(tmp_path / "small")
    before = study.study_yaml.read_bytes()
    with closing(Ledger(study.ledger)), pytest.raises(ValueError, match="is being run by another process"):
        extend(study, 7, RunOptions())
    assert study.study_yaml.read_bytes() == before


def test_second_of_two_extensions_is_refused(tmp_path: Path) -> None:
    """Both have seen a finished study; only the first may extend it."""
    study = make_study(tmp_path / "small")
    assert extend(study, 7, RunOptions()).trials == 12
    with pytest.raises(ValueError, match="extends a study that has finished, got 7"):
        extend(study, 7, RunOptions())
    assert study.read_config().trials == 12


def test_configuration_changes_only_while_the_ledger_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(tmp_path / "small")
    driven: list[bool] = []
    write = StudyFolder._replace_config

    def observed(folder: StudyFolder, content: bytes) -> None:
        driven.append(folder.is_driven())
        write(folder, content)

    monkeypatch.setattr(StudyFolder, "_replace_config", observed)
    extend(study, 7, RunOptions())
    assert driven == [True]
    assert not study.is_driven(), "released"


def test_seeds_of_a_confirmation_change_only_under_the_lock(tmp_path: Path) -> None:
    plan = [{"family": "none", "num_levels": 4, "placement": "kmeans"}]
    lengths = {"regularize_epochs": 3, "finetune_epochs": 1, "evaluate_test": True}
    study = make_study(tmp_path / "small", study_config(plan=plan, trials=5, replicates=5, trial=lengths))
    more = study.read_config().model_copy(update={"replicates": 7, "trials": 7})
    before = study.study_yaml.read_bytes()
    with closing(Ledger(study.ledger)), pytest.raises(ValueError, match="is being run by another process"):
        add_seeds(study, more, RunOptions())
    assert study.study_yaml.read_bytes() == before
    add_seeds(study, more, RunOptions())
    assert study.read_config().replicates == 7
    fewer = more.model_copy(update={"replicates": 6, "trials": 6})
    with pytest.raises(ValueError, match="--seeds must be at least 7"):
        add_seeds(study, fewer, RunOptions())


def test_python_calls_refuse_as_the_command_does(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'nosuch'"):
        launch("digits", str(tmp_path / "studies"), overrides=["nosuch=1"])
    with pytest.raises(ValueError, match="is no study folder"):
        resume(str(tmp_path / "absent"))
    assert files_below(tmp_path) == {}


def test_resumption_of_a_finished_study_returns_its_outcome(tmp_path: Path) -> None:
    """Nothing is trained; the report is written, and the text is in the outcome rather than on stdout."""
    study = make_study(tmp_path / "small")
    said: list[str] = []
    outcome = resume(str(study.path), options=RunOptions(say=said.append))
    assert (outcome.state, outcome.exit_status, outcome.failure) == ("finished", 0, None)
    assert outcome.next_steps == f"next: qar confirm {study} --seeds 5; qar report {study}"
    assert outcome.report.text
    assert not outcome.report.warnings
    assert (study.path / "report" / "figures" / "front.pdf").exists()


def test_rules_and_resources_change_while_a_study_goes_on(tmp_path: Path) -> None:
    """The study is finished, so that the resumption trains nothing."""
    study = make_study(tmp_path / "small")
    resume(str(study.path), overrides=["stop.hours=3", "resources.max_concurrent=1", "loggers=[tensorboard]"])
    config = study.read_config()
    assert config.stop is not None
    assert (config.stop.hours, config.resources.max_concurrent, config.loggers) == (3.0, 1, ["tensorboard"])
    assert len(study.read_history().trials) == 5


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trial.model=vgg16", "not be comparable with earlier ones; launch another study with it, and warm_start from"),
        ("trial.finetune_epochs=9", "not be comparable"),
        ("trial.dataset=cifar10", "not be comparable"),
        ("trial.validation_fraction=0.5", "not be comparable"),
        ("seed=3", "not be comparable"),
        ("trials=9", "extend a finished study with --trials N"),
        ("name=other", "change it with qar rename"),
        ("earlier_versions=[]", "leave it out, for it is written by changes"),
        ("space.lam.high=1e-9", "high must be at least low"),
        ("space.family=[nosuch]", "nosuch"),
        ("space.family=[]", "space.family must be a list of at least 1"),
        ("space.family=['mine:Own']", "must name parts whose code the study holds, got 'mine:Own'"),
        ("space.num_levels.high=99999", "space.num_levels.high must be at most 65536"),
        ("space.seed=[1, 2]", "space.seed must not be there"),
        ("early_stopping.grace_period=99", "early_stopping.grace_period must be at most the last epoch"),
        ("early_stopping.scheduler=nosuch", "early_stopping.scheduler must be"),
        ("stop.hours=-1", "--set: stop.hours must be"),
        ("stop", "--set must"),
        ("notify=https://user:word@host/", "notify must hold no credentials"),
    ],
)
def test_changes_that_a_study_cannot_take_are_refused(override: str, message: str, tmp_path: Path) -> None:
    study = make_study(tmp_path / "small")
    before = study.study_yaml.read_bytes(), study.ledger.read_bytes()
    with pytest.raises(ValueError, match=message):
        resume(str(study.path), overrides=[override])
    assert (study.study_yaml.read_bytes(), study.ledger.read_bytes()) == before


def test_study_that_a_rule_has_ended_has_nothing_to_go(tmp_path: Path) -> None:
    config = study_config(trials=12, stop={"target": "val_accuracy >= 0.9"})
    study = make_study(tmp_path / "small", config)
    with closing(Ledger(study.ledger)) as ledger:
        ledger.record("session_started", session=2, pid=1, hostname="head", provenance={})
        rules = config.stop.model_dump(mode="json") if config.stop else {}
        ledger.record("stopped", reason="target reached by trial 2", trials=12, rules=rules)
        ledger.record("session_ended", session=2, outcome="finished")
    status = status_of(study)
    assert status.state == "finished"
    assert not status.is_resumable
    assert "to go" not in status.lines()[0]
    assert "ended by its rule: target reached by trial 2" in status.lines()
    assert status.as_dict()["stopped"] == "target reached by trial 2"
