"""Errors of commands, each in one line on stderr, and the exit statuses."""

import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import typer

from study.cluster.start_failure import NoRayError
from study.errors import StudyInterrupted, remedy
from study.interruption import interruption
from study.terminal import one_line, say
from trainables.errors import DamagedFileError, message_of

if TYPE_CHECKING:
    from study.storage.folder import StudyFolder

FAILED = 1
WRONG_REQUEST = 2


def fail(message: str, status: int) -> NoReturn:
    """Print an error in one line, without credentials, and exit with a status."""
    from study.config import redacted

    say(f"qar: {one_line(redacted(message))}", err=True)
    raise typer.Exit(status)


@contextmanager
def one_line_errors(*folders: "StudyFolder") -> Iterator[None]:
    """Report a wrong request or a damaged file in one line on stderr.

    Args:
        folders: studies whose URIs replace the paths of their working copies in the message.
    """
    try:
        yield
    except (ValueError, DamagedFileError, StudyInterrupted, NoRayError) as error:
        fail(as_shown(str(error), folders), WRONG_REQUEST if isinstance(error, ValueError) else FAILED)
    except KeyboardInterrupt:
        interruption.say("interrupted")
        raise typer.Exit(interruption.status) from None
    except OSError as error:
        fail(as_shown(os_error_line(error), folders), FAILED)


def os_error_line(error: OSError) -> str:
    """Return what the system refused, and the remedy for that."""
    where = f"{error.filename} can't be used: " if error.filename else ""
    reason = error.strerror or message_of(error)
    if isinstance(error, FileNotFoundError):
        action = "put it there, or correct the path"
    elif isinstance(error, FileExistsError | IsADirectoryError | NotADirectoryError):
        action = "move what is there away, or correct the path"
    elif (
        isinstance(error, ConnectionError | TimeoutError | socket.gaierror) or type(error).__module__ == "urllib.error"
    ):
        action = "check the network and the address"
    else:
        action = remedy(error.errno)
    return f"{where}{reason}; {action}, then try again"


def study_at(address: str) -> "StudyFolder":
    """Return the study at a path or URI."""
    from study.storage.folder import StudyFolder

    with one_line_errors():
        return StudyFolder.at(address)


def as_shown(text: str, folders: "Iterable[StudyFolder]") -> str:
    """Return a text with the URIs of studies in place of the paths of their working copies."""
    for folder in folders:
        text = folder.storage.as_shown(text)
    return text
