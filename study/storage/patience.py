"""Repetition of requests to an object store that fail for a while, and their errors in one line."""

import os
import re
import shlex
import time
from collections.abc import Callable
from typing import TypeVar

from study.config.rules.credentials import redacted
from study.errors import StorageError

PATIENCE = float(os.environ.get("QAR_STORAGE_PATIENCE", "120"))
"""Seconds for which an outage of the store may last before it ends a study."""
FIRST_PATIENCE = min(10.0, PATIENCE)
"""Seconds for which an outage may last at the start of a command, when a mistyped address is more likely."""
LONGEST_PAUSE = 10.0
"""Most seconds between two attempts."""

_REFUSED = re.compile(
    r"ACCESS_DENIED|NO_SUCH_BUCKET|NoSuchBucket|INVALID_ACCESS_KEY|SIGNATURE|INVALID_CLIENT_TOKEN|"
    r"MISSING_AUTHENTICATION|UNRECOGNIZED_CLIENT|EXPIRED_TOKEN|PERMISSION_DENIED|UNAUTHENTICATED|access token|"
    r"(?:HTTP status|status code:) (?:40[135]|301|501)|ExpiredToken|InvalidToken|Bucket '\S+' not found|NOT_FOUND|"
    r"Azure Error: \[(?:Auth\w+|\w*Authentication\w*|ContainerNotFound)\]"
)
"""Texts in the clients' messages which show that the store has refused the request for good."""
_ANSWER = re.compile(r"status code: (?P<status>\d+)[^:]*: .*?<Code>(?P<code>[^<]*)</Code>\s*<Message>(?P<text>[^<]*)<")
_CAUSE = re.compile(r'(?:message|error): "(?P<cause>[^"]+)"|kind: (?P<kind>TimedOut|UnexpectedEof)')
_NOISE = re.compile(
    r"^When .*?: (?=AWS Error)| \(Request ID: \S+\)| error_info=.*| RequestId:.*| in \d[\d.]*\S*s(?= - )"
)
"""Parts of messages that say nothing to a user."""

_Answer = TypeVar("_Answer")


class RefusedError(Exception):
    """The store has refused a request for good; the message is the store's, in one line."""


def patiently(operation: Callable[[], _Answer], uri: str, patience: float) -> _Answer:
    """Return the result of an operation, repeating it after temporary failures.

    Args:
        operation: function to call.
        uri: URI for messages.
        patience: seconds after which failures are no longer repeated.

    Raises:
        FileNotFoundError: the object does not exist.
        ConditionError: the object is not in the state that a write requires.
        RefusedError: the store has refused the operation for good.
        StorageError: the store could not be reached for `patience` seconds.
    """
    from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

    began, pause = time.monotonic(), 0.25
    while True:
        try:
            return operation()
        except FileNotFoundError:
            raise
        except (OSError, BaseError) as error:
            reason = _one_line(error)
            if _REFUSED.search(reason) or isinstance(error, (PermissionDeniedError, UnauthenticatedError)):
                raise RefusedError(reason) from None
            if time.monotonic() - began + pause > patience:
                raise StorageError(
                    f"storage {uri} can't be reached: {reason}; once it can, go on with: qar resume {shlex.quote(uri)}"
                ) from None
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def _one_line(error: Exception) -> str:
    message, _, details = str(error).partition("\n\nDebug source")
    if answer := _ANSWER.search(" ".join(message.split())):
        message = f"status code: {answer['status']} {answer['code']}, {answer['text']}"
    elif cause := _CAUSE.search(details):
        message = f"{message}, {cause['cause'] or cause['kind']}"
    return redacted(_NOISE.sub("", " ".join(message.split())))
