"""Files on an object store that a node needs, fetched once into a folder that all of its trials share.

The one module here besides `trainables.trainable` that imports pyarrow, and only for data sets that are named by URI.
"""

import fcntl
import hashlib
import shutil
from pathlib import Path

from trainables.atomic import replacing
from trainables.data.cache import cache_folder

CHUNK_BYTES = 2**23
"""Bytes that are fetched at a time."""


def is_uri(path: str | Path) -> bool:
    """Whether a path is none, but names a place on an object store."""
    return "://" in str(path)


def fetched(uri: str) -> Path:
    """Return this node's copy of a file, which is fetched if it isn't here, or if another one is there now.

    Processes that ask for the same file wait for the one that fetches it. Copies lie in `$XDG_CACHE_HOME/qar`
    (`~/.cache/qar`) and may be removed at any time that no trial runs.

    Args:
        uri: `s3://…` or `gs://…`, as pyarrow understands it.

    Raises:
        ValueError: there is no such file, it can't be fetched, or the copy can't be written.
    """
    from pyarrow import ArrowException
    from pyarrow.fs import FileSystem

    try:
        filesystem, path = FileSystem.from_uri(uri)
        found = filesystem.get_file_info(path)
        if not found.is_file:
            raise ValueError(f"{uri}: there must be this file, found none; put it there, or correct the URI")
        key = hashlib.sha256(f"{uri} {found.size} {found.mtime_ns}".encode()).hexdigest()[:16]
        copy = cache_folder() / key / found.base_name
        copy.parent.mkdir(parents=True, exist_ok=True)
        with (copy.parent / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not copy.exists():
                with filesystem.open_input_stream(path, compression=None) as source, replacing(copy) as file:
                    shutil.copyfileobj(source, file, CHUNK_BYTES)
                    if file.tell() != found.size:
                        raise OSError("it was replaced while it was read; try again")
    except (OSError, ArrowException) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{uri} can't be fetched: {reason}; check the URI, and this node's credentials") from None
    return copy
