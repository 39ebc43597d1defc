"""Handling of signals that ask the process to end: SIGINT (Ctrl-C), SIGTERM and SIGHUP, all in the same way."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

SECONDS_OF_ONE_REQUEST = 1.0
"""Time in which further signals belong to the first: `timeout` sends one to the process and one to its group."""


class Interrupted(KeyboardInterrupt):
    """A signal has asked the process to end."""


class Interruption:
    """Requests to end the process: the first raises `Interrupted`, the second ends the process at once.

    Attributes:
        received: first signal; None before it.
        last_words: text that is printed when the process ends at once.
        before_end: function that restores the terminal when the process ends at once; None for none.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, end_process: Callable[[int], None] = os._exit
    ) -> None:
        """Prepare to handle signals; `clock` returns seconds, and `end_process` ends the process with a status."""
        self.received: signal.Signals | None = None
        self.last_words = "interrupted"
        self.before_end: Callable[[], None] | None = None
        self._clock = clock
        self._end_process = end_process
        self._first_delivery: float | None = None
        self._deferring = False
        self._handled: tuple[signal.Signals, ...] | None = None
        self._terminals: list[int] = []

    @property
    def status(self) -> int:
        """Exit status by convention: 128 plus the number of the signal."""
        return 128 + (self.received or signal.SIGINT)

    def install(self) -> None:
        """Handle the signals from now on, except those that were ignored at the first call, as under nohup.

        Call this method again after a library has installed its own handlers, as Ray's C++ code does for SIGTERM.
        Outside of the main thread, where Python can't set handlers, nothing happens.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        if self._handled is None:
            self._handled = tuple(number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN)
            self._terminals = [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]
            # The thread receives each signal even while the main thread is blocked in a library.
            receiver, sender = socket.socketpair()
            sender.setblocking(False)
            signal.set_wakeup_fd(sender.detach(), warn_on_full_buffer=False)
            threading.Thread(target=self._listen, args=(receiver,), name="qar-signals", daemon=True).start()
        for number in self._handled:
            signal.signal(number, self._handle)
        for number in set(SIGNALS) - set(self._handled):
            signal.signal(number, signal.SIG_IGN)

    def reinstall(self) -> None:
        """Install the handlers again if they were installed before."""
        if self._handled is not None:
            self.install()

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Return a context in which only `check` raises `Interrupted`, so that no write is cut off."""
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False
            if self._handled is None:  # only `request` has set it, and the process, as a notebook's, goes on
                self.received = None

    def request(self) -> None:
        """End as after Ctrl-C, as a user has asked from elsewhere; the next `check` raises `Interrupted`."""
        self.received = self.received or signal.SIGINT

    def check(self) -> None:
        """Raise Interrupted if a signal was received."""
        if self.received is not None:
            raise Interrupted

    def say(self, text: str) -> None:
        """Print a line; a closed terminal is not an error."""
        with suppress(OSError, ValueError):
            print(text, flush=True)

    def deliver(self, number: int) -> None:
        """Count a signal; the second request ends the process."""
        if self._handled is None or number not in self._handled:
            return
        now = self._clock()
        if self._first_delivery is None:
            self._first_delivery = now
        elif now - self._first_delivery > SECONDS_OF_ONE_REQUEST:
            self.end_at_once(128 + number)

    def end_at_once(self, status: int | None = None) -> None:
        """Call `before_end`, print `last_words`, and end the process without further cleanup."""
        if self.before_end:
            with suppress(Exception):
                self.before_end()
        self.say(self.last_words)
        self._end_process(self.status if status is None else status)

    def _handle(self, number: int, frame: Any) -> None:
        if self.received is not None:
            return
        self.received = signal.Signals(number)
        self._leave_closed_terminals()
        if not self._deferring:
            raise Interrupted

    def _leave_closed_terminals(self) -> None:
        """Redirect standard streams of a closed terminal to /dev/null, since writes to them would fail."""
        for descriptor in self._terminals:
            if not os.isatty(descriptor):
                with open(os.devnull, "w") as nothing:
                    os.dup2(nothing.fileno(), descriptor)

    def _listen(self, receiver: socket.socket) -> None:
        while received := receiver.recv(1):
            self.deliver(received[0])


interruption = Interruption()
"""The only instance, since a process has one set of signal handlers."""
