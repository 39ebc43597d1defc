"""Reasons why Ray does not start on this machine, each with its remedy."""

import errno
import os
import tempfile
from pathlib import Path

from study.errors import remedy

PROBE_BYTES = 2**20
"""Bytes that must be free in Ray's temporary folder: about the size of its first logs and sockets."""

_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO}
_NO_FOLDER = {errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG}
_OTHER_FOLDER = "set RAY_TMPDIR to another folder"
_OTHER_HOME = "set HOME to another folder, since Ray keeps its token in ~/.ray"


class NoRayError(Exception):
    """Ray did not start on this machine; the message gives the reason and the remedy."""


def temporary_folder() -> Path:
    """Return the folder below which Ray keeps its sockets, logs and spilled objects."""
    from ray._common.utils import get_default_ray_temp_dir

    return Path(get_default_ray_temp_dir())


def folder_error(folder: Path) -> OSError | None:
    """Return the reason why Ray could not write to its temporary folder; None if it can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0" * PROBE_BYTES)
            file.flush()
    except OSError as error:
        return error
    return None


def start_failure(error: BaseException, folder: Path) -> NoRayError:
    """Return the error for a failed start: its reason in one line, and the remedy that fits it.

    Args:
        error: exception that Ray, or the probe of its folder, has raised.
        folder: Ray's temporary folder.
    """
    cause = _os_error(error)
    reason = (cause.strerror if cause else None) or (str(error).splitlines() or [""])[0].strip().rstrip(".")
    where = f"{cause.filename}: " if cause and isinstance(cause.filename, str) else ""
    text = f"Ray did not start here: {where}{reason or type(error).__name__}"
    return NoRayError(f"{text}; {_remedy(error, cause, folder)}")


def _remedy(error: BaseException, cause: OSError | None, folder: Path) -> str:
    number = cause.errno if cause else None
    named = cause.filename if cause and isinstance(cause.filename, str) else str(folder)
    elsewhere = not Path(named).is_relative_to(folder) and not folder.is_relative_to(named)
    other = f", or {_OTHER_FOLDER}"
    if elsewhere:
        other = f", or {_OTHER_HOME}" if _is_in_home(Path(named)) else ""
    if "AF_UNIX" in str(error):
        return f"the path {folder} is too long for Ray's sockets: set RAY_TMPDIR to a short one, as RAY_TMPDIR=/tmp"
    if number in _UNWRITABLE:
        return f"{remedy(number, named)}{other}"
    if number in _NO_FOLDER:
        return f"make {named} a folder that can be written{other}"
    if number in (errno.EMFILE, errno.ENFILE):
        return remedy(number)
    if number == errno.EAGAIN or "can't start new thread" in str(error):
        return "raise the limit of processes: ulimit -u, or end some of them"
    if number == errno.EADDRINUSE:
        return "end the program that holds the port"
    if number == errno.ENOMEM or isinstance(error, MemoryError):
        return "free memory"
    logs = folder / "session_latest" / "logs"
    return f"Ray's logs are in {logs}; end other programs that keep this machine busy, and try again"


def _is_in_home(path: Path) -> bool:
    """Return whether a path is the user's home, or lies in it."""
    home = os.environ.get("HOME")
    return bool(home) and path.is_relative_to(str(home))


def _os_error(error: BaseException | None) -> OSError | None:
    """Return the operating system's error behind an exception, if there is one."""
    while error is not None:
        if isinstance(error, OSError) and error.errno:
            return error
        error = error.__cause__ or error.__context__
    return None
