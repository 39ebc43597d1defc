"""Cache of a node: files that are unpacked or downloaded once and shared by all trials on the node."""

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory


def cache_folder() -> Path:
    """Return the folder of the cache: `$XDG_CACHE_HOME/qar` or `~/.cache/qar`.

    It may be deleted while no trial is running.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "qar"


def install(folder: Path, write: Callable[[Path], None]) -> None:
    """Create a folder and its content atomically, so that no process ever sees it incomplete.

    If several processes do so at the same time, the first one wins. If `write` raises, nothing is left behind.

    Args:
        folder: the folder to create; its parent exists.
        write: writes the content into the temporary folder that it is given.

    Raises:
        OSError: the folder cannot be written, or `folder` is a file.
    """
    with TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        fresh = Path(scratch, "fresh")
        fresh.mkdir()
        write(fresh)
        try:
            fresh.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
