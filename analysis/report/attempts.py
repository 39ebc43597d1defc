"""Record of the parts of a report: which were written, which have no data, and which failed."""

import errno
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from analysis.report.findings import NothingToShow

_STORAGE_FAILS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO})
"""Errors of the storage, after which no other part can be written either."""


@dataclass(frozen=True)
class Attempts:
    """Outcomes of the parts of a report.

    Attributes:
        files: paths of the written files.
        missing: reason why there are no data for a part, by the name of the part.
        failed: error of a part, by the name of the part.
    """

    files: list[Path] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def attempt(self, name: str, write: Callable[[], Iterable[Path]]) -> None:
        """Write one part and record its outcome; an error of one part does not prevent the others.

        Args:
            name: name of the part, for messages.
            write: writes the part and returns the paths of its files.

        Raises:
            OSError: the storage cannot be written.
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
        """One line for each error, with the parts that it affects."""
        return tuple(f"{', '.join(names)} failed: {reason}" for reason, names in _by_reason(self.failed).items())

    @property
    def omissions(self) -> str:
        """One line with all parts that have no data, and why; empty if there are none."""
        parts = [f"{', '.join(names)} ({reason})" for reason, names in _by_reason(self.missing).items()]
        return f"omitted: {'; '.join(parts)}" if parts else ""


def _by_reason(reasons: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the names of the parts by reason, in order."""
    names: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        names.setdefault(reason, []).append(name)
    return names
