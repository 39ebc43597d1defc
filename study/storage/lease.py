"""The lease of a study on an object store, which has no locks: an object that the driver rewrites regularly.

Each write names the version that it replaces, and the store refuses it if there is another one by then. So of all
drivers that want a lease at the same moment, one gets it, without a wait. Only a driver that may still run is watched
first: it counts as dead if its object stays the same for `SILENCE` seconds of the watcher's clock.
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
from study.storage.object_store import BucketFolder, ConditionError, Version

NAME = "driver.json"
"""Name of the object of the lease."""
INTERVAL = 10.0
"""Seconds between two heartbeats."""
SILENCE = 45.0
"""Seconds without a heartbeat after which another driver may take over."""
GLANCE = 1.0
"""Seconds between two looks at the object of a driver that is watched."""

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
    """The right to drive a study, renewed in a thread until `release`."""

    def __init__(self, bucket: BucketFolder, say: Callable[[str], None]) -> None:
        """Claim the study, at once unless the last driver may still run, which takes up to `SILENCE` seconds to see.

        Args:
            bucket: folder of the study.
            say: called with the reason if this takes a while.

        Raises:
            ValueError: another driver runs the study, or the store disregards the conditions of writes.
            StorageError: the store can't be reached.
        """
        self._bucket = bucket
        self._token = uuid.uuid4().hex
        self._beat = 0
        self._failure: StorageError | None = None
        self._asking = threading.Lock()
        self._over = threading.Event()
        self._version = self._claim(say)
        try:
            bucket.check_conditions(NAME, self._version)
        except ValueError:
            bucket.remove(NAME)
            raise
        self._renewed = time.monotonic()
        self._thread = threading.Thread(target=self._keep, name="qar-lease", daemon=True)
        self._start()

    def _start(self) -> None:
        self._thread.start()

    def _claim(self, say: Callable[[str], None]) -> Version:
        while True:
            predecessor = self._free_version(say)
            try:
                if predecessor is None:
                    return self._bucket.create(NAME, self._sign())
                return self._bucket.replace(NAME, self._sign(), predecessor)
            except ConditionError:  # another driver has written it since, so it is alive, or has ended already
                rival = read_driver(self._bucket)
                if rival is not None and not _is_over(rival):
                    raise _driven(self._bucket, rival) from None

    def _free_version(self, say: Callable[[str], None]) -> Version | None:
        """Return the version of the object, once no driver holds the lease; None if there is no object.

        Raises:
            ValueError: another driver gives signs of life.
        """
        watched = self._bucket.read_stored(NAME)
        if watched is None or _is_over(first := json.loads(watched.content)):
            return None if watched is None else watched.version
        say(f"waiting for up to {SILENCE:.0f} s to see whether {_name(first)} still drives the study")
        until = time.monotonic() + SILENCE
        while time.monotonic() < until:
            time.sleep(GLANCE)
            now = self._bucket.read_stored(NAME)
            if now is None or _is_over(driver := json.loads(now.content)):
                return None if now is None else now.version
            if now.version != watched.version:
                raise _driven(self._bucket, driver)
        return watched.version

    def _sign(self, ended: bool = False) -> bytes:
        self._beat += 1
        sign = {"token": self._token, "hostname": socket.gethostname(), "machine": _machine(), "pid": os.getpid()}
        return json.dumps(sign | {"time": time.time(), "beat": self._beat, "ended": ended}).encode()

    def _keep(self) -> None:
        while not self._over.wait(INTERVAL):
            try:
                self._renew()
            except StorageError as failure:
                self._failure = failure
                return

    def _renew(self, ended: bool = False) -> None:
        with self._asking:
            try:
                self._version = self._bucket.replace(NAME, self._sign(ended), self._version)
            except ConditionError:
                raise self._lost() from None
            self._renewed = time.monotonic()

    def _lost(self) -> StorageError:
        driver = read_driver(self._bucket)
        return StorageError(
            f"{self._bucket} is driven by {_name(driver)} now, so this driver has stopped; watch it with: "
            f"qar status {self._bucket}"
        )

    def check(self) -> None:
        """Raise StorageError if another driver has taken over, or the store can't be reached."""
        if self._failure:
            raise self._failure
        if time.monotonic() - self._renewed > SILENCE / 2:  # this process was stopped for a while
            self._renew()

    def release(self) -> None:
        """Record that this driver has ended, unless the store can't be reached or another driver has taken over."""
        self._over.set()
        self._thread.join()
        if self._failure is None:
            with suppress(StorageError):
                self._renew(ended=True)


def _name(driver: Driver | None) -> str:
    return f"process {driver['pid']} on {driver['hostname']}" if driver else "another process"


def _driven(bucket: BucketFolder, driver: Driver | None) -> ValueError:
    return ValueError(f"{bucket} is being run by {_name(driver)}; watch it with: qar status {bucket}")
