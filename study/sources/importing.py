"""Making the code of a study importable: in this process, and as modules that Ray ships to all nodes."""

import importlib
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from study.config.code import checksum_of
from trainables.data.cache import cache_folder, install


def make_importable(code: Mapping[str, str]) -> None:
    """Put the code of a study first on Python's path, in place of another study's code.

    Args:
        code: text of each file, by its path relative to the folder of the code.

    Raises:
        ValueError: the node's cache can't be written.
    """
    for entry in [entry for entry in sys.path if Path(entry).parent == _cache()]:
        sys.path.remove(entry)
    if code:
        folder = _folder_of(code)
        sys.path.insert(0, str(folder))
        _forget({Path(path).parts[0].removesuffix(".py") for path in code}, folder)
    importlib.invalidate_caches()


def add_working_folder() -> None:
    """Let Python find modules in the working directory, as it does for scripts but not for installed commands."""
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)


def shipped_modules(code: Mapping[str, str]) -> list[str]:
    """Return the paths of the modules and packages of a study's code, for `py_modules` of Ray's `runtime_env`.

    Args:
        code: as in `make_importable`.

    Raises:
        ValueError: the node's cache can't be written.
    """
    if not code:
        return []
    folder = _folder_of(code)
    return sorted({str(folder / Path(path).parts[0]) for path in code})


def _cache() -> Path:
    return cache_folder() / "code"


def _folder_of(code: Mapping[str, str]) -> Path:
    """Return the folder of the node's cache that holds the code; it is written on first use."""
    folder = _cache() / checksum_of(code)
    try:
        if not folder.is_dir():
            folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            install(folder, partial(_write, code))
    except OSError as error:
        raise ValueError(
            f"{folder} must be writable, for the code of the study, got: {error.strerror}; "
            "set XDG_CACHE_HOME to a folder that is"
        ) from None
    return folder


def _write(code: Mapping[str, str], folder: Path) -> None:
    for path, text in code.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def _forget(names: set[str], folder: Path) -> None:
    """Remove modules of these names that were imported from another folder, so that they are imported anew."""
    for name, module in list(sys.modules.items()):
        place = getattr(module, "__file__", None) or ""
        if name.partition(".")[0] in names and not place.startswith(f"{folder}/"):
            del sys.modules[name]
