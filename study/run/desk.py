"""The desk of a driver: takes the requests of users, and records what they ask for."""

import time
from collections.abc import Callable
from typing import Any

from ray.tune import Callback

from study.config import StudyConfig
from study.interruption import interruption
from study.ledger.facts import ENQUEUED, STOP_REQUESTED
from study.ledger.ledger import DerivedFromLedger, Ledger
from study.search.enqueued import searched_fields
from study.storage.folder import StudyFolder
from study.storage.requests import ENQUEUE, STOP, Request, pending
from trainables.result import TrialState

SECONDS_BETWEEN_LOOKS = {False: 1.0, True: 10.0}
"""Seconds between two looks at the requests; in a bucket each takes a request to the store."""


class Desk(DerivedFromLedger, Callback):
    """Ray callback that takes requests."""

    def __init__(self, folder: StudyFolder, config: StudyConfig, ledger: Ledger, say: Callable[[str], None]) -> None:
        """Prepare to take requests.

        Args:
            folder: the study.
            config: its configuration.
            ledger: its ledger, open for writing.
            say: prints a line.
        """
        self._folder = folder
        self._config = config
        self._ledger = ledger
        self._say = say
        self._pause = SECONDS_BETWEEN_LOOKS[folder.storage.has_working_copy]
        self._due = 0.0

    def forget_stops(self) -> None:
        """Withdraw requests to stop the study: they were made to a driver that has died.

        Call it as soon as this driver holds the ledger, for later ones are made to this driver.
        """
        for request in pending(self._folder)[0]:
            if request.kind == STOP and request.number is None:
                self._folder.storage.remove_request(request.name)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Take the requests if the last look at them is old."""
        self.look_if_due()

    def look_if_due(self) -> None:
        """Take the requests if the last look at them is old. Raises as `look` does."""
        if time.monotonic() >= self._due:
            self.look()

    def look(self) -> None:
        """Take all requests: record each as a fact, then remove it.

        Raises:
            StorageError: the ledger can't be written, or the bucket can't be reached.
        """
        requests, unreadable = pending(self._folder)
        for name, reason in unreadable.items():
            self._folder.storage.remove_request(name)
            self._say(f"a request to this study can't be read and is dropped: {reason}")
        for request in requests:
            if request.name not in self._ledger.history.requests:
                try:
                    self._take(request)
                except ValueError as error:
                    self._say(f"a request of {request.user} is dropped: {error}")
            self._folder.storage.remove_request(request.name)
        self._due = time.monotonic() + self._pause

    def _take(self, request: Request) -> None:
        if request.kind == ENQUEUE:
            searched = searched_fields(request.searched, self._config)
            self._ledger.record(ENQUEUED, request=request.name, user=request.user, searched=searched)
            return
        trial = None if request.number is None else self._ledger.history.trials.get(request.number)
        if request.number is not None and (trial is None or trial.state != TrialState.RUNNING):
            raise ValueError(f"trial {request.number} does not run")
        self._ledger.record(STOP_REQUESTED, request=request.name, user=request.user, number=request.number)
        if request.number is None:
            self._say(f"stopped by {request.user}")
            interruption.request()
