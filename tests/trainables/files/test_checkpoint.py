"""A trial's state on disk: what was written comes back, and nothing else passes for it."""

import errno
import hashlib
import io
import os
import pickle
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import pytest
import torch

from trainables.errors import DamagedFileError
from trainables.files.checkpoint import CHECKPOINT_FILE, CHECKSUM_FILE, read_checkpoint, read_sum, write_checkpoint

STATE: dict[str, Any] = {
    "epoch": 3,
    "model": {"weight": torch.arange(1000, dtype=torch.float32)},
    "list": [1, 2.5, None],
}


def write_earlier(folder: Path, state: Any) -> None:
    """Write a checkpoint as earlier versions did, with its checksum in a file of its own."""
    torch.save(state, folder / CHECKPOINT_FILE)
    sealed(folder)


@pytest.fixture(params=["present", "earlier"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    {"present": write_checkpoint, "earlier": write_earlier}[request.param](tmp_path, STATE)
    return tmp_path


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    write_earlier(tmp_path, STATE)
    return tmp_path


def test_full_disk_is_told_with_its_number_and_the_file(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT_FILE).symlink_to("/dev/full")
    with pytest.raises(OSError, match=CHECKPOINT_FILE) as full:
        write_checkpoint(tmp_path, {"weights": torch.zeros(100_000)})
    assert (full.value.errno, full.value.filename) == (errno.ENOSPC, str(tmp_path / CHECKPOINT_FILE))
    assert list(tmp_path.iterdir()) == []


def test_checkpoint_is_one_file_with_the_checksum_that_is_returned(tmp_path: Path) -> None:
    digest = write_checkpoint(tmp_path, STATE)
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT_FILE]
    assert digest == hashlib.sha256((tmp_path / CHECKPOINT_FILE).read_bytes()).hexdigest() == read_sum(tmp_path)


def test_checkpoint_in_the_place_of_an_earlier_versions_is_read(earlier: Path) -> None:
    write_checkpoint(earlier, STATE | {"epoch": 4})
    assert read_checkpoint(earlier)["epoch"] == 4


def test_state_comes_back(folder: Path) -> None:
    state = read_checkpoint(folder)
    assert torch.equal(state.pop("model")["weight"], STATE["model"]["weight"])
    assert state == {"epoch": 3, "list": [1, 2.5, None]}


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs the command sha256sum")
def test_checksum_is_one_that_sha256sum_checks(earlier: Path) -> None:
    subprocess.run(["sha256sum", "--check", CHECKSUM_FILE], cwd=earlier, check=True)
    assert read_sum(earlier) == hashlib.sha256((earlier / CHECKPOINT_FILE).read_bytes()).hexdigest()


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
def test_what_was_not_written_is_refused(earlier: Path, name: str, damage: Callable[[Path], None]) -> None:
    damage(earlier / name)
    with pytest.raises(DamagedFileError, match=str(earlier)):
        read_checkpoint(earlier)
    assert read_sum(earlier) is None
    write_checkpoint(earlier, STATE)
    if name == CHECKPOINT_FILE:
        damage(earlier / name)
        with pytest.raises(DamagedFileError, match=str(earlier)):
            read_checkpoint(earlier)
        assert read_sum(earlier) is None


def test_checkpoint_of_another_trial_is_refused(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    digest = write_checkpoint(other, STATE | {"epoch": 4})
    expected = read_sum(folder)
    shutil.copy(other / CHECKPOINT_FILE, folder)
    with pytest.raises(DamagedFileError, match="checksum"):
        read_checkpoint(folder, expected=expected)
    assert read_checkpoint(other, expected=digest)["epoch"] == 4


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DamagedFileError, match="no complete checkpoint"):
        read_checkpoint(tmp_path / "nowhere")


def sealed(folder: Path) -> Path:
    """The checkpoint, with a right checksum of whatever is in it now."""
    digest = hashlib.sha256((folder / CHECKPOINT_FILE).read_bytes()).hexdigest()
    (folder / CHECKSUM_FILE).write_text(f"{digest}  {CHECKPOINT_FILE}\n")
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(DamagedFileError, match=str(folder)) as caught:
        read_checkpoint(folder)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


class Call:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("content", [b"", b"PK", pickle.dumps({"a": 1}), b"\x80\x02" + b"(" * 10000 + b"."])
def test_foreign_content_with_a_right_checksum_is_refused(content: bytes, folder: Path) -> None:
    (folder / CHECKPOINT_FILE).write_bytes(content)
    assert "is not a checkpoint of a trial" in refusal(sealed(folder))


@pytest.mark.parametrize(
    "state",
    [
        {"model": torch.zeros(1).expand(2**20, 2**20)},
        {"model": Call(bytearray, 2**40)},
        {"model": Call(os.getenv, "boom")},  # not print, which Ray replaces
        {"model": torch.nn.Linear(2, 2)},
        [1, 2],
    ],
    ids=["expanded", "bytearray", "function", "module", "list"],
)
def test_objects_that_no_trial_writes_are_refused(state: Any, folder: Path) -> None:
    torch.save(state, folder / CHECKPOINT_FILE)
    assert "is not a checkpoint of a trial" in refusal(sealed(folder))


def test_storages_that_are_smaller_than_they_state_are_refused(folder: Path) -> None:
    path = folder / CHECKPOINT_FILE
    stored, stated = (b"M" + struct.pack("<H", size) for size in (1000, 60000))
    path.write_bytes(rewritten(path, lambda pickled: pickled.replace(stored, stated)))
    assert "is not a checkpoint of a trial" in refusal(sealed(folder))


def test_compressed_archives_are_refused(folder: Path) -> None:
    path = folder / CHECKPOINT_FILE
    path.write_bytes(rewritten(path, lambda pickled: pickled, ZIP_DEFLATED))
    assert "compressed" in refusal(sealed(folder))


def rewritten(path: Path, change: Callable[[bytes], bytes], compression: int = ZIP_STORED) -> bytes:
    """The archive with its pickle changed."""
    buffer = io.BytesIO()
    with ZipFile(path) as old, ZipFile(buffer, "w", compression) as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, change(content) if name.endswith("data.pkl") else content)
    return buffer.getvalue()


@pytest.mark.parametrize("name", [CHECKPOINT_FILE, CHECKSUM_FILE])
@pytest.mark.parametrize("kind", ["device", "pipe"])
def test_devices_and_pipes_are_refused_at_once(name: str, kind: str, folder: Path) -> None:
    (folder / name).unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(folder / name)
    else:
        (folder / name).symlink_to("/dev/zero")
    assert "regular file" in refusal(folder)
