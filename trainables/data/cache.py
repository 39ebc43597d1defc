"""The cache of a node: what is unpacked or fetched once, and shared by all trials there."""

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory


def cache_folder() -> Path:
    """Return `$XDG_CACHE_HOME/qar` or `~/.cache/qar`, which may be removed whenever no trial runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "qar"


def install(folder: Path, write: Callable[[Path], None]) -> None:
    """Fill a folder by `write` and put it in place whole, so that no trial ever sees a part of it.

    Of processes that do so at once the first wins. Where `write` raises, nothing is left.

    Raises:
        OSError: the folder can't be written, or something else is in its place.
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
