"""Time `qar status` and the opening of a resumed study of many trials, with a snapshot of the ledger and without.

    python benchmarks/bench_resume.py [--trials N] [--epochs N] [--repeats N] [--without-up-to N]

The ledger is written directly, with the facts of a real study: each trial is asked for, reports epochs with checkpoints
and ends; a thousand trials run at a time. Each measurement is a process of its own.

- `status`: `qar status DIR`.
- `open`: what `qar resume` does before it starts Ray: it opens the ledger, replays the rungs and creates the searcher.
- `tables`: the same, and the writing of both tables, if they are not there yet.
- `make`: `qar resume DIR` of a finished study that has only its ledger: it makes the tables and Optuna's database anew.
- `resume`: `qar resume DIR` of a finished study with all files, which has nothing to do.

Seconds of the processor, user and system, vary less than the wall's where other programs run. A study of
`--without-up-to` trials is measured in both ways, one of N trials with a snapshot, for a whole reading takes minutes.
"""

import argparse
import hashlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from measure import print_table

from study.config import StudyConfig, load_study
from study.ledger.chain import Chain
from study.ledger.facts import FACTS
from study.ledger.history import History
from study.ledger.snapshot import snapshot_of, write_snapshot
from study.storage.folder import StudyFolder

AT_ONCE = 1000

CHILD = """
import contextlib, io, sys
from pathlib import Path
from study.storage.folder import StudyFolder
folder = StudyFolder(Path(sys.argv[2]))
if sys.argv[1] == "status":
    from study.commands.status import status_of
    str(status_of(folder))
elif sys.argv[1] in ("make", "resume"):
    if sys.argv[1] == "make":
        for path in (folder.trials, folder.epochs, folder.optuna_db, folder.derived_json):
            path.unlink(missing_ok=True)
    from study.cli.app import main
    *_, place, peak_file = sys.argv
    sys.argv = ["qar", "resume", place]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            main()
    except SystemExit as end:
        if end.code:
            raise
    sys.argv = ["", "resume", place, peak_file]
else:
    from study.run.recovery import end_finished_trials
    from study.search.searcher import OptunaSearcher
    config = folder.read_config()
    ledger = folder.open_ledger(print)
    end_finished_trials(ledger, config)
    OptunaSearcher(config, ledger, folder=folder)
    if sys.argv[1] == "tables":
        from study.records.tables import write_tables
        write_tables(folder, ledger.history)
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
Path(sys.argv[3]).write_text(peak.split()[1])
"""


def lines_of(config: StudyConfig, epochs: int, folder: StudyFolder, begin: int = 0) -> Iterator[dict[str, Any]]:
    """Return the facts of a session that was interrupted after its last trial, in order; `begin` is its first trial."""
    common = {"time": 1.8e9, "elapsed": 0.0}
    session = {"session": 1, "pid": 1, "hostname": "head", "provenance": {}, "study_yaml": folder.config_digest()}
    yield {"fact": "session_started", **common, **session}
    distributions = {
        "lam": '{"name": "FloatDistribution", "attributes": {"step": null, "low": 1e-05, "high": 0.01, "log": true}}',
        "num_levels": '{"name": "IntDistribution", "attributes": {"log": true, "step": 1, "low": 2, "high": 16}}',
    }
    fixed = config.trial_config({"family": "RS", "placement": "own", "lam": 1e-4, "num_levels": 4}).to_dict()
    for first in range(begin, config.trials, AT_ONCE):
        group = range(first, min(first + AT_ONCE, config.trials))
        for number in group:
            params = {"lam": 1e-5 + 1e-8 * number, "num_levels": 2 + number % 15}
            asked = {"anchor": False, "params": params, "distributions": distributions, "config": fixed | params}
            name = {"number": number, "trial_id": f"bench-{number:05d}", "config_hash": f"{number:016x}"}
            yield {"fact": "asked", **common, **name, **asked, "sampler_state": {"trial": {}, "study": {}}}
        for epoch in range(1, epochs + 1):
            for number in group:
                yield {"fact": "epoch", **common, "number": number, "metrics": metrics(number, epoch, config)}
                path = f"ray/session-001/bench-{number:05d}-0/checkpoint_{epoch - 1:06}"
                digest = f"{number * epoch:064x}"
                yield {"fact": "checkpoint", **common, "number": number, "epoch": epoch, "path": path, "sha256": digest}
        for number in group:
            yield {"fact": "ended", **common, "number": number, "state": "COMPLETE", "failure": None}


