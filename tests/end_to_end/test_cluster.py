"""Several hosts on this machine: looked at by the doctor, used by a study, broken in many ways, and killed.

`pytest -m chaos tests/end_to_end/test_cluster.py --workers-killed 5 --heads-killed 3` kills more of them, and prints
what was done.
"""

import json
import os
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pytest

from analysis.load import load_epochs, load_trials
from study.ledger.history import History
from study.ledger.reading import read_history
from study.storage.folder import StudyFolder
from tests.support.live_clusters import Host, LiveCluster, live_cluster, networked, told_apart
from tests.support.live_studies import PATIENCE, LiveRun, epochs_by_session
from tests.support.promises import assert_only_epochs_after_a_checkpoint_are_repeated
from trainables.data.datasets import load_dataset
from trainables.result import END_STATES, TrialState

pytestmark = pytest.mark.e2e

SMALL = (
    *("--set", "trial.subset=160", "--set", "trial.width=0.25"),
    *("--set", "trial.regularize_epochs=6", "--set", "trial.finetune_epochs=2"),
    *("--set", "early_stopping.grace_period=4", "--set", "early_stopping.reduction_factor=2"),
)
TRIALS_AT_A_TIME = 32
"""Trials of a study that is killed: at first, and added on each resume."""


def told(lines: str) -> dict[str, tuple[str, str]]:
    """Return status and finding of each check that a doctor has printed, by its name; remedies are on other lines."""
    found = re.findall(r"^(pass|warn|fail) +(\S+(?: \S+)*) {2,}(.*)$", lines, re.MULTILINE)
    return {name: (status, text) for status, name, text in found}


def remedies(lines: str) -> list[str]:
    return re.findall(r"^ +→ (.+)$", lines, re.MULTILINE)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LiveCluster]:
    """A head without trials and two workers, on networks of their own where this machine allows that."""
    with live_cluster("worker-1", "worker-2", network=networked() is None) as cluster:
        yield cluster


def test_doctor_finds_nothing_on_a_healthy_cluster(cluster: LiveCluster) -> None:
    storage = cluster.shared / "nothing"
    ended = cluster.qar("doctor", "digits", "--address", cluster.address, "--storage", str(storage), "--price", "1")
    assert ended.status == 0, ended
    found = told(ended.stdout)
    assert len(found) == len(ended.stdout.splitlines()) - len(remedies(ended.stdout))
    machine = {"free disk", "/dev/shm", "open files"}  # those of the machine that this runs on, whatever they are
    assert {name: status for name, (status, _) in found.items() if status != "pass" and name not in machine} == {}
    assert found["package on all nodes"][1] == "3 of 3 nodes"
    assert found["room for trials"][1] == "2 at a time, each with 1 CPU"
    assert found["data set"][1].startswith("on 2 of 2 nodes that train")
    assert found["expected cost"][1].endswith("at 1 per node-hour")
    assert not storage.exists() or not any(storage.iterdir()), "nothing is left behind"


@pytest.mark.netns
def test_storage_that_each_host_has_for_itself_is_refused(cluster: LiveCluster) -> None:
    where = ("--address", cluster.address, "--storage", str(cluster.private / "studies"))
    ended = cluster.qar("launch", "digits", *where)
    assert ended.status == 2, ended
    status, text = told(ended.stdout)["storage"]
    assert status == "fail"
    assert all(f"{name} doesn't see the files of" in text for name in cluster.hosts)
    assert ended.stderr == "qar: the cluster can't run this study; mend what fails above, then try again\n"
    for host in cluster.hosts.values():
        assert not list(host.private.glob("studies/*")), "nothing is left behind"


def test_study_is_spread_over_hosts(cluster: LiveCluster) -> None:
    storage = cluster.shared / "studies"
    ended = cluster.qar(
        "launch", "digits", "--address", cluster.address, "--storage", str(storage), "--trials", "8", *SMALL
    )
    assert ended.status == 0, ended
    trials = load_trials(storage / "digits")
    assert set(trials["state"]) <= {TrialState.COMPLETE, TrialState.PRUNED}
    provenance = json.loads((storage / "digits" / "study.json").read_text())
    if told_apart() is None:
        assert set(trials["hostname"]) == {"worker-1", "worker-2"}
        assert provenance["sessions"][0]["driver"] == "head"


