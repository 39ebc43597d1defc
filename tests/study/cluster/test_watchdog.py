"""Verdicts over probes of Ray, without Ray."""

import itertools
import signal
import threading

import pytest

from study.cluster.watchdog import INTERVAL, REFUSALS, SLEEP, Liveness, Loss, Watchdog, loss_message
from study.interruption import interruption


def verdicts(*probes: tuple[float, bool, bool], patience: float = 20.0) -> list[Loss | None]:
    liveness = Liveness(patience)
    return [liveness.observe(*probe) for probe in probes]


def silent(begin: float, seconds: float) -> list[tuple[float, bool, bool]]:
    """Probes that nothing answers, while the node's socket is there."""
    times = itertools.takewhile(lambda now: now <= begin + seconds, itertools.count(begin, INTERVAL))
    return [(now, False, True) for now in times]


def test_cluster_is_lost_after_its_patience_and_not_before() -> None:
    assert verdicts((0.0, True, True), *silent(2.0, 16.0)) == [None] * 10
    assert verdicts((0.0, True, True), *silent(2.0, 18.0))[-1] is Loss.CONTROL


def test_answer_renews_the_patience() -> None:
    assert set(verdicts((0.0, True, True), *silent(2.0, 16.0), (20.0, True, True), *silent(22.0, 16.0))) == {None}


@pytest.mark.parametrize("control_answers", [True, False])
def test_process_that_was_stopped_asks_again_before_it_gives_up(control_answers: bool) -> None:
    """A suspended laptop, or Ctrl-Z: the clock has gone on, and nothing was asked meanwhile."""
    wake = 2.0 + 600.0
    assert verdicts((0.0, True, True), (2.0, True, True), (wake, control_answers, False)) == [None] * 3
    assert set(verdicts((0.0, True, True), (wake, False, True), *silent(wake + 2.0, 16.0))) == {None}
    assert verdicts((0.0, True, True), (wake, False, True), *silent(wake + 2.0, 20.0))[-1] is Loss.CONTROL


def test_slow_probe_is_no_stop() -> None:
    probes = [(now, False, True) for now in (0.0, SLEEP, 2 * SLEEP)]
    assert verdicts(*probes)[-1] is Loss.CONTROL


def test_dead_node_is_a_loss_long_before_the_patience_is_over() -> None:
    dead = [(INTERVAL * step, True, False) for step in range(REFUSALS)]
    assert verdicts(*dead, patience=3600.0) == [None] * (REFUSALS - 1) + [Loss.NODE]


def test_node_that_refuses_once_is_no_loss() -> None:
    assert set(verdicts(*[(INTERVAL * step, True, step % REFUSALS != 0) for step in range(10)])) == {None}


@pytest.mark.parametrize("loss", list(Loss))
def test_local_ray_is_never_advised_an_address(loss: Loss) -> None:
    message = loss_message(loss, "10.0.0.1:6379", local=True, study="studies/digits", patience=45)
    assert message.endswith("; go on with: qar resume studies/digits")
    assert "address" not in message.lower()


@pytest.mark.parametrize("loss", list(Loss))
def test_lost_cluster_is_named_with_the_way_to_go_on(loss: Loss) -> None:
    message = loss_message(loss, "10.0.0.1:6379", local=False, study="studies/digits", patience=45)
    assert "10.0.0.1:6379" in message
    assert message.endswith("go on with: qar resume studies/digits --address ADDRESS")


@pytest.mark.parametrize("received", [None, signal.SIGTERM])
def test_watch_goes_on_after_a_signal(received: signal.Signals | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal to the whole process group ends Ray too; destructors of Tune's objects then wait for it."""
    monkeypatch.setattr(interruption, "received", received)
    watchdog = Watchdog.__new__(Watchdog)  # without a Ray to connect to
    watchdog._over = threading.Event()
    watchdog.__exit__(None, None, None)
    assert watchdog._over.is_set() == (received is None)
