"""Whether the cluster is still there: Ray itself would end the driver without a word that its user understands."""

import os
import socket
import sys
import threading
import time
from collections.abc import Callable

PATIENCE = int(os.environ.get("QAR_CLUSTER_PATIENCE", "45"))
"""Seconds without an answer of its head after which a cluster counts as lost."""
INTERVAL = 2.0
"""Seconds between two questions, and for an answer."""


class NoRayError(Exception):
    """Ray did not start on this machine; the message says what it said, and what to do."""


class Connection:
    """Asks the head of a cluster for signs of life, in a thread, for as long as it is entered as a context.

    A lost cluster ends this process at once, with one line and exit status 1: calls of Ray would wait for it, those at
    an orderly end too. Nothing is lost by that, for what happened is in the ledger.
    """

    def __init__(self, study: str, before_end: Callable[[], None] | None = None) -> None:
        """Prepares to watch the cluster that Ray is connected to.

        Args:
            study: path or URI of the study, as a shell takes it.
            before_end: leaves the terminal in order.
        """
        import ray

        self._address = ray.get_runtime_context().gcs_address
        self._study = study
        self._before_end = before_end
        self._over = threading.Event()

    def __enter__(self) -> "Connection":
        threading.Thread(target=self._watch, name="qar-connection", daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()

    def _watch(self) -> None:
        host, _, port = self._address.rpartition(":")
        answered = time.monotonic()
        while time.monotonic() - answered < PATIENCE:
            try:
                socket.create_connection((host.strip("[]"), int(port)), timeout=INTERVAL).close()
                answered = time.monotonic()
            except OSError:
                pass
            if self._over.wait(INTERVAL):
                return
        self._end()

    def _end(self) -> None:
        if self._before_end:
            self._before_end()
        print(
            f"qar: the connection to the cluster at {self._address} is lost: no answer for {PATIENCE:g} s; "
            f"once there is a cluster again, go on with: qar resume {self._study} --address ADDRESS",
            file=sys.stderr,
            flush=True,
        )
        sys.stdout.flush()
        os._exit(1)
