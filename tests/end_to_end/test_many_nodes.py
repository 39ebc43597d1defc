"""A study of short trials on many nodes, whose head is killed twice with its driver.

`pytest -m chaos tests/end_to_end/test_many_nodes.py --nodes 12 --node-trials 2000` measures results a second.
"""

import json
import time
from pathlib import Path

import pytest

from analysis.load import load_epochs, load_trials
from study.ledger.facts import ENDED, SESSION_STARTED
from study.ledger.reading import read_history
from study.storage.folder import StudyFolder
from tests.support.live_clusters import LiveCluster, live_cluster
from tests.support.live_studies import PATIENCE, LiveRun
from tests.support.promises import assert_only_epochs_after_a_checkpoint_are_repeated
from trainables.result import END_STATES

pytestmark = [pytest.mark.e2e, pytest.mark.chaos, pytest.mark.netns, pytest.mark.timeout(7200)]

SHORT = (
    *("--set", "trial.init=scratch", "--set", "trial.subset=160", "--set", "trial.width=0.25"),
    *("--set", "trial.regularize_epochs=1", "--set", "trial.finetune_epochs=1"),
    *("--set", "early_stopping.scheduler=none", "--set", "early_stopping.grace_period=1"),
)
HEADS_KILLED = 2


def begin(cluster: LiveCluster, folder: StudyFolder, trials: int) -> LiveRun:
    """Launch the study on a cluster, or go on with it there."""
    if folder.exists():
        asked: tuple[str, ...] = ("resume", str(folder.path))
    else:
        asked = ("launch", "digits", "--storage", str(folder.path.parent), "--trials", str(trials), *SHORT)
    return cluster.run(*asked, "--address", cluster.address)


def wait_for_ends(run: LiveRun, folder: StudyFolder, number: int) -> None:
    """Wait until so many trials have ended; the study must make progress all the time."""
    ended, deadline = -1, time.monotonic() + PATIENCE
    while ended < number:
        latest = read_history(folder.ledger).num_ended if folder.ledger.exists() else 0
        if latest > ended:
            ended, deadline = latest, time.monotonic() + PATIENCE
        assert time.monotonic() < deadline, f"{ended} of {number} trials have ended"
        assert run.process.poll() is None or latest >= number, run.finish()
        time.sleep(1)


def rates(folder: StudyFolder) -> list[str]:
    """Return the results of each session, and how many there were a second from the first to the last."""
    times: list[list[float]] = []
    for fact in map(json.loads, folder.ledger.read_text().splitlines()):
        if fact["fact"] == SESSION_STARTED:
            times.append([])
        elif fact["fact"] == ENDED:
            times[-1].append(fact["time"])
    return [f"{len(ends)} at {(len(ends) - 1) / max(ends[-1] - ends[0], 1e-9):.1f} a second" for ends in times if ends]


def test_study_on_many_nodes_loses_and_doubles_nothing_when_its_heads_are_killed(
    tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes, trials = (request.config.getoption(name) for name in ("--nodes", "--node-trials"))
    workers = [f"worker-{number}" for number in range(1, nodes + 1)]
    folder = StudyFolder(tmp_path / "studies" / "digits")
    for killed in range(1, HEADS_KILLED + 1):
        with live_cluster(*workers, shared=tmp_path) as cluster:
            run = begin(cluster, folder, trials)
            wait_for_ends(run, folder, killed * trials // (HEADS_KILLED + 1))
            run.kill_driver()
            cluster.kill()
            run.finish()
    before = {
        number: trial for number, trial in read_history(folder.ledger).trials.items() if trial.state in END_STATES
    }
    with live_cluster(*workers, shared=tmp_path) as cluster:
        run = begin(cluster, folder, trials)
        wait_for_ends(run, folder, trials)
        ended = run.finish()
    assert ended.status == 0, ended

    history, table = read_history(folder.ledger), load_trials(folder.path)
    assert list(table["number"]) == list(range(trials)), "none is lost"
    assert set(table["state"]) <= {*END_STATES}
    assert set(table["failure"].dropna()) == set(), "none has failed because of a node"
    assert all(history.trials[number] == trial for number, trial in before.items()), "what has ended is not touched"
    assert_only_epochs_after_a_checkpoint_are_repeated(folder)
    assert not load_epochs(folder.path).duplicated(["number", "epoch"]).any(), "none is trained twice"
    assert len(history.sessions) == HEADS_KILLED + 1
    with capsys.disabled():
        print(f"\n{nodes} nodes, {HEADS_KILLED} heads killed, {trials} trials: {'; '.join(rates(folder))}")
