"""A trial's state on disk: what was written comes back, and nothing else passes for it."""

import errno
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from trainables.checkpoint import CHECKPOINT_FILE, CHECKSUM_FILE, read_checkpoint, write_checkpoint
from trainables.result import DamagedFileError

STATE = {"epoch": 3, "model": {"weight": torch.arange(1000, dtype=torch.float32)}, "list": [1, 2.5, None]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_checkpoint(tmp_path, STATE)
    return tmp_path


def test_full_disk_is_told_with_its_number_and_the_file(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT_FILE).symlink_to("/dev/full")
    with pytest.raises(OSError, match=CHECKPOINT_FILE) as full:
        write_checkpoint(tmp_path, {"weights": torch.zeros(100_000)})
    assert (full.value.errno, full.value.filename) == (errno.ENOSPC, str(tmp_path / CHECKPOINT_FILE))


def test_state_comes_back(folder: Path) -> None:
    state = read_checkpoint(folder)
    assert torch.equal(state.pop("model")["weight"], STATE["model"]["weight"])
    assert state == {"epoch": 3, "list": [1, 2.5, None]}


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs the command sha256sum")
def test_checksum_is_one_that_sha256sum_checks(folder: Path) -> None:
    subprocess.run(["sha256sum", "--check", CHECKSUM_FILE], cwd=folder, check=True)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", [CHECKPOINT_FILE, CHECKSUM_FILE])
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        lambda path: path.write_bytes(b"\xff" * 64),
        flip_a_bit,
    ],
    ids=["missing", "empty", "cut off", "foreign", "one bit"],
)
def test_what_was_not_written_is_refused(folder: Path, name: str, damage: Callable[[Path], None]) -> None:
    damage(folder / name)
    with pytest.raises(DamagedFileError, match=str(folder)):
        read_checkpoint(folder)


def test_checkpoint_of_another_trial_is_refused(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    write_checkpoint(other, STATE | {"epoch": 4})
    shutil.copy(other / CHECKPOINT_FILE, folder)
    with pytest.raises(DamagedFileError, match="checksum"):
        read_checkpoint(folder)


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DamagedFileError, match="no whole checkpoint"):
        read_checkpoint(tmp_path / "nowhere")
