"""W&B in offline mode: the files that its client writes for a later `wandb sync`, read with its own reader."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wandb.proto import wandb_internal_pb2

from study.ledger.facts import ASKED, ENDED
from study.trackers.wandb import WandB
from tests.support.example_studies import Unwritten, asked, history_of, study_config, train
from trainables.result import TrialState


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("WANDB_PROJECT", raising=False)


HEADER_BYTES = 7
BLOCK_BYTES = 32 * 1024


def records_of(content: bytes) -> Iterator[bytes]:
    """Yield the records of a file in the log format of LevelDB, which has parts of type full, first, middle and last.

    Source: https://github.com/google/leveldb/blob/main/doc/log_format.md; W&B's files begin with 7 bytes of their own.
    """
    position, parts = HEADER_BYTES, b""
    while position < len(content):
        if BLOCK_BYTES - position % BLOCK_BYTES < HEADER_BYTES:  # the rest of a block is padding
            position += BLOCK_BYTES - position % BLOCK_BYTES
            continue
        _, length, kind = struct.unpack_from("<IHB", content, position)
        position += HEADER_BYTES
        parts += content[position : position + length]
        position += length
        if kind in (1, 4):
            yield parts
            parts = b""


def rows_of(root: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the logged rows by the id of their run."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for file in root.glob("wandb/offline-run-*/run-*.wandb"):
        name = file.stem.removeprefix("run-")
        for data in records_of(file.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            if record.WhichOneof("record_type") == "history":
                items = record.history.item
                row = {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}
                rows.setdefault(name, []).append(row)
    return rows


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
