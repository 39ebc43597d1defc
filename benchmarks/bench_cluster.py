"""Measure the overhead of a cluster, with trials that sleep on several Ray nodes of one CPU each on this machine.

    python benchmarks/bench_cluster.py [--repeats N] [--parts scaling first-epoch large]

`scaling`: trials per second on 1, 2 and 4 nodes. `first-epoch`: time from `qar launch` to the first epoch, on a new
local Ray and on a running cluster. `large`: a study of 1,000 trials on 8 nodes.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from bench_overhead import NoOp
from measure import print_table, spread
from ray.cluster_utils import Cluster
from rich.console import Console

from study.config import load_study
from study.ledger.facts import ENDED, EPOCH, SESSION_STARTED
from study.ledger.reading import read_history
from study.run.options import RunOptions
from study.run.session import run_study
from study.run.study_run import StudyRun
from study.storage.folder import StudyFolder
from trainables.result import TrialState

EPOCHS = 2
OBJECT_STORE = 100 * 2**20


@contextmanager
def cluster_of(nodes: int) -> Iterator[str]:
    """Start a cluster and yield its address: a head that runs no trials, and nodes of one CPU, each a raylet."""
    # In Ray's default folder, this cluster would be the one that `--address auto` finds on this machine.
    folder = tempfile.mkdtemp(prefix="qar-")
    head = {"num_cpus": 0, "object_store_memory": OBJECT_STORE, "temp_dir": folder}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(nodes):
            cluster.add_node(num_cpus=1, object_store_memory=OBJECT_STORE, wait=False)
        cluster.wait_for_nodes()
        yield str(cluster.address)
    finally:
        ray.shutdown()
        cluster.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def sleeping(seconds: float) -> type[NoOp]:
    """Return a Trainable of `EPOCHS` epochs that sleeps for the given seconds in total."""

    class Sleeping(NoOp):
        def setup(self, config: dict[str, Any]) -> None:
            super().setup(config)
            self._epoch = 0

        def step(self) -> dict[str, Any]:
            time.sleep(seconds / EPOCHS)
            self._epoch += 1
            return super().step() | {"epoch": self._epoch, "done": self._epoch == EPOCHS}

    return Sleeping


def facts_of(folder: StudyFolder, name: str) -> list[dict[str, Any]]:
    """Return the facts of one kind in a study's ledger; empty if there is no ledger yet."""
    if not folder.ledger.exists():
        return []
    lines = folder.ledger.read_text().split("\n")[:-1]
    return [fact for fact in map(json.loads, lines) if fact["fact"] == name]


def share_of_ideal(nodes: int, trials: int, seconds: float) -> tuple[float, float, float]:
    """Run a study of sleeping trials, and return its rate.

    Args:
        nodes: number of nodes.
        trials: number of trials.
        seconds: duration of each trial.

    Returns:
        Trials per second, measured from when every node may have ended a trial to the last end; this rate as a share of
        the ideal `nodes / seconds`; and the share of the session's wall time in which a node is busy.
    """
    settings = [f"trial.regularize_epochs={EPOCHS - 1}", "trial.finetune_epochs=1", f"trials={trials}"]
    settings += ["early_stopping.scheduler=none", "early_stopping.grace_period=1", "space.num_levels.high=65536"]
    config = load_study("digits", settings)
    with cluster_of(nodes) as address, tempfile.TemporaryDirectory() as storage:
        folder = StudyFolder(Path(storage) / "sleeping")
        folder.create(config)
        with open(os.devnull, "w") as nowhere:
            options = RunOptions(address=address, console=Console(file=nowhere))
            run_study(StudyRun(folder=folder, config=config, options=options), trainable=sleeping(seconds))
        history = read_history(folder.ledger)
        assert history.count(TrialState.COMPLETE) == trials
        ends = [fact["time"] for fact in facts_of(folder, ENDED)]
        started = facts_of(folder, SESSION_STARTED)[0]["time"]
    rate = (trials - nodes) / (ends[-1] - ends[nodes - 1])
    return rate, rate * seconds / nodes, trials * seconds / nodes / (ends[-1] - started)


def seconds_to_first_epoch(address: str | None) -> tuple[float, float]:
    """Return the seconds from the start of `qar launch digits` to its session, and to its first epoch."""
    with tempfile.TemporaryDirectory() as storage:
        folder = StudyFolder(Path(storage) / "digits")
        command = [sys.executable, "-m", "study.cli", "launch", "digits", "--storage", storage]
        began = time.time()
        process = subprocess.Popen(
            command + (["--address", address] if address else []), stdout=subprocess.DEVNULL, start_new_session=True
        )
        while not (epochs := facts_of(folder, EPOCH)):
            assert process.poll() is None, "the study has ended"
            time.sleep(0.02)
        session = facts_of(folder, SESSION_STARTED)[0]["time"]
        os.killpg(process.pid, signal.SIGINT)
        process.wait()
        return session - began, epochs[0]["time"] - began


def scaling(repeats: int, seconds: float, trials: int) -> None:
    """Print the trials per second on 1, 2 and 4 nodes, with `trials` trials per node."""
    measured: dict[int, list[tuple[float, float, float]]] = {1: [], 2: [], 4: []}
    for _ in range(repeats):
        for nodes, into in measured.items():
            into.append(share_of_ideal(nodes, trials * nodes, seconds))
    rows = [
        [nodes, trials * nodes, len(runs), nodes / seconds, *(spread([run[place] for run in runs]) for place in (0, 1))]
        for nodes, runs in measured.items()
    ]
    title = f"trials of {seconds:g} s that sleep, on nodes of one CPU"
    print_table(title, ["nodes", "trials", "n", "ideal, 1/s", "trials a second", "share of the ideal"], rows)


def first_epoch(repeats: int) -> None:
    """Print the time from `qar launch` to the first epoch, on a new local Ray and on a running cluster."""
    own: list[tuple[float, float]] = []
    running: list[tuple[float, float]] = []
    with cluster_of(2) as address:
        for _ in range(repeats):
            own.append(seconds_to_first_epoch(None))
            running.append(seconds_to_first_epoch(address))
    rows = [
        [name, len(runs), spread([run[0] for run in runs], 1), spread([run[1] for run in runs], 1)]
        for name, runs in (("new local Ray", own), ("--address, 2 nodes", running))
    ]
    print_table("from qar launch digits", ["Ray", "n", "to the session, s", "to the first epoch, s"], rows)


def large(trials: int, nodes: int, seconds: float) -> None:
    """Print the rate of one large study."""
    rate, share, asleep = share_of_ideal(nodes, trials, seconds)
    header = ["nodes", "trials", "n", "ideal, 1/s", "trials a second", "share of the ideal", "bookkeeping, whole run"]
    row = [nodes, trials, 1, f"{nodes / seconds:.2f}", f"{rate:.2f}", f"{share:.3f}", f"{1 - asleep:.1%}"]
    print_table(f"trials of {seconds:g} s that sleep", header, [row])


def main() -> None:
    """Parse the command line, run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ("scaling", "first-epoch", "large")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="duration of each trial")
    parser.add_argument("--trials", type=int, default=8, help="trials per node in the part `scaling`")
    parser.add_argument("--large", type=int, default=1000, help="trials in the part `large`")
    arguments = parser.parse_args()
    if "scaling" in arguments.parts:
        scaling(arguments.repeats, arguments.seconds, arguments.trials)
    if "first-epoch" in arguments.parts:
        first_epoch(arguments.repeats)
    if "large" in arguments.parts:
        large(arguments.large, 8, arguments.seconds)


if __name__ == "__main__":
    main()
