"""Where numbers come from: versions, commit and platform of a driver, as every session of a study writes them down."""

import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from study.config.credentials import redacted

PACKAGES = ("qar", "ray", "torch", "torchvision", "optuna", "numpy", "pandas")


def provenance() -> dict[str, Any]:
    """Return the command without credentials, versions of what decides the numbers, and the checkout's commit, or None.

    A package that is installed inside of another project's repository, as in its virtual environment, is outside.
    """

    here = Path(__file__)

    def git(*arguments: str) -> str | None:
        command = ["git", "-C", str(here.parent), *arguments]
        try:
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return None

    ours = git("ls-files", "--error-unmatch", here.name) is not None
    changes = git("status", "--porcelain", "--untracked-files=no") if ours else None
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *map(redacted, sys.argv[1:])]),
        "versions": {"python": platform.python_version()} | {package: version_of(package) for package in PACKAGES},
        "platform": platform.platform(),
        "git_sha": git("rev-parse", "HEAD") if ours else None,
        "git_dirty": None if changes is None else bool(changes),
    }


def version_of(package: str) -> str | None:
    """The installed version of a package; None where it is missing."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
