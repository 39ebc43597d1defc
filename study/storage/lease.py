"""The lease of a study on an object store, which has no locks: an object that the driver rewrites regularly.

A driver counts as dead if its object did not change while another process watched it, so clocks need not agree.
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
"""Name of the object of the lease."""
INTERVAL = 10.0
"""Seconds between two heartbeats."""
SILENCE = 45.0
"""Seconds without a heartbeat after which another driver may take over."""
SETTLE = 1.0
"""Seconds within which a driver that found a study free must write its claim, and after which it reads it again."""
CLAIMS = 3
"""Claims after which a driver continues even if its store is slow; later heartbeats still detect a rival."""

Driver = dict[str, Any]
"""Content of the object: `token`, `hostname`, `machine` (from `_machine`), `pid`, `time` in seconds since 1970 and
number `beat` of the latest heartbeat, and whether the driver has `ended`."""


def read_driver(bucket: BucketFolder) -> Driver | None:
    """Return the latest driver of a study; None if it never had one."""
    content = bucket.read(NAME)
    return None if content is None else json.loads(content)


def seems_alive(driver: Driver | None) -> bool:
    """Whether a driver seems to run, by comparing its clock with this machine's; for display only."""
    return driver is not None and not _is_over(driver) and time.time() - driver["time"] < SILENCE


def _is_over(driver: Driver) -> bool:
    """Whether a driver is known to have ended: it said so, or it was a process of this machine that no longer runs."""
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
    """Return an identifier of the machine's boot and of the container, within which process ids are unique."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return socket.gethostname()


class Lease:
    """The right to drive a study, renewed in a thread until `release`.

    It is claimed by Fischer's mutual exclusion: read that the study is free, write a token, wait for longer than any
    process may take between these two steps, and continue only if the token is still there.
    """

    def __init__(
        self, bucket: BucketFolder, say: Callable[[str], None], check: Callable[[], None] = lambda: None
    ) -> None:
        """Claim the study; wait for up to `SILENCE` seconds if the last driver may still run.

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
            # The predecessor may write one last heartbeat; it stops when it reads the next one of this driver.
            if driver is not None and driver["token"] not in (self._token, self._predecessor):
                raise StorageError(
                    f"{self._bucket} is driven by {_name(driver)} now, so this driver has stopped; watch it with: "
                    f"qar status {self._bucket}"
                )
            self._confirmed = time.monotonic()

    def check(self) -> None:
        """Raise StorageError if another driver has taken over, or the store can't be reached."""
        if self._failure:
            raise self._failure
        if time.monotonic() - self._confirmed > SILENCE / 2:
            self._confirm()

    def release(self) -> None:
        """Record that this driver has ended, unless the store can't be reached or another driver has taken over."""
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
        """Remove the claim, unless the store can't be reached."""
        self._over.set()
        self._thread.join()
        with suppress(StorageError):
            self._remove()


def _name(driver: Driver) -> str:
    return f"process {driver['pid']} on {driver['hostname']}"


def _driven(bucket: BucketFolder, driver: Driver | None) -> ValueError:
    rival = _name(driver) if driver else "another process"
    return ValueError(f"{bucket} is being run by {rival}; watch it with: qar status {bucket}")
