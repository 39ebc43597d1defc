"""The parts of a report, each tried by itself: what was written, what there is no data for, and what failed."""

import errno
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from analysis.report.findings import NothingToShow

_STORAGE_FAILS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO})
"""Errors of a file system on which no other part could be written either."""


@dataclass(frozen=True)
class Attempts:
    """Outcome of the parts that were tried.

    Attributes:
        files: paths that were written.
        missing: why there is nothing to show, by the name of a part.
        failed: what went wrong, by the name of a part.
    """

    files: list[Path] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def attempt(self, name: str, write: Callable[[], Iterable[Path]]) -> None:
        """Write one part; whatever goes wrong with it is noted, and the next part can be tried.

        Raises:
            OSError: the storage can't be written.
        """
        try:
            self.files.extend(write())
        except NothingToShow as reason:
            self.missing[name] = str(reason)
        except Exception as error:
            if isinstance(error, OSError) and error.errno in _STORAGE_FAILS:
                raise
            self.failed[name] = f"{type(error).__name__}: {' '.join(str(error).split())}"

    @property
    def failures(self) -> tuple[str, ...]:
        """One line for each reason why parts failed."""
        return tuple(f"{', '.join(names)} failed: {reason}" for reason, names in _by_reason(self.failed).items())

    @property
    def omissions(self) -> str:
        """One line on all parts that there is no data for; empty if there are none."""
        parts = [f"{', '.join(names)} ({reason})" for reason, names in _by_reason(self.missing).items()]
        return f"omitted: {'; '.join(parts)}" if parts else ""


def _by_reason(reasons: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the names by their reason, in order."""
    found: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        found.setdefault(reason, []).append(name)
    return found
