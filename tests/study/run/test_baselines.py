"""Float networks: what is told while they are trained, and a study that is killed meanwhile.

Studies that begin from them: test_study_confirm.py, and on an object store test_remote_end_to_end.py.
"""

import io
import json
import os
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console

from study.errors import BaselineFailed
from study.ledger.facts import BASELINE, BASELINE_WRITTEN
from study.ledger.ledger import Ledger
from study.run import baselines
from study.run.baselines import BaselineProgress
from study.storage.folder import StudyFolder
from tests.support.example_studies import start_session, study_config
from tests.support.live_studies import LiveRun, qar
from trainables import trainable
from trainables.files.checkpoint import write_checkpoint

EPOCHS = 60
"""Epochs of a float network that is disturbed: enough that there is time for it."""


def told(epochs: dict[int, int], ends: list[tuple[int, float]]) -> list[str]:
    """Lines on the console for these budgets by seed, and these seeds and accuracies of epochs, in their order."""
    console = Console(file=io.StringIO(), width=200)
    progress = BaselineProgress(epochs, console)
    for seed, accuracy in ends:
        progress.end_epoch(seed, accuracy, 1.0)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_each_epoch_is_told_where_epochs_are_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "SECONDS_BETWEEN_LINES", 0.0)
    lines = told({0: 2, 1: 2}, [(0, 0.5), (1, 0.25), (0, 0.75), (1, 0.5)])
    assert lines[0] == "training the float networks that all trials begin from, 2 seeds"
    found = [
        re.fullmatch(r"float network: (\d) of 4 epochs, val_accuracy ([\d.]+); 0:00 elapsed.*", x) for x in lines[1:]
    ]
    assert [match and match.groups() for match in found] == [
        *(("1", "0.5000"), ("2", "0.3750"), ("3", "0.5000"), ("4", "0.6250"))
    ]


def test_only_the_end_is_told_where_they_are_short() -> None:
    lines = told({3: 3}, [(3, 0.1), (3, 0.2), (3, 0.3)])
    assert lines == [
        "training the float network that all trials begin from, 1 seed",
        "float network: 3 of 3 epochs, val_accuracy 0.3000; 0:00 elapsed",
    ]


def test_nothing_is_told_where_all_are_there() -> None:
    assert told({}, []) == []


def test_whole_baseline_without_a_record_is_recorded_and_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was trained by an earlier version, or by a driver that was killed right after."""

    def trains(*arguments: object) -> Iterator[dict[str, float]]:
        raise AssertionError
        yield {}

    monkeypatch.setattr(trainable, "train_baseline", trains)
    config = study_config(trial={"init": "pretrained"}, baseline_epochs=2)
    folder = StudyFolder(tmp_path / "small")
    folder.create(config)
    folder.baseline(0).mkdir(parents=True)
    digest = write_checkpoint(folder.baseline(0), {"model": {}})
    with closing(Ledger(folder.ledger)) as ledger:
        start_session(ledger)
        for _ in range(2):
            addresses = baselines.float_networks(folder, config, ledger, Console(file=io.StringIO()))
            assert addresses == {0: folder.baseline_address(0)}
    assert folder.read_history().baseline_sums == {0: digest}
    assert folder.ledger.read_text().count(BASELINE_WRITTEN) == 1


@pytest.mark.e2e
def test_baseline_that_cant_be_trained_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def fails(*arguments: object) -> Iterator[dict[str, float]]:
        yield {"epoch": 1, "val_accuracy": 0.5, "train_seconds": 1.0}
        raise RuntimeError("CUDA out of memory.\nTried to allocate 2 GiB")

    def dies(*arguments: object) -> Iterator[dict[str, float]]:
        yield {"epoch": 1, "val_accuracy": 0.5, "train_seconds": 1.0}
        os._exit(1)

    config = study_config(trial={"init": "pretrained"}, baseline_epochs=2)
    folder = StudyFolder(tmp_path / "small")
    folder.create(config)
    ledger = Ledger(folder.ledger)
    start_session(ledger)
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        for train_baseline, reason in ((fails, "CUDA out of memory."), (dies, ".+")):
            monkeypatch.setattr(trainable, "train_baseline", train_baseline)
            with pytest.raises(BaselineFailed) as raised:
                baselines.float_networks(folder, config, ledger, Console(file=io.StringIO()))
            assert re.fullmatch(
                rf"the float network that all trials begin from could not be trained on [\w.]+( node)?: {reason}; "
                rf"correct that, then go on with: qar resume {re.escape(str(folder))}",
                str(raised.value),
            )
    finally:
        ray.shutdown()
        ledger.close()


@pytest.mark.e2e
def test_study_that_is_interrupted_and_killed_during_its_baseline_says_so_and_goes_on(tmp_path: Path) -> None:
    epochs = ("--set", "trial.regularize_epochs=1", "--set", "trial.finetune_epochs=1")
    short = (*epochs, "--set", "trial.width=0.25", "--set", "trial.subset=160")
    pretrained = ("--set", "trial.init=pretrained", "--set", f"baseline_epochs={EPOCHS}")
    stopping = ("--set", "early_stopping.scheduler=none")
    ledger = tmp_path / "studies" / "digits" / "ledger.jsonl"

    run = LiveRun(("launch", "digits", "--trials", "2", *stopping, *short, *pretrained), tmp_path)
    run.wait_until(ledger, lambda history: len(history.baseline_seconds.get(0, {})) >= 3)
    run.press_ctrl_c()
    assert run.finish().status == 130
    assert qar("status", "studies/digits", cwd=tmp_path).stdout.startswith("digits: interrupted; 0 of 2 trials; ")

    run = LiveRun(("resume", "studies/digits"), tmp_path)
    run.wait_until(ledger, lambda history: len(history.baseline_seconds[0]) >= EPOCHS // 2)
    run.kill_driver()
    run.finish()
    died = qar("status", "studies/digits", cwd=tmp_path).stdout.splitlines()
    assert died[0].startswith("digits: died; 0 of 2 trials; ")
    assert died[1].startswith("float networks: training ")

    ended = qar("resume", "studies/digits", cwd=tmp_path)
    assert (ended.status, ended.stderr) == (0, ""), ended
    facts = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert [fact["epoch"] for fact in facts if fact["fact"] == BASELINE] == list(range(1, EPOCHS + 1))
    assert qar("status", "studies/digits", cwd=tmp_path).stdout.startswith("digits: finished; 2 of 2 trials")