@pytest.fixture
def cluster_with_jobs() -> Iterator[LiveCluster]:
    """The same, whose head takes jobs: of ray[default], which costs each test that starts a Ray some seconds more."""
    pytest.importorskip("aiohttp_cors", reason="ray job needs: pip install 'ray[default]'")
    with live_cluster("worker-1", "worker-2", network=networked() is None, jobs=True) as cluster:
        yield cluster


def test_study_is_run_from_afar(cluster_with_jobs: LiveCluster) -> None:
    """The commands of docs/clusters.md submit, follow and stop a driver on the head from another machine."""
    cluster = cluster_with_jobs
    folder = StudyFolder(cluster.shared / "afar" / "digits")
    qar = ("--", sys.executable, "-m", "study.cli")
    options = ("--address", "auto", "--storage", str(folder.path.parent), "--trials", "40", *SMALL)
    cluster.job("submit", "--no-wait", "--submission-id", "first", *qar, "launch", "digits", *options, host="worker-1")
    wait_until(lambda: folder.ledger.exists() and read_history(folder.ledger).num_ended >= 1)
    cluster.job("stop", "first", host="worker-1")
    stopped = cluster.qar("status", str(folder.path))
    assert "finished" not in stopped.stdout
    ended = read_history(folder.ledger).num_ended
    assert 1 <= ended < 40

    resume = (*qar, "resume", str(folder.path), "--address", "auto")
    cluster.job("submit", "--no-wait", "--submission-id", "second", *resume, host="worker-1")
    followed = cluster.job("logs", "--follow", "second", host="worker-1")
    assert re.search(r"^\d+ of 40 trials: .*elapsed", followed, re.MULTILINE), "progress is told there too"
    assert "succeeded" in cluster.job("status", "second", host="worker-1")
    assert len(load_trials(folder.path)) == 40
    assert_only_epochs_after_a_checkpoint_are_repeated(folder)
    provenance = json.loads((folder.path / "study.json").read_text())
    assert [session["driver"] for session in provenance["sessions"]] == ["head" if told_apart() is None else ANY] * 2


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def write_digits(host: Host) -> None:
    """Puts a prepared data set into a folder that no other host sees."""
    digits = load_dataset("digits")
    arrays = {name: getattr(digits, name) for name in ("x_train", "y_train", "x_test", "y_test")}
    np.savez(host.private / "digits.npz", **arrays)


@pytest.mark.netns
@pytest.mark.slow
def test_host_that_joins_without_the_data_set_ends_the_study_and_fails_no_trial() -> None:
    with live_cluster("worker-1") as cluster:
        for name in ("head", "worker-1"):
            write_digits(cluster.hosts[name])
        folder = StudyFolder(cluster.shared / "studies" / "digits")
        options = ("--storage", str(folder.path.parent), "--trials", "24", *SMALL)
        where, file = ("--address", cluster.address), f"{cluster.private}/digits.npz"
        run = cluster.run("launch", "digits", *where, *options, "--set", f"trial.dataset=npz:{file}")
        run.wait_until(folder.ledger, lambda history: history.num_ended >= 1)
        cluster.add_worker("worker-2")
        ended = run.finish()
        assert ended.status == 1, ended
        *others, line = ended.stderr.splitlines()  # Ray may say something of its own on a busy machine
        assert re.search(
            rf"^qar: [\d.]+ can't load the data set: {file}: .*; or take that node away; .*qar resume", line
        ), ended
        assert not [other for other in others if "Traceback" in other or "qar" in other], ended

        write_digits(cluster.hosts["worker-2"])
        assert cluster.qar("resume", str(folder.path), *where).status == 0
        assert set(load_trials(folder.path)["state"]) <= {TrialState.COMPLETE, TrialState.PRUNED}
        assert_only_epochs_after_a_checkpoint_are_repeated(folder)


OTHER_CLOCK = "import time\nhere = time.time\ntime.time = lambda: here() + 90\n"


