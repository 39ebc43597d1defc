"""Requests to end: what a signal does, without Ray."""

import os
import signal
import subprocess
import sys
import time

import pytest

from study.interruption import SIGNALS, Interrupted, Interruption

LISTENING = """
import os, signal, sys, time
from study.interruption import Interrupted, interruption
interruption.last_words = "at once"
interruption.install()
{preparation}
try:
    print("ready", flush=True)
    for _ in range(600):  # a signal that arrives just before a sleep begins is handled when it ends
        time.sleep(0.1)
except Interrupted:
    {answer}
    sys.exit(interruption.status)
"""
SAY = "interruption.say('interrupted')"


class Run:
    """A process that waits for signals."""

    def __init__(
        self, answer: str = "interruption.say('interrupted')", preparation: str = "", prefix: str = ""
    ) -> None:
        script = LISTENING.format(answer=answer, preparation=preparation)
        self.process = subprocess.Popen(
            [*prefix.split(), sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def answer(self) -> tuple[int, str, str]:
        stdout, stderr = self.process.communicate(timeout=60)
        return self.process.returncode, stdout, stderr


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_ends_the_process_in_one_line_with_its_own_status(number: signal.Signals) -> None:
    run = Run()
    run.process.send_signal(number)
    assert run.answer() == (128 + number, "interrupted\n", "")


def test_handlers_of_a_library_are_replaced_when_installed_again() -> None:
    """Ray sets handlers of its own when it starts."""
    run = Run(preparation="signal.signal(signal.SIGTERM, lambda *_: os._exit(9)); interruption.reinstall()")
    run.process.send_signal(signal.SIGTERM)
    assert run.answer() == (143, "interrupted\n", "")


def test_ignored_hangup_stays_ignored() -> None:
    """Under nohup."""
    run = Run(prefix="env --ignore-signal=HUP", preparation="interruption.reinstall()")
    run.process.send_signal(signal.SIGHUP)
    assert run.process.poll() is None
    run.process.send_signal(signal.SIGTERM)
    assert run.answer() == (143, "interrupted\n", "")


def test_second_signal_ends_a_process_that_is_stuck() -> None:
    stuck = "print('stuck', flush=True); [time.sleep(1) for _ in range(60)]"
    run = Run(answer=stuck)
    run.process.send_signal(signal.SIGTERM)
    assert run.process.stdout is not None
    assert run.process.stdout.readline() == "stuck\n"
    while run.process.poll() is None:  # what follows at once would belong to the first
        run.process.send_signal(signal.SIGHUP)
        time.sleep(0.2)
    assert run.answer() == (129, "at once\n", "")


def test_terminal_that_is_closed_ends_with_129_and_no_traceback() -> None:
    script = LISTENING.format(preparation="", answer="print('into the void'); print('x', file=sys.stderr)")
    process, terminal = os.forkpty()
    if process == 0:
        os.execv(sys.executable, [sys.executable, "-c", script])
    while b"ready" not in os.read(terminal, 100):
        pass
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 129


class EndedError(Exception):
    pass


class Timed(Interruption):
    """An interruption with a clock of its own, which handles the signals without being installed."""

    def __init__(self) -> None:
        super().__init__(clock=lambda: self.now, end_process=self._raise)
        self.now = 0.0
        self._handled = SIGNALS

    @staticmethod
    def _raise(status: int) -> None:
        raise EndedError(status)


@pytest.fixture
def handled() -> Timed:
    return Timed()


def test_same_request_delivered_twice_is_one(handled: Timed) -> None:
    """`timeout` signals the process, then its group."""
    handled.deliver(signal.SIGTERM)
    handled.deliver(signal.SIGTERM)
    handled.now = 5.0
    with pytest.raises(EndedError, match="143"):
        handled.deliver(signal.SIGTERM)


def test_other_signals_are_none_of_its_business(handled: Timed) -> None:
    handled.deliver(signal.SIGUSR1)
    handled.now = 5.0
    handled.deliver(signal.SIGTERM)
    assert handled.received is None


def test_deferred_signal_is_raised_by_the_check_alone(handled: Timed) -> None:
    with handled.deferred():
        handled.check()
        handled._handle(signal.SIGTERM, None)
        with pytest.raises(Interrupted):
            handled.check()
    assert handled.status == 143


def test_request_from_elsewhere_ends_one_run_of_a_process_that_handles_no_signals() -> None:
    """A notebook goes on after `qar stop`, and can resume the study."""
    interruption = Interruption()
    with interruption.deferred():
        interruption.request()
        with pytest.raises(Interrupted):
            interruption.check()
    assert interruption.status == 130
    with interruption.deferred():
        interruption.check()
