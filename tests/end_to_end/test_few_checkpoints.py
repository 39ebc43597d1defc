"""A study that is killed among epochs without a checkpoint, and ends as if it had not been."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from study.ledger.history import History
from study.ledger.reading import read_history
from tests.support.live_studies import LiveRun, epochs_by_session, qar
from trainables.config import TrialConfig
from trainables.result import TrialState
from trainables.run import CompressionRun

pytestmark = [pytest.mark.e2e, pytest.mark.chaos]

STUDY: dict[str, Any] = {
    "name": "few",
    "trials": 3,
    "seed": 3,
    "trial": {"regularize_epochs": 9, "finetune_epochs": 6, "width": 0.5, "subset": 320},
    "space": {"family": ["none", "RS"]},
    "anchors": {"num_levels": [4]},
    "early_stopping": {"grace_period": 4},
}
NEEDED = {4, 9, 12, 15}
"""Epochs of rungs, the end of the first phase, and the last."""


def amid_epochs_without_a_checkpoint(history: History) -> bool:
    """Return whether a trial has a checkpoint, and has trained at least two epochs after it."""
    return any(trial.checkpoint and trial.latest_epoch >= trial.checkpoint.epoch + 2 for trial in history.unfinished)


def test_study_killed_among_epochs_without_a_checkpoint_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    (tmp_path / "few.yaml").write_text(yaml.safe_dump(STUDY))
    ledger = tmp_path / "studies" / "few" / "ledger.jsonl"
    run = LiveRun(("launch", "few.yaml"), tmp_path)
    run.wait_until(ledger, amid_epochs_without_a_checkpoint)
    run.kill_driver()
    run.finish()
    killed = read_history(ledger)
    resumed = qar("resume", "studies/few", cwd=tmp_path)
    assert (resumed.status, resumed.stderr) == (0, ""), resumed

    finished = read_history(ledger)
    assert [trial.state for trial in finished.trials.values()] == [TrialState.COMPLETE] * 3
    before, after = epochs_by_session(ledger)
    repeated = 0
    for trial in killed.unfinished:
        told = {metrics["epoch"]: metrics for metrics in before.get(trial.number, [])}
        saved = trial.checkpoint.epoch if trial.checkpoint else 0
        assert saved in NEEDED | {0}
        assert [metrics["epoch"] for metrics in after[trial.number]] == list(range(saved + 1, 16))
        for metrics in after[trial.number]:
            if earlier := told.get(metrics["epoch"]):
                repeated += 1
                assert results(metrics) == results(earlier)
    assert repeated >= 2
    for trial in finished.trials.values():
        assert {checkpoint.epoch for checkpoint in trial.checkpoints} == {12, 15}
        assert [results(trial.epochs[epoch]) for epoch in range(1, 16)] == straight(trial.config)


def results(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return what an epoch of one configuration results in, on any machine and at any time."""
    names = ("epoch", "phase", "train_loss", "val_accuracy", "bits_per_weight", "float_val_accuracy")
    return {name: metrics[name] for name in names}


def straight(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the results of a trial that is trained in this process without a pause."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run = CompressionRun(TrialConfig.from_dict(config))
        return [results(run.run_epoch()) for _ in range(15)]
    finally:
        torch.set_num_threads(threads)
