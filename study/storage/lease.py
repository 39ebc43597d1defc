"""Who drives a study on an object store, which has no locks: one object that its driver writes again and again.

A driver counts as dead when its object hasn't changed for as long as it was watched, so clocks need not agree.
"""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from study.errors import StorageError
from study.storage.object_store import BucketFolder

NAME = "driver.json"
INTERVAL = 10.0
"""Seconds between two signs of life."""
SILENCE = 45.0
"""Seconds without one after which another driver may take over."""
SETTLE = 1.0
"""Seconds within which a driver that has seen a study free writes its claim, and after which it reads it again."""
CLAIMS = 3
"""After so many a driver goes on though its store is slower: signs of life tell rivals apart too, only later."""

Driver = dict[str, Any]
"""`token`, `hostname`, `machine` (as `_machine`), `pid`, `time` (seconds since 1970) and `beat` of the latest sign of
life; `ended`."""


def read_driver(bucket: BucketFolder) -> Driver | None:
    """The latest driver of a study, if it ever had one."""
    content = bucket.read(NAME)
    return None if content is None else json.loads(content)


def seems_alive(driver: Driver | None) -> bool:
    """Whether a driver runs, by its clock and this machine's: good enough to be shown."""
    return driver is not None and not _is_over(driver) and time.time() - driver["time"] < SILENCE


def _is_over(driver: Driver) -> bool:
    """Whether a driver is known to be dead: by its own word, or as a process of this machine that is gone."""
    if driver["ended"]:
        return True
    if driver.get("machine") != _machine():
        return False
    try:
        os.kill(driver["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _machine() -> str:
    """What a process id is one of: this boot of this machine and the container, which may have a name in common."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return socket.gethostname()


class Lease:
    """The right to drive a study, kept up in a thread until `release`.

    Claimed as in Fischer's mutual exclusion: see it free, write, wait for longer than anyone may take between these
    two, and go on only if what was written is still there.
    """

    def __init__(
        self, bucket: BucketFolder, say: Callable[[str], None], check: Callable[[], None] = lambda: None
    ) -> None:
        """Claim the study; wait for up to `SILENCE` seconds where it isn't clear whether the last driver lives.

        Args:
            bucket: folder of the study.
            say: called with the reason if this takes a while.
            check: raises if the claim is to be given up; called whenever the study is seen free, and once it is held.

        Raises:
            ValueError: another driver runs the study.
            StorageError: the store can't be reached.
            Exception: as `check` raises; then nothing is left of the claim.
        """
        self._bucket = bucket
        self._token = uuid.uuid4().hex
        self._beat = 0
        self._predecessor: str | None = None
        self._failure: StorageError | None = None
        self._asking = threading.Lock()
        self._over = threading.Event()
        try:
            self._claim(say, check)
        except BaseException:
            with suppress(StorageError):
                self._remove()
            raise
        self._confirmed = time.monotonic()
        self._thread = threading.Thread(target=self._keep, name="qar-lease", daemon=True)
        self._thread.start()

    def _claim(self, say: Callable[[str], None], check: Callable[[], None]) -> None:
        for _ in range(CLAIMS):
            self._wait_until_free(say)
            seen_free = time.monotonic()
            check()
            self._sign(ended=False)
            in_time = time.monotonic() - seen_free < SETTLE
            time.sleep(SETTLE)
            if (driver := read_driver(self._bucket)) is None or driver["token"] != self._token:
                raise _driven(self._bucket, driver)
            if in_time:
                break
        check()

    def _remove(self) -> None:
        """Remove the object if it is this driver's."""
        driver = read_driver(self._bucket)
        if driver is not None and driver["token"] == self._token:
            self._bucket.remove(NAME)

    def _wait_until_free(self, say: Callable[[str], None]) -> None:
        first = read_driver(self._bucket)
        if first is None or first["token"] == self._token or _is_over(first):
            return
        self._predecessor = first["token"]
        say(f"waiting for up to {SILENCE:.0f} s to see whether {_name(first)} still drives the study")
        until = time.monotonic() + SILENCE
        while time.monotonic() < until:
            time.sleep(SETTLE)
            now = read_driver(self._bucket)
            if now is None or _is_over(now):
                return
            if now != first:
                raise _driven(self._bucket, now)

    def _sign(self, ended: bool) -> None:
        self._beat += 1
        sign = {"token": self._token, "hostname": socket.gethostname(), "machine": _machine(), "pid": os.getpid()}
        sign |= {"time": time.time(), "beat": self._beat, "ended": ended}
        self._bucket.write(NAME, json.dumps(sign).encode())

    def _keep(self) -> None:
        while not self._over.wait(INTERVAL):
            try:
                self._confirm()
                self._sign(ended=False)
            except StorageError as failure:
                self._failure = failure
                return

    def _confirm(self) -> None:
        with self._asking:
            driver = read_driver(self._bucket)
            # The driver that was taken over from may have been about to sign; it stops once it reads our next sign.
            if driver is not None and driver["token"] not in (self._token, self._predecessor):
                raise StorageError(
                    f"{self._bucket} is driven by {_name(driver)} now, so this driver has stopped; watch it with: "
                    f"qar status {self._bucket}"
                )
            self._confirmed = time.monotonic()

    def check(self) -> None:
        """Raises StorageError if another driver has taken over, or the store can't be reached."""
        if self._failure:
            raise self._failure
        if time.monotonic() - self._confirmed > SILENCE / 2:
            self._confirm()

    def release(self) -> None:
        """Says that this driver has ended, unless the store can't be told or another has taken over."""
        self._over.set()
        self._thread.join()
        if self._failure:
            return
        try:
            self._confirm()
            self._sign(ended=True)
        except StorageError:
            return

    def withdraw(self) -> None:
        """Release the study as if it had never been claimed, unless the store can't be told."""
        self._over.set()
        self._thread.join()
        with suppress(StorageError):
            self._remove()


def _name(driver: Driver) -> str:
    return f"process {driver['pid']} on {driver['hostname']}"


def _driven(bucket: BucketFolder, driver: Driver | None) -> ValueError:
    whose = _name(driver) if driver else "another process"
    return ValueError(f"{bucket} is being run by {whose}; watch it with: qar status {bucket}")
