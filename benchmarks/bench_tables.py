"""Time a writing of the tables of a large study that runs: rows of ended trials copied, or all of them encoded again.

    python benchmarks/bench_tables.py [--trials N] [--epochs N] [--ended N] [--repeats N]

The study is that of `bench_resume.py`. Between two writings more of its trials report their epochs and end; their rows
are converted before the time is taken, as in a session. `write` is what a session does while trials run: it copies the
row groups of trials that had ended before. `finish` is what it does at its end: it encodes the rows of all trials, in
order. Both are timed in alternation, in seconds of the processor.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from bench_resume import lines_of, write_study
from measure import print_table, ratios, seconds, spread

from study.config import StudyConfig, load_study
from study.ledger.facts import ENDED
from study.ledger.ledger import Ledger
from study.records.tables import TableWriter
from study.storage.folder import StudyFolder


def linked(folder: StudyFolder) -> StudyFolder:
    """Return a second folder of the study, with the same ledger."""
    other = StudyFolder(folder.path.with_name("whole"))
    other.path.mkdir()
    os.link(folder.ledger, other.ledger)
    return other


def end_more(ledger: Ledger, config: StudyConfig, epochs: int, folder: StudyFolder, count: int) -> Iterator[list[int]]:
    """Let trials that follow the study's begin, report and end, `count` at a time; yield their numbers."""
    ended: list[int] = []
    first = len(ledger.history.trials)
    for fact in lines_of(config, epochs, folder, first):
        content = {name: value for name, value in fact.items() if name not in ("fact", "time", "elapsed")}
        if fact["fact"] == "session_started":
            content["session"] = len(ledger.history.sessions) + 1
        ledger.submit(fact["fact"], **content)
        if fact["fact"] == ENDED:
            ended.append(fact["number"])
        if len(ended) == count:
            ledger.commit()
            yield ended
            ended = []


def main() -> None:
    """Write the study, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--ended", type=int, default=500, help="trials that end between two writings")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--place", type=Path, help="folder for the study; a temporary one if left out")
    arguments = parser.parse_args()
    finetune = arguments.epochs // 4
    lengths = [f"trial.regularize_epochs={arguments.epochs - finetune}", f"trial.finetune_epochs={finetune}"]
    config = load_study("digits", ["name=bench", "trial.init=scratch", f"trials={arguments.trials}", *lengths])
    more = config.model_copy(update={"trials": arguments.trials + arguments.repeats * arguments.ended})
    with tempfile.TemporaryDirectory(dir=arguments.place) as place:
        folder = StudyFolder(Path(place, "study"))
        write_study(folder, config, arguments.epochs)
        with closing(folder.open_ledger(print)) as ledger:
            other = linked(folder)
            growing, whole = TableWriter(folder), TableWriter(other)
            growing.write(ledger.history)
            whole.finish(ledger.history)
            times: tuple[list[float], list[float]] = [], []
            for ended in end_more(ledger, more, arguments.epochs, folder, arguments.ended):
                for writer in (growing, whole):
                    writer.convert(ledger.history, ended)
                times[0].append(seconds(lambda: growing.write(ledger.history), time.process_time))
                times[1].append(seconds(lambda: whole.finish(ledger.history), time.process_time))
            sizes = [sum(path.stat().st_size for path in (one.trials, one.epochs)) / 1e6 for one in (folder, other)]
    rows = [
        ["write", spread(times[0]), spread(ratios(times[0], times[1])), f"{sizes[0]:.0f}"],
        ["finish", spread(times[1]), "1", f"{sizes[1]:.0f}"],
    ]
    title = f"{arguments.trials} trials of {arguments.epochs} epochs, n = {len(times[0])}"
    print_table(title, ["", "processor, s", "ratio to finish", "both files, MB"], rows)


if __name__ == "__main__":
    main()
