"""`qar reproduce`: equal where nothing has changed, and plain about what has."""

import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from study.cli import app
from study.commands.reproduce import Reproduction, reproduce
from study.ledger.facts import ASKED, ENDED, EPOCH, SESSION_STARTED
from study.ledger.ledger import Ledger
from study.records.provenance import provenance
from study.storage.folder import StudyFolder
from tests.support.example_studies import asked, files_below, study_config
from tests.support.example_trials import quick
from tests.support.ledgers import change_facts
from trainables.config import Recipe, TrialConfig
from trainables.errors import NonFiniteLossError
from trainables.files.checkpoint import write_checkpoint
from trainables.result import TrialState
from trainables.run import CompressionRun

pytestmark = pytest.mark.usefixtures("quick_names")

DIVERGING = Recipe(batch_size=40, optimizer="sgd", learning_rate=1e30)


def trained(run: CompressionRun, epochs: int) -> tuple[list[dict[str, Any]], str | None]:
    """Metrics of so many epochs, and why there are no more if it diverges before."""
    found = []
    for _ in range(epochs):
        try:
            found.append(run.run_epoch() | {"device": "cpu", "hostname": socket.gethostname()})
        except NonFiniteLossError as error:
            return found, str(error)
    return found, None


def record(folder: Path, config: TrialConfig, epochs: int, state: str, weights: Any = None, **here: Any) -> StudyFolder:
    """A study of one trial, which is really trained; `here` replaces what its session tells of where."""
    torch.set_num_threads(1)
    study = StudyFolder(folder)
    study.create(study_config())
    ledger = Ledger(study.ledger)
    ledger.record(SESSION_STARTED, session=1, pid=1, hostname="head", provenance=provenance() | here)
    ledger.record(ASKED, **asked(0, config))
    metrics, failure = trained(CompressionRun(config, initial_weights=weights), epochs)
    for epoch in metrics:
        ledger.record(EPOCH, number=0, metrics=epoch)
    if state != TrialState.RUNNING:
        ledger.record(ENDED, number=0, state=state, failure=failure)
    ledger.close()
    return study


def alter(study: StudyFolder, epoch: int, metric: str, value: Any) -> None:
    """Makes the ledger tell another number."""

    def change(facts: list[dict[str, Any]]) -> None:
        for fact in facts:
            if fact["fact"] == EPOCH and fact["metrics"]["epoch"] == epoch:
                fact["metrics"][metric] = value

    change_facts(study.ledger, change)


def run(study: StudyFolder, *options: str) -> Result:
    return CliRunner().invoke(app, ["reproduce", str(study.path), "--trial", "0", *options])


def names(done: Reproduction) -> set[str]:
    return {part.name for part in done.surroundings}


@pytest.mark.parametrize("family", ["none", "RS", "RE"])
def test_trial_is_reproduced_bit_by_bit_and_the_study_untouched(family: str, tmp_path: Path) -> None:
    study = record(tmp_path / "small", quick(family), 4, TrialState.COMPLETE)
    before = files_below(tmp_path)
    done = run(study)
    assert done.exit_code == 0, done.output
    assert "bit by bit" in done.output
    assert files_below(tmp_path) == before
    compared = reproduce(study, "small-00000").comparisons
    assert {comparison.epoch for comparison in compared} == {1, 2, 3, 4}
    assert {"val_accuracy", "val_accuracy_pre_tuning", "train_loss", "penalty", "bits_per_weight"} <= {
        comparison.metric for comparison in compared
    }


def test_trial_that_was_stopped_early_is_trained_as_far(tmp_path: Path) -> None:
    done = reproduce(record(tmp_path / "small", quick(), 1, TrialState.PRUNED), "0")
    assert {comparison.epoch for comparison in done.comparisons} == {1}
    assert not done.differing


def test_test_accuracy_of_a_confirmed_trial_is_compared_too(tmp_path: Path) -> None:
    done = reproduce(record(tmp_path / "small", quick(evaluate_test=True), 4, TrialState.COMPLETE), "0")
    (compared,) = [comparison for comparison in done.last_epoch if comparison.metric == "test_accuracy"]
    assert compared.recorded == compared.reproduced > 0


@pytest.mark.parametrize(("epoch", "last"), [(4, "-0.5"), (2, "equal")])
def test_number_that_differs_is_named_and_is_a_failure(epoch: int, last: str, tmp_path: Path) -> None:
    study = record(tmp_path / "small", quick(), 4, TrialState.COMPLETE)
    value = reproduce(study, "0").trial.epochs[epoch]["val_accuracy"]
    alter(study, epoch, "val_accuracy", value + 0.5)
    done = run(study)
    assert done.exit_code == 1
    assert f"first val_accuracy of epoch {epoch}" in done.output
    (line,) = [line for line in done.output.splitlines() if line.startswith("val_accuracy ")]
    assert line.split()[-1] == last


