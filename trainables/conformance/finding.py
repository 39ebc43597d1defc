"""Result of one check of a part."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from trainables.import_path import reason_of


@dataclass(frozen=True)
class Finding:
    """Result of one check.

    Attributes:
        name: promise that was checked.
        passed: whether the part keeps it.
        detail: measured values, or what is wrong; one line.
    """

    name: str
    passed: bool
    detail: str


class BrokenPromiseError(Exception):
    """A part breaks a promise; the message says how, in one line."""


def run_checks(checks: Mapping[str, Callable[[], str]]) -> Iterator[Finding]:
    """Run checks one after another.

    Args:
        checks: functions by the name of the promise. Each returns what it has measured, or raises an error.

    Yields:
        The finding of each check.
    """
    for name, check in checks.items():
        try:
            yield Finding(name, True, check())
        except BrokenPromiseError as error:
            yield Finding(name, False, str(error))
        except Exception as error:  # code of users may raise anything
            yield Finding(name, False, reason_of(error))


def require(holds: bool, text: str) -> None:
    """Raise BrokenPromiseError unless a promise is kept."""
    if not holds:
        raise BrokenPromiseError(text)
