"""Compilation of loops by Numba, and where the result is kept for the processes that follow."""

import hashlib
import inspect
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba


@cache
def cache_folder(module: str) -> Path:
    """Return the cache folder of a module's loops: one for each source text, Numba version and type of processor.

    Numba names cache files by function and line. In a shared folder, it could load code compiled from another version
    of the module, or by another processor at the same moment.

    Args:
        module: path of the module's text.
    """
    parts = Path(module).read_bytes(), numba.__version__.encode(), llvmlite.binding.get_host_cpu_name().encode()
    return Path(module).parent / "__pycache__" / hashlib.sha256(b"\n".join(parts)).hexdigest()[:16]


def compiled(loop: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a loop at its first call, and keep the result, where there is a place for it."""
    function = inspect.unwrap(loop)  # without the checks of types that tests put around each function
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(cache_folder(inspect.getsourcefile(function) or ""))
    try:
        return numba.njit(cache=True, error_model="numpy")(function)
    finally:
        numba.config.CACHE_DIR = before
