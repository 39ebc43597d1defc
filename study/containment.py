"""Containment: paths and links of a study never cause writes or removals outside of the study's folder.

A study may come from another person. The paths in its facts, and symbolic links in its folder, could point to files of
the user who resumes it. The user chooses the folder itself, which may lie behind links.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def is_file_name(name: object) -> bool:
    """Whether a value is a single plain component of a path, as every trial_id must be."""
    return isinstance(name, str) and _FILE_NAME.fullmatch(name) is not None


def is_inner_path(path: object) -> bool:
    """Whether a value is a relative path that stays below the folder to which it is relative."""
    if not isinstance(path, str) or "\0" in path:
        return False
    parts = PurePosixPath(path).parts
    return bool(parts) and ".." not in parts and not path.startswith("/")


def inner_path(root: Path, path: str) -> Path:
    """Return the path below `root`; raises ValueError if it leads out of it."""
    if not is_inner_path(path):
        raise ValueError(f"a path in a study must be relative and stay in its folder, got {path!r} in {root}")
    return root / path


def check_no_links(root: Path) -> None:
    """Check that a folder holds only files and folders, at any depth.

    Args:
        root: the folder, which need not exist.

    Raises:
        ValueError: the folder holds a symbolic link, a device, a pipe or a socket.
        OSError: a folder below can't be listed.
    """
    folders = [root]
    while folders:
        try:
            entries = list(os.scandir(folders.pop()))
        except (FileNotFoundError, NotADirectoryError):  # a driver may remove a checkpoint meanwhile
            continue
        for entry in entries:
            if entry.is_symlink():
                raise ValueError(
                    f"a study must hold no symbolic links, since qar writes and removes files there, got "
                    f"{entry.path} -> {os.readlink(entry.path)}; remove the link, or put what it points to in its place"
                )
            if entry.is_dir(follow_symlinks=False):
                folders.append(Path(entry.path))
            elif not entry.is_file(follow_symlinks=False) and os.path.lexists(entry.path):
                raise ValueError(f"a study must hold files and folders only, got {entry.path}; remove it")


def remove_file(root: Path, path: str) -> None:
    """Remove a file below `root` without following symbolic links; raises OSError, ValueError."""
    with _opened_parent(root, path) as (parent, name):
        os.unlink(name, dir_fd=parent)


def remove_tree(root: Path, path: str) -> None:
    """Remove a folder below `root` without following symbolic links; raises OSError, ValueError."""
    with _opened_parent(root, path) as (parent, name):
        shutil.rmtree(name, dir_fd=parent)


@contextmanager
def _opened_parent(root: Path, path: str) -> Iterator[tuple[int, str]]:
    """Yield a descriptor of the folder that holds `path`, and the name in it; no component may be a link."""
    *folders, name = inner_path(Path(), path).parts
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for folder in folders:
            below = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor, name
    finally:
        os.close(descriptor)