@pytest.fixture
def broken_cluster(tmp_path: Path) -> Iterator[LiveCluster]:
    """Three workers, each with faults that real ones have had."""
    if reason := networked():
        pytest.skip(f"hosts can't have networks of their own here: {reason}")
    outdated, empty = tmp_path / "outdated", tmp_path / "empty"
    (outdated / "optuna-4.0.0.dist-info").mkdir(parents=True)
    (outdated / "optuna-4.0.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: optuna\nVersion: 4.0.0\n"
    )
    (outdated / "sitecustomize.py").write_text(OTHER_CLOCK)
    (empty / "study").mkdir(parents=True)
    (empty / "study" / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'study'\")")

    def first(folder: Path) -> dict[str, str]:
        return {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))}

    with live_cluster(network=True, environment={"RAY_AUTH_MODE": "disabled"}) as cluster:
        write_digits(cluster.hosts["head"])
        cluster.add_worker("worker-1", "--num-cpus=64", "--num-gpus=1", environment=first(outdated))
        small = f"mkdir {cluster.folder}/worker-2/ray; ulimit -n 1024"
        for folder, size in ((f"{cluster.folder}/worker-2/ray", "256m"), ("/dev/shm", "64m")):
            small += f"; mount -t tmpfs -o size={size} tmpfs {folder}"
        cluster.add_worker("worker-2", before=small)
        cluster.add_worker("worker-3", environment=first(empty))
        cluster.cut("worker-1", "worker-2")
        yield cluster


BROKEN = {
    "package on all nodes": ("fail", "worker-3: "),  # and whatever Ray makes of that
    "versions": ("fail", "optuna 5.0.0 on 2, 4.0.0 on 1"),
    "storage": ("fail", "worker-1 doesn't see the files of "),
    "clocks": ("fail", "worker-1 +90 s"),
    "authentication": ("warn", "none on head, worker-1, worker-2"),
    "free disk": ("warn", "worker-2 0."),
    "/dev/shm": ("warn", "worker-2 0.1 of 0.1 GiB"),
    "object store": ("fail", "worker-1 can't fetch from worker-2"),
    "open files": ("warn", "worker-2 1024"),
    "threads": ("warn", "worker-1 64 CPUs for Ray on "),
    "GPUs": ("fail", "worker-1: 1 for Ray, 0 for torch"),
    "GPU fractions": ("warn", "3 trials per GPU leave 10% of it idle"),
    "data set": ("fail", "worker-1: "),
}


@pytest.mark.netns
def test_doctor_finds_all_that_is_wrong_with_a_cluster(broken_cluster: LiveCluster) -> None:
    settings = ("--set", "resources.gpus=0.3", "--set", f"trial.dataset=npz:{broken_cluster.private}/digits.npz")
    storage = str(broken_cluster.private / "studies")
    ended = broken_cluster.qar("doctor", "digits", "--address", broken_cluster.address, "--storage", storage, *settings)
    assert ended.status == 1, ended
    found = told(ended.stdout)
    for name, (status, text) in BROKEN.items():
        assert (found[name][0], name, text in found[name][1]) == (status, name, True), ended.stdout
    wrong = [name for name, (status, _) in found.items() if status != "pass"]
    assert len(remedies(ended.stdout)) == len(wrong), "each has its remedy"


def hosts_of(history: History) -> Counter[str]:
    """Epochs that each host has told of."""
    return Counter(metrics["hostname"] for trial in history.trials.values() for metrics in trial.epochs.values())


def losses(history: History) -> int:
    return sum(trial.losses for trial in history.trials.values())


def trains_on(history: History, host: str) -> bool:
    """Whether the last epoch of a trial that runs was trained there."""
    return any(trial.last.get("hostname") == host for trial in history.unfinished)


def has_lost_or_ended(history: History, host: str, losses_before: int) -> bool:
    """Whether a trial has lost its actor since, or none trains on that host any more."""
    return losses(history) > losses_before or not trains_on(history, host)


