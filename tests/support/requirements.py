"""Requirements of some tests besides Python packages: one marker for each, which skips the test where it is missing."""

import importlib.util
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

from tests.support.chromium import CHROMIUM


def postgresql_programs() -> Path | None:
    """Return the folder of initdb and postgres; Debian keeps them off the path."""
    initdb = shutil.which("initdb")
    folders = [Path(initdb).parent] if initdb else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return folders[-1] if folders else None


def _latex() -> str | None:
    return None if shutil.which("pdflatex") else "pdflatex: apt-get install texlive-latex-recommended texlive-pictures"


def _chromium() -> str | None:
    return None if CHROMIUM else "Chromium: apt-get install chromium"


def _postgresql() -> str | None:
    return None if postgresql_programs() else "PostgreSQL: apt-get install postgresql"


def _object_store() -> str | None:
    return None if importlib.util.find_spec("moto") else "moto: pip install 'moto[s3]'"


def _azurite() -> str | None:
    return None if shutil.which("azurite-blob") else "Azurite: npm install --global azurite"


@cache
def _netns() -> str | None:
    from tests.support.live_clusters import told_apart  # imports trainables, which the conftest must instrument first

    reason = told_apart()
    return reason and f"namespaces, by which hosts have names, folders and networks of their own: {reason}"


MISSING: dict[str, Callable[[], str | None]] = {
    "latex": _latex,
    "chromium": _chromium,
    "netns": _netns,
    "postgresql": _postgresql,
    "object_store": _object_store,
    "azurite": _azurite,
}
"""Functions by marker that return what is missing and how to get it, or None."""

FIXTURES = {"server": "object_store", "azure": "azurite", "postgres": "postgresql"}
"""Fixtures whose every user bears a marker."""
