"""W&B in offline mode: the files that its client writes for a later `wandb sync`, read with its own reader."""

from pathlib import Path

import pytest

from study.ledger.facts import ASKED, ENDED
from study.trackers.wandb import WandB
from tests.support.example_studies import Unwritten, asked, history_of, study_config, train
from tests.support.wandb_files import rows_of
from trainables.result import TrialState


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("WANDB_PROJECT", raising=False)


def test_a_trial_is_sent_once_and_what_a_crash_cut_off_again(tmp_path: Path) -> None:
    ledger = Unwritten()
    ledger.record(ASKED, **asked(0, study_config().trial_config({"family": "RM", "num_levels": 4, "lam": 8.0})))
    train(ledger, 0, 4)
    root = tmp_path / "trackers"
    WandB("small", "/studies/small", root).update_trial(ledger.history.trials[0])
    assert rows_of(root) == {}  # it runs
    ledger.record(ENDED, number=0, state=TrialState.COMPLETE, failure=None)
    cut_off = root / "wandb" / "offline-run-20260101_000000-small-00000"
    cut_off.mkdir(parents=True)
    for _ in range(2):  # the second is a new process
        WandB("small", "/studies/small", root).update_trial(ledger.history.trials[0])
    (rows,) = rows_of(root).values()
    assert [row["_step"] for row in rows] == [1, 2, 3, 4]
    assert rows[-1]["bits_per_weight"] == 2.0
    assert not cut_off.exists()
    assert not [path for path in root.rglob("*") if path.is_symlink()]  # a study with links is refused


def test_front_is_sent_at_the_end(tmp_path: Path) -> None:
    root = tmp_path / "trackers"
    tracker = WandB("small", "/studies/small", root)
    history = history_of((0.5, 2.0, TrialState.COMPLETE, 4))
    tracker.update_study(study_config(), history)
    assert rows_of(root) == {}
    for _ in range(2):
        tracker.update_study(study_config(trials=1), history)
    (name,) = rows_of(root)
    assert name == "small-front-1"
