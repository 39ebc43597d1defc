"""Notifications: JSON posted to a web hook at the end of a study, at a failure and at a new knee of the front."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from study.config import StudyConfig
from study.ledger.front import front_so_far, knee_of
from study.ledger.history import History, Trial
from study.storage.liveliness import is_complete, rule_met
from study.trackers.tracker import front_rows
from trainables.errors import DamagedFileError
from trainables.files.atomic import replacing
from trainables.files.regular import read_regular
from trainables.result import TrialState

SENT_FILE = "notified.json"
SECONDS_TO_ANSWER = 10.0
MOST_BYTES = 2**26


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Handler under which a redirection is an error: a post goes to the address that the user has set, or nowhere."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)


class Notifier:
    """Posts of a study to one address.

    Each post has an `id`, which stays the same if it is posted again: after a crash between the answer and its record,
    the last post comes twice, and the receiver can tell by the id.
    """

    def __init__(self, url: str, address: str, root: Path) -> None:
        """Name the hook, the study's path or URI, and the folder that remembers what was sent.

        Raises:
            DamagedFileError: the file of what was sent can't be read.
        """
        self._url, self._address = url, address
        self._file = root / SENT_FILE
        self._sent = _read(self._file)

    def update_trial(self, trial: Trial) -> None:
        """Post the failure of a trial."""
        if trial.state == TrialState.FAIL:
            self._post(f"failed-{trial.trial_id}", "failed", {"trial": trial.number, "reason": trial.failure})

    def update_study(self, config: StudyConfig, history: History) -> None:
        """Post a new knee, and the end of the study."""
        for name, event, content in _events(config, history):
            self._post(name, event, content)

    def close(self) -> None:
        """Do nothing."""

    def _post(self, name: str, event: str, content: dict[str, Any]) -> None:
        if name in self._sent:
            return
        body = {"id": f"{self._address}#{name}", "study": self._address, "event": event, **content}
        headers = {"Content-Type": "application/json", "User-Agent": "qar"}
        request = urllib.request.Request(self._url, json.dumps(body).encode(), headers, method="POST")
        with _OPENER.open(request, timeout=SECONDS_TO_ANSWER):
            pass
        self._sent.append(name)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self._file) as file:
            file.write(json.dumps(self._sent).encode())


def _read(file: Path) -> list[str]:
    if not file.exists():
        return []
    try:
        sent = json.loads(read_regular(file, MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        sent = None
    if not isinstance(sent, list) or not all(isinstance(name, str) for name in sent):
        raise DamagedFileError(f"{file} must list what was posted, and is damaged; remove it, then all is posted again")
    return sent


def _events(config: StudyConfig, history: History) -> Iterator[tuple[str, str, dict[str, Any]]]:
    front = front_so_far(history)
    knee = knee_of(front) if len(front) > 2 else None
    if knee is not None:
        row = next(row for row in front_rows(history) if row["trial"] == knee.number)
        yield f"knee-{knee.trial_id}", "knee", {"knee": row}
    if is_complete(history, config):
        yield (
            f"ended-{history.num_ended}",
            "ended",
            {"trials": history.num_ended, "stopped": rule_met(history, config), "front": front_rows(history)},
        )
