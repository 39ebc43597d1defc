"""Provenance of results: command, versions, commit and platform of a driver, recorded by every session of a study."""

import hashlib
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any

from study.config.rules.credentials import redacted

PACKAGES = ("qar", "ray", "torch", "torchvision", "optuna", "numpy", "pandas")


def provenance(modules: Iterable[str] = (), sources: str | None = None) -> dict[str, Any]:
    """Return the command without credentials, the versions of packages that affect results, and the git commit.

    The commit is None if this package does not belong to a checkout, for example in a virtual environment inside
    another project's repository.

    Args:
        modules: names of top-level modules of parts by import path, whose packages affect results too.
        sources: checksum of the code and initial weights of the study; None if it has none.
    """
    here = Path(__file__)

    def git(*arguments: str) -> str | None:
        command = ["git", "-C", str(here.parent), *arguments]
        try:
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return None

    ours = git("ls-files", "--error-unmatch", here.name) is not None
    packages = [*PACKAGES, *_packages_of(modules)]
    changes = git("status", "--porcelain", "--untracked-files=no") if ours else None
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *map(redacted, sys.argv[1:])]),
        "versions": dict([("python", platform.python_version()), *((name, version_of(name)) for name in packages)]),
        "platform": platform.platform(),
        "git_sha": git("rev-parse", "HEAD") if ours else None,
        "git_dirty": None if changes is None else bool(changes),
    } | ({} if sources is None else {"sources": sources})


def _packages_of(modules: Iterable[str]) -> list[str]:
    """Return the installed packages that hold modules."""
    wanted = set(modules)
    if not wanted:
        return []
    return sorted({package for name in wanted for package in packages_distributions().get(name, ())})


def version_of(package: str) -> str | None:
    """Return the installed version of a package; None if it is missing."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def code_checksum() -> str:
    """Return a checksum of the code on this disk, which may differ between checkouts of one version."""
    digest = hashlib.sha256()
    for package in ("study", "trainables"):
        folder = Path(__file__).parents[2] / package
        for file in sorted(folder.rglob("*.py")):
            digest.update(f"{package}/{file.relative_to(folder).as_posix()}".encode() + file.read_bytes())
    return digest.hexdigest()
