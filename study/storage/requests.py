"""Requests of users to the driver of a study, which any process may make; the driver takes them and records a fact.

A request is a file in the study, since only the driver writes the ledger. It is removed once the fact is durable; after
a crash in between, the ledger holds its name, so that it is never done twice.
"""

import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from study.storage.folder import StudyFolder
from study.user import user_name

ENQUEUE: Literal["enqueue"] = "enqueue"
STOP: Literal["stop"] = "stop"


def _new_name() -> str:
    """Return a name that sorts by the time of its making."""
    return f"{time.time_ns():016x}{secrets.token_hex(8)}"


@dataclass(frozen=True, kw_only=True)
class Request:
    """Request of a user to the driver.

    Attributes:
        kind: `enqueue` for a trial, or `stop`.
        user: name of the user.
        searched: for a trial, its searched fields by dotted name.
        number: trial to stop; None for the whole study.
        name: name of the request; names are in order of time.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    kind: Literal["enqueue", "stop"]
    user: str = field(default_factory=user_name)
    searched: dict[str, Any] = field(default_factory=dict)
    number: Annotated[int, Field(ge=0)] | None = None
    name: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] = field(default_factory=_new_name)


_REQUEST = TypeAdapter(Request)


def send(folder: StudyFolder, request: Request) -> None:
    """Write a request.

    Raises:
        ValueError: the study holds a symbolic link.
        OSError: the file can't be written.
        StorageError: the bucket can't be reached.
    """
    folder.check_no_links()
    content = {"kind": request.kind, "user": request.user, "searched": request.searched, "number": request.number}
    folder.storage.add_request(request.name, json.dumps(content).encode())


def pending(folder: StudyFolder) -> tuple[list[Request], dict[str, str]]:
    """Return the requests that the driver has not taken, oldest first, and those that can't be read, with the reason.

    Raises:
        StorageError: the bucket can't be reached.
    """
    requests, unreadable = [], {}
    for name, content in folder.storage.requests().items():
        try:
            values = json.loads(content)
            requests.append(_REQUEST.validate_json(json.dumps(values | {"name": name})))
        except ValidationError as error:
            unreadable[name] = "; ".join(problem["msg"] for problem in error.errors())
        except (ValueError, TypeError, RecursionError):
            unreadable[name] = "it is no JSON object"
    return requests, unreadable
