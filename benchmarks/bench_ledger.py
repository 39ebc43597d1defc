"""Time the recording of facts: one write for each fact that must be durable, against group commit.

    python benchmarks/bench_ledger.py [--facts N] [--workers N] [--latencies MS …] [--repeats N] [--most-seconds S]

Simulated workers train trials of four epochs: the driver records that a trial was asked for, each epoch with its
checkpoint, and the end. A worker goes on as soon as the driver lets it, so the driver is always busy. Facts are written
by the real ledger to a file, and to a store whose requests take the given time; 0 ms stands for the file alone.

- `each`: the driver waits for the write of each fact, as versions before group commit did.
- `group`: facts that gather during a write share the next one; a worker goes on once its own fact is durable.

A decision is delayed from the call that records its fact until the worker may go on.
"""

import argparse
import statistics
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any

from measure import print_table, spread

from study.config import load_study
from study.ledger.facts import ASKED, CHECKPOINT, ENDED, EPOCH, SESSION_STARTED
from study.ledger.ledger import Ledger

REGULARIZE_EPOCHS = 3
EPOCHS = 4
OVERRIDES = ["trial.regularize_epochs=3", "trial.finetune_epochs=1", "early_stopping.grace_period=1"]


class Store:
    """Copy of a ledger whose requests take a constant time."""

    def __init__(self, latency: float) -> None:
        """Create an empty store; `latency` in seconds."""
        self._latency = latency
        self.requests = 0

    def append(self, lines: bytes) -> None:
        """Wait as long as a request takes."""
        time.sleep(self._latency)
        self.requests += 1

    def check(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Driver:
    """Driver of simulated workers, which counts facts and the delays of its decisions."""

    def __init__(self, ledger: Ledger, in_groups: bool) -> None:
        """Start a session in an empty ledger."""
        config = load_study("digits", OVERRIDES)
        trial = config.trial_config({"family": "none", "num_levels": 4, "placement": "kmeans"})
        self._asked = {"anchor": False, "params": {}, "distributions": {}, "config": trial.to_dict()}
        self._asked["config_hash"] = trial.hash
        self._ledger, self._in_groups = ledger, in_groups
        self._held: deque[tuple[float, int, tuple[int, int] | None]] = deque()
        self.facts = 0
        self.delays: list[float] = []
        ledger.record(SESSION_STARTED, session=1, pid=1, hostname="head", provenance={})

    def run(self, facts: int, workers: int, most_seconds: float) -> float:
        """Let workers train until so many facts are durable, or the time is over; return facts a second."""
        began = time.perf_counter()
        ready: deque[tuple[int, int] | None] = deque([None] * workers)  # number and last epoch of the worker's trial
        while self.facts < facts and time.perf_counter() - began < most_seconds:
            if ready:
                self._handle(ready.popleft())
            else:
                time.sleep(0.0005)  # in which Ray would wait for a result
            durable = self._ledger.durable
            now = time.perf_counter()
            while self._held and self._held[0][1] <= durable:
                since, _, worker = self._held.popleft()
                self.delays.append(now - since)
                ready.append(worker)
        self._ledger.commit()
        return self.facts / (time.perf_counter() - began)

    def _handle(self, worker: tuple[int, int] | None) -> None:
        """Record what a worker has done, and hold it until that is durable."""
        began = time.perf_counter()
        after: tuple[int, int] | None
        if worker is None:
            number = len(self._ledger.history.trials)
            fact = self._record(ASKED, number=number, trial_id=f"bench-{number:05d}", **self._asked)
            after = number, 0
        elif worker[1] == EPOCHS:
            fact = self._record(ENDED, number=worker[0], state="COMPLETE", failure=None)
            after = None
        else:
            number, epoch = worker[0], worker[1] + 1
            self.facts += 1
            self._ledger.submit(EPOCH, number=number, metrics=metrics(epoch))
            fact = self._record(CHECKPOINT, number=number, epoch=epoch, path=f"ray/session-001/{number}/{epoch}")
            after = number, epoch
        self._held.append((began, fact, after))

    def _record(self, fact: str, **content: Any) -> int:
        self.facts += 1
        number = self._ledger.submit(fact, **content)
        if not self._in_groups:
            self._ledger.commit()
        return number


def metrics(epoch: int) -> dict[str, Any]:
    """Return what a trial reports after an epoch, in as many metrics as a real one."""
    return {
        "epoch": epoch,
        "phase": "regularize" if epoch <= REGULARIZE_EPOCHS else "finetune",
        "train_loss": 1.2345678901234567 / epoch,
        "penalty": 0.123456789 if epoch <= REGULARIZE_EPOCHS else None,
        "quantization_error": 0.0123456789,
        "val_accuracy": 0.87654321,
        "float_val_accuracy": 0.912345678,
        "bits_per_weight": 2.3456789,
        "index_bits_per_weight": 2.0,
        "entropy_bits_per_weight": 1.6789,
        "conv_bits_per_weight": 2.1,
        "linear_bits_per_weight": 2.2,
        "train_seconds": 12.345678,
        "artifact_bytes": 123456,
        "device": "cpu",
        "hostname": "node-1",
    }


def measure(latency: float, in_groups: bool, facts: int, workers: int, most_seconds: float) -> tuple[float, float]:
    """Return facts a second, and the 99th percentile of the delay of a decision in ms."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder, "ledger.jsonl"), Store(latency) if latency else None)
        driver = Driver(ledger, in_groups)
        rate = driver.run(facts, workers, most_seconds)
        ledger.close()
    return rate, statistics.quantiles(driver.delays, n=100)[98] * 1e3


def main() -> None:
    """Parse the arguments, measure in turn, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--facts", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--latencies", type=float, nargs="+", default=[0, 10, 50, 200], help="ms")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--most-seconds", type=float, default=10.0, help="of each run")
    arguments = parser.parse_args()
    rows = []
    for latency in arguments.latencies:
        results: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
        for _ in range(arguments.repeats):
            for in_groups, into in results.items():
                result = measure(latency / 1e3, in_groups, arguments.facts, arguments.workers, arguments.most_seconds)
                into.append(result)
        for in_groups, values in results.items():
            rates, delays = zip(*values, strict=True)
            name = "group" if in_groups else "each"
            rows.append([f"{latency:g}", name, len(rates), spread(rates, 0), spread(delays, 1)])
    header = ["latency, ms", "commit", "n", "facts a second", "p99 delay of a decision, ms"]
    print_table(f"{arguments.workers} workers, {arguments.facts} facts or {arguments.most_seconds:g} s", header, rows)


if __name__ == "__main__":
    main()
