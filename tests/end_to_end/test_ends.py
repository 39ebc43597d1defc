"""Ends of a study that nobody has planned: signals of a batch system, and processes of Ray that are killed."""

import os
import signal
import time
from pathlib import Path

import pytest

from study.cluster.watchdog import INTERVAL, SLEEP
from study.ledger.history import History
from study.ledger.reading import read_history
from tests.support.live_studies import PATIENCE, LiveRun, processes_of
from trainables.result import TrialState

pytestmark = pytest.mark.e2e

LONG = (
    *("--trials", "1", "--set", "early_stopping.scheduler=none", "--set", "early_stopping.grace_period=1"),
    *(
        "--set",
        "baseline_epochs=1",
        "--set",
        "trial.regularize_epochs=2000",
        "--set",
        "trial.finetune_epochs=1",
        "--set",
        "trial.width=0.25",
    ),
    *("--set", "trial.subset=160"),
)
HOW_TO_GO_ON = "continue with: qar resume studies/digits"


def trains_in_session(history: History, session: int) -> bool:
    return any(session in trial.sessions.values() for trial in history.unfinished)


def agent_of(run: LiveRun) -> int:
    """Return the process id of Ray's agent for the dashboard, which names itself a while after its start."""
    until = time.monotonic() + PATIENCE
    while not (agents := processes_of(run, "ray::DashboardAgent")):
        assert time.monotonic() < until, "the agent has not started"
        time.sleep(0.2)
    return agents[0]


def test_signals_and_killed_processes_of_ray_end_a_study_in_one_line(tmp_path: Path) -> None:
    """SIGTERM to all processes, as from scancel; then the end of one of Ray's agents; then SIGHUP to the driver."""
    ledger = tmp_path / "studies" / "digits" / "ledger.jsonl"

    run = LiveRun(("launch", "digits", *LONG), tmp_path)
    run.wait_until(ledger, lambda history: trains_in_session(history, 1))
    os.killpg(run.process.pid, signal.SIGTERM)
    ended = run.finish()
    assert (ended.status, ended.stderr) == (143, ""), ended
    assert ended.stdout.splitlines()[-1] == f"interrupted; {HOW_TO_GO_ON}"

    run = LiveRun(("resume", "studies/digits"), tmp_path)
    run.wait_until(ledger, lambda history: trains_in_session(history, 2))
    os.kill(agent_of(run), signal.SIGKILL)
    ended = run.finish()
    assert ended.status == 1, ended
    (line,) = ended.stderr.splitlines()
    assert line.startswith("qar: a process of the Ray on this machine has ended")
    assert line.endswith("go on with: qar resume studies/digits")

    run = LiveRun(("resume", "studies/digits"), tmp_path)
    run.wait_until(ledger, lambda history: trains_in_session(history, 3))
    os.kill(run.process.pid, signal.SIGHUP)
    ended = run.finish()
    assert (ended.status, ended.stderr) == (129, ""), ended
    assert ended.stdout.splitlines()[-1] == f"interrupted; {HOW_TO_GO_ON}"
    (trial,) = read_history(ledger).trials.values()
    assert (trial.state, trial.failure) == (TrialState.RUNNING, None)
    assert trial.losses <= 1, "a signal is no loss"


def test_study_that_is_stopped_for_a_while_goes_on(tmp_path: Path) -> None:
    """A suspended laptop: the pause is longer than the time after which a cluster without an answer counts as lost."""
    ledger = tmp_path / "studies" / "digits" / "ledger.jsonl"
    short = ("--set", "trial.regularize_epochs=40", "--set", "trial.finetune_epochs=1", "--set", "trial.subset=160")
    arguments = ("launch", "digits", "--trials", "1", "--set", "early_stopping.scheduler=none", *short)
    run = LiveRun(arguments, tmp_path, environment={"QAR_CLUSTER_PATIENCE": str(2 * INTERVAL)})
    run.wait_until(ledger, lambda history: trains_in_session(history, 1))
    os.killpg(run.process.pid, signal.SIGSTOP)
    time.sleep(SLEEP + INTERVAL)
    os.killpg(run.process.pid, signal.SIGCONT)
    ended = run.finish()
    assert (ended.status, ended.stderr) == (0, ""), ended
    (trial,) = read_history(ledger).trials.values()
    assert (trial.state, trial.losses) == (TrialState.COMPLETE, 0)