def test_trial_that_diverged_diverges_again(tmp_path: Path) -> None:
    study = record(tmp_path / "small", quick(recipe=DIVERGING), 4, TrialState.FAIL)
    done = reproduce(study, "0")
    assert done.trial.failure is not None
    assert [comparison.reproduced for comparison in done.last_epoch] == [done.trial.failure]
    assert run(study).exit_code == 0


def test_trial_that_failed_for_another_reason_differs(tmp_path: Path) -> None:
    study = record(tmp_path / "small", quick(), 2, TrialState.FAIL)
    done = reproduce(study, "0")
    assert [(comparison.epoch, comparison.metric) for comparison in done.last_epoch] == [(3, "failure")]
    assert run(study).exit_code == 0, "nothing was recorded of why, and nothing happens"


def test_pretrained_trial_begins_from_the_baseline_of_its_seed(tmp_path: Path) -> None:
    baseline = CompressionRun(quick("none", num_levels=None))
    baseline.run_epoch()
    config = quick("RS", init="pretrained", seed=3)
    study = record(tmp_path / "small", config, 4, TrialState.COMPLETE, baseline.model.state_dict())
    refused = run(study)
    assert (refused.exit_code, "seed-3" in refused.output) == (2, True)
    study.baseline(3).mkdir(parents=True)
    write_checkpoint(study.baseline(3), baseline.state_dict())
    assert run(study).exit_code == 0
    for state in ({"model": {"weight": torch.zeros(3)}}, {"model": {7: torch.zeros(3)}}, {"model": 7}, {"epoch": 1}):
        write_checkpoint(study.baseline(3), state)
        refused = run(study)
        assert (refused.exit_code in (1, 2), len(refused.output.splitlines())) == (True, 1), refused
        assert isinstance(refused.exception, SystemExit)
    fits = baseline.model.state_dict()
    write_checkpoint(study.baseline(3), {"model": fits | {name: fits[name][:0] for name in list(fits)[:1]}})
    assert "must hold the tensors of model 'tiny_cnn', got others: " in run(study).output


def test_nothing_of_the_environment_is_named_where_it_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = provenance() | {"git_sha": "0" * 40, "git_dirty": False}
    monkeypatch.setattr("study.commands.reproduce.provenance", lambda: clean)
    study = record(tmp_path / "small", quick(), 1, TrialState.PRUNED, **clean)
    assert names(reproduce(study, "0")) == set()
    assert "the environment is the same" in run(study).output


@pytest.mark.parametrize(
    ("change", "name", "shown"),
    [
        ({"git_sha": "f" * 40}, "commit", "f" * 12),
        ({"git_dirty": True}, "commit", "with uncommitted changes"),
        ({"git_sha": None, "git_dirty": None}, "commit", "unknown"),
        ({"versions": {"torch": "1.0"}}, "torch", "recorded 1.0"),
        ({"platform": "BeOS"}, "platform", "recorded BeOS"),
    ],
)
def test_what_differs_in_the_environment_is_named(
    change: dict[str, Any], name: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = provenance() | {"git_sha": "0" * 40, "git_dirty": False}
    monkeypatch.setattr("study.commands.reproduce.provenance", lambda: clean)
    study = record(tmp_path / "small", quick(), 1, TrialState.PRUNED, **clean | change)
    assert names(reproduce(study, "0")) == {name}
    assert shown in run(study).output


@pytest.mark.parametrize(("metric", "name"), [("hostname", "host"), ("device", "device")])
def test_other_machine_is_named(metric: str, name: str, tmp_path: Path) -> None:
    study = record(tmp_path / "small", quick(), 1, TrialState.PRUNED)
    alter(study, 1, metric, "elsewhere")
    assert name in names(reproduce(study, "0"))


def test_trial_that_failed_at_once_does_not_know_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean = provenance() | {"git_sha": "0" * 40, "git_dirty": False}
    monkeypatch.setattr("study.commands.reproduce.provenance", lambda: clean)
    study = record(tmp_path / "small", quick(recipe=DIVERGING), 4, TrialState.FAIL, **clean | {"platform": "BeOS"})
    done = reproduce(study, "0")
    assert done.trial.epochs == {}
    assert names(done) == {"host", "device", "platform"}


def test_trial_without_an_epoch_is_refused(tmp_path: Path) -> None:
    done = run(record(tmp_path / "small", quick(), 0, TrialState.RUNNING))
    assert done.exit_code == 2
    assert "no epoch to compare with; choose another --trial" in done.output


def test_unknown_trial_is_refused_with_the_choices(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown trial '9'; choose from 0 to 0, or a trial_id"):
        reproduce(record(tmp_path / "small", quick(), 1, TrialState.RUNNING), "9")
