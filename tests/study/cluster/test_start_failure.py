"""Reasons why Ray does not start, each with the remedy that fits it."""

import errno
from pathlib import Path

import pytest

from study.cluster.start_failure import folder_error, start_failure

FOLDER = Path("/scratch/ray")
TOO_LONG = f"validate_socket_filename failed: AF_UNIX path length cannot exceed 107 bytes: {FOLDER}/session_1/sockets/x"

REMEDIES = {
    "long TMPDIR": (OSError(TOO_LONG), "RAY_TMPDIR=/tmp"),
    "full folder": (
        OSError(errno.ENOSPC, "No space left on device", str(FOLDER)),
        "free space in /scratch/ray, or set",
    ),
    "full disk elsewhere": (OSError(errno.ENOSPC, "No space left on device", "/home/me/x"), "free space in /home/me/x"),
    "quota": (OSError(errno.EDQUOT, "Disk quota exceeded"), "raise the quota"),
    "unwritable folder": (
        PermissionError(errno.EACCES, "Permission denied", str(FOLDER)),
        "give the right to write",
    ),
    "read-only folder": (
        OSError(errno.EROFS, "Read-only file system", str(FOLDER)),
        "mount the file system of /scratch/ray for writing",
    ),
    "file in its place": (FileExistsError(errno.EEXIST, "File exists", str(FOLDER)), "make /scratch/ray a folder"),
    "open files": (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
    "processes": (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "ulimit -u"),
    "threads": (RuntimeError("can't start new thread"), "ulimit -u"),
    "memory": (OSError(errno.ENOMEM, "Cannot allocate memory"), "free memory"),
    "too slow": (Exception("The node timed out during startup."), "end other programs that keep this machine busy"),
}


@pytest.mark.parametrize(("error", "remedy"), REMEDIES.values(), ids=REMEDIES)
def test_failed_start_is_one_line_with_its_own_remedy(error: Exception, remedy: str) -> None:
    line = str(start_failure(error, FOLDER))
    assert line.startswith("Ray did not start here: ")
    assert "\n" not in line
    assert remedy in line
    assert sum(other in line for _, other in REMEDIES.values() if other not in remedy and remedy not in other) == 0


def test_cause_of_an_error_of_rays_is_taken_for_the_remedy() -> None:
    error = RuntimeError("Failed to start the node")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device", "/scratch/ray/session_1/logs")
    assert "No space left on device; free space in /scratch/ray/session_1/logs" in str(start_failure(error, FOLDER))


def test_unwritable_home_may_be_replaced_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute nodes of clusters often mount the home folder read-only."""
    monkeypatch.setenv("HOME", "/home/me")
    error = OSError(errno.EROFS, "Read-only file system", "/home/me/.ray")
    assert "mount the file system of /home/me/.ray for writing, or set HOME to another folder" in str(
        start_failure(error, FOLDER)
    )


def test_folder_is_tried_before_ray_starts(tmp_path: Path) -> None:
    assert folder_error(tmp_path / "new" / "ray") is None
    assert list((tmp_path / "new" / "ray").iterdir()) == []
    (tmp_path / "file").touch()
    error = folder_error(tmp_path / "file" / "ray")
    assert error is not None
    assert f"make {tmp_path}/file/ray a folder" in str(start_failure(error, tmp_path / "file" / "ray"))