class Storm:
    """A study over hosts that join late and are killed, and that is extended whenever it is finished before that.

    Attributes:
        folder: of the study.
        kills: what was killed, and how often.
    """

    def __init__(self, folder: StudyFolder, rng: random.Random) -> None:
        self.folder = folder
        self.kills: Counter[str] = Counter()
        self._rng = rng
        self._names = (f"worker-{number}" for number in range(1, 1000))

    def name(self) -> str:
        return next(self._names)

    def begin(self, cluster: LiveCluster) -> LiveRun:
        """Launches the study on a cluster, or goes on with it there."""
        if not self.folder.exists():
            asked: tuple[str, ...] = ("launch", "digits", "--storage", str(self.folder.path.parent), *SMALL)
            asked += ("--trials", str(TRIALS_AT_A_TIME))
        else:
            asked = ("resume", str(self.folder.path))
            if read_history(self.folder.ledger).num_ended >= self.folder.read_config().trials:
                asked += ("--trials", str(TRIALS_AT_A_TIME))
        return cluster.run(*asked, "--address", cluster.address)

    def run(self, cluster: LiveCluster, workers: list[str], kills: int) -> None:
        """Kills workers in the middle of a trial, each after another has joined and got one; at last the head."""
        run = self.begin(cluster)

        def wait_until(condition: Callable[[History], bool]) -> History:
            nonlocal run
            deadline = time.monotonic() + PATIENCE
            while True:
                history = read_history(self.folder.ledger) if self.folder.ledger.exists() else History()
                if condition(history):
                    return history
                assert time.monotonic() < deadline, history
                if run.process.poll() is not None:
                    ended = run.finish()
                    assert ended.status == 0, ended
                    run = self.begin(cluster)
                time.sleep(0.05)

        for _ in range(kills):
            workers.append(self.name())
            cluster.add_worker(workers[-1])
            wait_until(lambda history: trains_on(history, workers[-1]))
            victim = workers.pop(self._rng.randrange(len(workers) - 1))
            before = losses(wait_until(partial(trains_on, host=victim)))
            cluster.hosts[victim].kill()
            self.kills["worker"] += 1
            # Unless the trial there ended in the moment before.
            wait_until(partial(has_lost_or_ended, host=victim, losses_before=before))
        wait_until(lambda history: bool(history.unfinished))
        run.kill_driver()
        cluster.kill()
        self.kills["head with its driver"] += 1
        run.finish()


@pytest.mark.chaos
@pytest.mark.netns
@pytest.mark.timeout(3600)
def test_study_survives_workers_and_heads_that_are_killed(
    tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    workers_killed, heads_killed = (request.config.getoption(name) for name in ("--workers-killed", "--heads-killed"))
    folder = StudyFolder(tmp_path / "studies" / "digits")
    storm = Storm(folder, random.Random(request.config.getoption("--chaos-seed")))
    for _ in range(heads_killed):
        workers = [storm.name(), storm.name()]
        with live_cluster(*workers, shared=tmp_path) as cluster:
            storm.run(cluster, workers, workers_killed)
    with live_cluster(storm.name(), storm.name(), shared=tmp_path) as cluster:
        ended = storm.begin(cluster).finish()
    assert ended.status == 0, ended
    assert "raylet" not in ended.stdout + ended.stderr

    history, table, trials = read_history(folder.ledger), load_trials(folder.path), folder.read_config().trials
    assert list(table["number"]) == list(range(trials)), "none is lost"
    assert set(table["state"]) <= {*END_STATES}, "each has come to its end"
    assert set(table["failure"].dropna()) == set(), "and none because of a node"
    assert_only_epochs_after_a_checkpoint_are_repeated(folder)
    assert not load_epochs(folder.path).duplicated(["number", "epoch"]).any(), "none is trained twice"
    assert len(epochs_by_session(folder.ledger)) >= heads_killed + 1
    assert losses(history) > 0, "some were killed in the middle of a trial"
    spread = hosts_of(history)
    assert len(spread) >= 2 * heads_killed + storm.kills["worker"], "every host has trained, late ones too"
    assert set(table["hostname"]) <= set(spread)
    assert len(set(table["hostname"])) > 1
    again = sum(trial.seconds_lost for trial in history.trials.values())
    states = table["state"].value_counts().to_dict()
    with capsys.disabled():
        print(f"\nkilled: {dict(storm.kills)}; {trials} trials on {len(spread)} hosts: {states}")
        print(f"{losses(history)} lost their actor; {again:.1f} s of training done again")
