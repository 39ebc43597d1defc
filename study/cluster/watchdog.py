"""Watchdog over Ray: without it, a driver whose Ray has ended waits for ever, or ends without a clear message."""

import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from study.interruption import interruption

PATIENCE = float(os.environ.get("QAR_CLUSTER_PATIENCE", "45"))
"""Seconds without an answer of its control service after which a cluster counts as lost."""

INTERVAL = 2.0
"""Seconds between two probes, and for the answer to one."""

SLEEP = 5 * INTERVAL
"""Seconds between two probes above which this process was stopped in between, as on a suspended laptop."""

REFUSALS = 3
"""Consecutive probes that must find the node dead before it counts as dead."""


class Loss(Enum):
    """Part of Ray that has ended or gives no answer."""

    CONTROL = "control service"
    NODE = "node"


@dataclass
class Liveness:
    """Verdict over a sequence of probes.

    Attributes:
        patience: seconds without an answer of the control service after which it counts as lost.
    """

    patience: float = PATIENCE
    _probed: float | None = None
    _answered: float = 0.0
    _refusals: int = 0

    def observe(self, now: float, control_answers: bool, node_lives: bool) -> Loss | None:
        """Record a probe and return what is lost; None if nothing is.

        Args:
            now: seconds of a monotonic clock.
            control_answers: whether the control service accepts connections.
            node_lives: whether the node that this driver is attached to is alive.
        """
        if self._probed is None or now - self._probed > SLEEP:
            # There were no probes while this process was stopped, and Ray needs time to wake up too.
            self._answered, self._refusals = now, 0
        self._probed = now
        if control_answers:
            self._answered = now
        self._refusals = 0 if node_lives else self._refusals + 1
        if self._refusals >= REFUSALS:
            return Loss.NODE
        return Loss.CONTROL if now - self._answered >= self.patience else None


def loss_message(loss: Loss, address: str, local: bool, study: str, patience: float) -> str:
    """Return the line that ends the driver.

    Args:
        loss: part of Ray that is lost.
        address: address of the control service.
        local: whether this driver started Ray itself.
        study: path or URI of the study, as a shell takes it.
        patience: seconds without an answer.
    """
    if local:
        event = (
            "a process of the Ray on this machine has ended, killed or out of memory"
            if loss is Loss.NODE
            else f"the Ray on this machine has given no answer for {patience:g} s"
        )
        return f"{event}; go on with: qar resume {study}"
    if loss is Loss.NODE:
        return (
            f"the Ray node on this machine, of the cluster at {address}, has ended; start it again with `ray start`, "
            f"then go on with: qar resume {study} --address ADDRESS"
        )
    return (
        f"the connection to the cluster at {address} is lost: no answer for {patience:g} s; "
        f"once there is a cluster again, go on with: qar resume {study} --address ADDRESS"
    )


class Watchdog:
    """Thread that probes Ray inside a context.

    If Ray is lost, it ends this process at once, with one line and exit status 1: every call of Ray, also those of an
    orderly end, would wait. No result is lost, since the ledger holds them all.
    """

    def __init__(self, study: str, local: bool, before_end: Callable[[], None] | None = None) -> None:
        """Prepare to probe the Ray that this process is connected to.

        Args:
            study: path or URI of the study, as a shell takes it.
            local: whether this process started Ray itself.
            before_end: restores the terminal.
        """
        import ray
        from ray._private.worker import global_worker

        self._address = ray.get_runtime_context().gcs_address
        self._study = study
        self._local = local
        self._before_end = before_end
        self._worker = global_worker
        self._raylet = Path(global_worker.node.raylet_socket_name.removeprefix("unix://"))
        self._node = ray.NodeID.from_hex(ray.get_runtime_context().get_node_id())
        self._over = threading.Event()

    def __enter__(self) -> "Watchdog":
        """Start the thread."""
        threading.Thread(target=self._watch, name="qar-watchdog", daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop the thread after its current probe, except after a signal.

        The signal may have ended Ray too. A destructor that calls Ray, as that of Tune's placement groups does, would
        then wait until Ray's C++ aborts the process, so the thread goes on until the process ends.
        """
        if interruption.received is None:
            self._over.set()

    def _watch(self) -> None:
        liveness = Liveness()
        while not self._over.is_set():
            answers = self._control_answers()
            loss = liveness.observe(time.monotonic(), answers, self._node_lives(answers))
            if loss is not None and not self._over.is_set():
                self._end(loss)
            self._over.wait(INTERVAL)

    def _control_answers(self) -> bool:
        host, _, port = self._address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=INTERVAL).close()
        except OSError:
            return False
        return True

    def _node_lives(self, control_answers: bool) -> bool:
        """Return whether the node's process accepts connections, and the control service counts it as alive.

        This covers the agents of the node, because the node ends when one of them has ended.
        """
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(INTERVAL)
                connection.connect(str(self._raylet))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:  # the node is busy
            return True
        if control_answers:
            with suppress(Exception):  # a control service without an answer is not a dead node
                (alive,) = self._worker.gcs_client.check_alive([self._node], timeout=INTERVAL)
                return bool(alive)
        return True

    def _end(self, loss: Loss) -> None:
        if interruption.received is not None:  # the signal may have reached Ray's processes first
            interruption.end_at_once()
        if self._before_end:
            self._before_end()
        message = loss_message(loss, self._address, self._local, self._study, PATIENCE)
        with suppress(OSError):
            print(f"qar: {message}", file=sys.stderr, flush=True)
            sys.stdout.flush()
        if self._local:
            end_local_processes()
        os._exit(1)


def end_local_processes() -> None:
    """Kill the remaining processes of the Ray that this process started, without a call that could wait for them."""
    from ray._private import worker

    node: Any = worker._global_node
    if node is None:
        return
    ending = threading.Thread(
        target=lambda: node.kill_all_processes(check_alive=False, allow_graceful=False), daemon=True
    )
    ending.start()
    ending.join(INTERVAL)
