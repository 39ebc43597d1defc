"""Download of data sets from an object store, once per node, into the cache that all trials of the node share.

pyarrow is imported only when a data set is given by a URI.
"""

import fcntl
import hashlib
import shutil
from pathlib import Path

from trainables.data.cache import cache_folder
from trainables.errors import message_of
from trainables.files.atomic import replacing
from trainables.files.object_stores import as_pyarrow_has_it

CHUNK_BYTES = 2**23
"""Bytes that are fetched at a time."""


def is_uri(path: str | Path) -> bool:
    """Return whether a path is a URI, which names a file or folder on an object store."""
    return "://" in str(path)


def fetched(uri: str) -> Path:
    """Return the path of this node's copy of a file; download it if it is missing or has changed at its source.

    Processes that request the same file wait for the one that downloads it. Copies are in the cache of the node,
    `$XDG_CACHE_HOME/qar` or `~/.cache/qar`, and may be deleted while no trial is running.

    Args:
        uri: `s3://…`, `gs://…` or `az://…`, with options as pyarrow accepts them.

    Raises:
        ValueError: the file does not exist, the download fails, or the copy cannot be written.
    """
    from pyarrow import ArrowException
    from pyarrow.fs import FileSystem

    try:
        filesystem, path = FileSystem.from_uri(as_pyarrow_has_it(uri))
        info = filesystem.get_file_info(path)
        if not info.is_file:
            raise ValueError(f"{uri}: there must be this file, found none; put it there, or correct the URI")
        key = hashlib.sha256(f"{uri} {info.size} {info.mtime_ns}".encode()).hexdigest()[:16]
        copy = cache_folder() / key / info.base_name
        copy.parent.mkdir(parents=True, exist_ok=True)
        with (copy.parent / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not copy.exists():
                with filesystem.open_input_stream(path, compression=None) as source, replacing(copy) as file:
                    shutil.copyfileobj(source, file, CHUNK_BYTES)
                    if file.tell() != info.size:
                        raise OSError("it was replaced while it was read; try again")
    except (OSError, ArrowException) as error:
        reason = message_of(error)
        raise ValueError(f"{uri} can't be fetched: {reason}; check the URI, and this node's credentials") from None
    return copy