def metrics(number: int, epoch: int, config: StudyConfig) -> dict[str, Any]:
    """Return the metrics of an epoch, in as many names and digits as a real trial's.

    Accuracy grows with the bits, and luck decides which of the trials are on the front.
    """
    share, luck = (number * 7919 % 10007) / 10007, (number * 104729 % 99991) / 99991
    regularize = epoch <= config.trial["regularize_epochs"]
    bits = 1.0 + 4.0 * share
    return {
        "epoch": epoch,
        "phase": "regularize" if regularize else "finetune",
        "train_loss": 2.0 / (epoch + share),
        "penalty": 0.1 * share / epoch if regularize else None,
        "quantization_error": 0.01 * share / epoch if regularize else None,
        "val_accuracy": 1.0 - (1.0 + luck) / (2.0 + epoch * share + bits),
        "float_val_accuracy": 1.0 - 0.1 / epoch,
        "bits_per_weight": bits,
        "index_bits_per_weight": 3.0,
        "entropy_bits_per_weight": 0.9 * bits,
        "conv_bits_per_weight": 1.1 * bits,
        "linear_bits_per_weight": 0.95 * bits,
        "train_seconds": 10.0 + share,
        "artifact_bytes": 123456,
        "device": "cpu",
        "hostname": f"node-{number % 100}",
    }


def write_study(folder: StudyFolder, config: StudyConfig, epochs: int) -> int:
    """Write a study's folder with its ledger and the snapshot of that; return the number of facts."""
    folder.create(config)
    history, chain, content = History(), Chain(), hashlib.sha256()
    with folder.ledger.open("wb") as file:
        for fact in lines_of(config, epochs, folder):
            history.apply(FACTS[fact["fact"]](**fact))
            line = chain.seal(json.dumps(fact).encode() + b"\n")
            content.update(line)
            file.write(line)
        history.position = chain.position(file.tell())
    began, processor = time.perf_counter(), time.process_time()
    write_snapshot(snapshot_of(folder.ledger), history, chain.lines, content.hexdigest())
    print(
        f"{config.trials} trials: {chain.lines} facts, ledger of {folder.ledger.stat().st_size / 1e6:.0f} MB, snapshot "
        f"of {snapshot_of(folder.ledger).stat().st_size / 1e6:.0f} MB written in {time.perf_counter() - began:.1f} s, "
        f"{time.process_time() - processor:.1f} s of the processor",
        flush=True,
    )
    return chain.lines


def measure(action: str, folder: StudyFolder) -> tuple[float, float, float]:
    """Run an action in a process; return seconds of wall and processor, and the greatest memory in GB."""
    peak = folder.path.with_name("peak")
    command = [sys.executable, "-c", CHILD, action, str(folder.path), str(peak)]
    began = time.perf_counter()
    child = os.posix_spawn(sys.executable, command, os.environ | {"OMP_NUM_THREADS": "1"})
    _, status, usage = os.wait4(child, 0)
    if status:
        raise RuntimeError(f"{action} failed")
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, int(peak.read_text()) * 1024 / 1e9


def rows_of(actions: list[str], folder: StudyFolder, repeats: int, snapshot: str) -> list[list[str]]:
    """Return a row of the table for each action: medians and ranges."""
    rows = []
    for action in actions:
        wall, processor, memory = zip(*(measure(action, folder) for _ in range(repeats)), strict=True)
        cells = [
            f"{statistics.median(values):.1f} ({min(values):.1f}–{max(values):.1f})" for values in (wall, processor)
        ]
        rows.append([folder.path.name, action, snapshot, *cells, f"{statistics.median(memory):.2f}"])
        print(" | ".join(rows[-1]), flush=True)
    return rows


def main() -> None:
    """Write the studies, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--without-up-to", type=int, default=5_000)
    parser.add_argument("--place", type=Path, help="folder for the studies; a temporary one if left out")
    parser.add_argument("--actions", nargs="+", default=["status", "open", "tables", "make", "resume"])
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(dir=arguments.place) as place:
        for trials in sorted({min(arguments.without_up_to, arguments.trials), arguments.trials}):
            finetune = arguments.epochs // 4
            overrides = [
                "name=bench",
                "trial.init=scratch",
                f"trials={trials}",
                f"trial.regularize_epochs={arguments.epochs - finetune}",
                f"trial.finetune_epochs={finetune}",
            ]
            config = load_study("digits", overrides)
            folder = StudyFolder(Path(place, str(trials)))
            write_study(folder, config, arguments.epochs)
            rows += rows_of(arguments.actions, folder, arguments.repeats, "with")
            if trials <= arguments.without_up_to:
                snapshot_of(folder.ledger).unlink()
                rows += rows_of(arguments.actions, folder, arguments.repeats, "without")
    header = ["trials", "", "snapshot", "wall, s (range)", "processor, s (range)", "memory, GB"]
    print_table(f"Trials of {arguments.epochs} epochs, n = {arguments.repeats}", header, rows)


if __name__ == "__main__":
    main()
