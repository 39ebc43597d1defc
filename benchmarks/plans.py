"""Train the trials of planned studies one after another in one process, with torch and numpy alone: no Ray.

    python benchmarks/plans.py export STUDY.yaml... --out plans.json [--set KEY=VALUE]... [--rename OLD=NEW]
    PYTHONPATH=. python benchmarks/plans.py train plans.json --out FOLDER [--seconds 600] [--together 5]
    python benchmarks/plans.py tables FOLDER     # afterwards, with all packages: qar report FOLDER/STUDY

`export` writes the configurations of the float network and of the trials that `qar launch` trains for each study.
`train` trains them on another machine: the float networks first, then the first trial of each study, the second of
each, and so on, so that studies are equally far whenever the time is over. Trials of the same network can be trained in
a pack. Each is written as a line of `FOLDER/lines.jsonl`.
`tables` writes of these lines a folder for each study, with the tables that `qar report` reads.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import torch
from measure import environment

from trainables.config import TrialConfig
from trainables.packed.check import check_packable
from trainables.packed.training import PackedTraining
from trainables.result import EPOCH_COLUMNS, SCHEMA_VERSION, TRIAL_COLUMNS, TrialState
from trainables.run import CompressionRun

Metrics = dict[str, Any]
Item = TypeVar("Item")

PLANNED = ("family", "num_levels", "lam", "placement")
"""Fields of a planned trial."""


@dataclass(frozen=True)
class Plan:
    """The trials of a study, all of which begin from one float network.

    Attributes:
        name: of the study.
        float_network: how the float network is trained; only its first phase is.
        trials: in the order of the study, with `init: pretrained`.
        study: content of the study's study.yaml.
    """

    name: str
    float_network: TrialConfig
    trials: Sequence[TrialConfig]
    study: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON can hold it."""
        trials = [trial.to_dict() for trial in self.trials]
        return {"study": self.study | {"name": self.name}, "float": self.float_network.to_dict(), "trials": trials}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Plan":
        """Return the plan of `to_dict`."""
        trials = [TrialConfig.from_dict(trial) for trial in values["trials"]]
        return cls(values["study"]["name"], TrialConfig.from_dict(values["float"]), trials, values["study"])


class Lines:
    """Lines of results, each written and shown as soon as it is known, and the time that is left.

    Attributes:
        until: monotonic time at which the work ends.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        """Begin work of at most `seconds`, whose lines go to `folder/lines.jsonl`.

        Raises:
            ValueError: there is such a file.
        """
        self._file, self.until = folder / "lines.jsonl", time.monotonic() + seconds
        if self._file.exists():
            raise ValueError(f"--out must be a folder without lines.jsonl, got {folder}; choose another one")
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.until - time.monotonic()

    def write(self, **line: Any) -> None:
        """Write a line, and show the beginning of it."""
        text = json.dumps(line)
        print(text[:300], flush=True)
        with self._file.open("a") as file:
            file.write(text + "\n")

    def attempt(self, part: str, work: Callable[[], dict[str, Any]], **names: Any) -> None:
        """Write the names and the result of one part, or why it failed."""
        try:
            self.write(part=part, **names, **work())
        except Exception as error:
            self.fail(part, error, **names)

    def fail(self, part: str, error: Exception, **names: Any) -> None:
        """Write the names of one part, and why it failed."""
        self.write(part=part, **names, error=f"{type(error).__name__}: {error}"[:300])


def read_lines(folder: Path) -> list[dict[str, Any]]:
    """Return the lines that `Lines` wrote to a folder."""
    return [json.loads(line) for line in (folder / "lines.jsonl").read_text().splitlines()]


def train(plans: Sequence[Plan], device: str, lines: Lines, together: int = 1) -> None:
    """Train the trials of all plans while there is time, and write a line for each network that is trained.

    Lines of `part` `float` and `trial` hold the study's name and the metrics of each epoch; those of trials also the
    number in the study, the configuration and its hash. A trial that fails has an `error` instead of metrics. If the
    next networks would not end in time, as far as the longest ones before tell, a line of `part` `end` says so.

    Args:
        plans: what is trained.
        device: where.
        lines: receive the results.
        together: trials, or float networks, that are trained in a pack; their networks must be alike.

    Raises:
        ValueError: networks can't be trained in a pack.
    """
    for plan in plans if together > 1 else ():
        check_packable(plan.float_network, together)
    session = {"started": datetime.now(UTC).isoformat(timespec="seconds"), "command": " ".join(["python", *sys.argv])}
    lines.write(part="session", **session, platform=platform.platform(), environment=environment())
    floats: dict[str, dict[str, torch.Tensor]] = {}
    longest = 0.0  # seconds of an epoch
    for group in batched(plans, together):
        epochs = [plan.float_network.regularize_epochs for plan in group]
        if lines.left < 1.2 * longest * max(epochs):
            lines.write(part="end", reason="the time is over", study=group[0].name)
            return
        runs = [CompressionRun(plan.float_network, device) for plan in group]
        results = epochs_of(runs, epochs)
        for plan, run, result in zip(group, runs, results, strict=True):
            if "error" not in result:
                floats[plan.name] = {name: one.clone() for name, one in run.model.state_dict().items()}
                longest = max(longest, *(row["train_seconds"] for row in result["epochs"]))
            lines.write(part="float", study=plan.name, **result)
    for jobs in batched(trials_in_turn([plan for plan in plans if plan.name in floats]), together):
        trials = [plan.trials[number] for plan, number in jobs]
        epochs = [trial.epochs for trial in trials]
        if lines.left < 1.2 * longest * max(epochs):
            lines.write(part="end", reason="the time is over", study=jobs[0][0].name, number=jobs[0][1])
            return
        started = time.monotonic()
        runs = [CompressionRun(trial, device, floats[plan.name]) for (plan, _), trial in zip(jobs, trials, strict=True)]
        results = epochs_of(runs, epochs)
        longest = max(longest, (time.monotonic() - started) / max(epochs))
        for (plan, number), trial, result in zip(jobs, trials, results, strict=True):
            own = {"config": trial.to_dict(), "hash": trial.hash, "device": _device_name(device)}
            lines.write(part="trial", study=plan.name, number=number, **own, **result)


def epochs_of(runs: Sequence[CompressionRun], epochs: Sequence[int]) -> list[dict[str, Any]]:
    """Train each run until it has so many epochs, several in a pack; return the metrics of each, or the error."""
    pack = PackedTraining(len(runs))
    results: list[dict[str, Any]] = [{"epochs": []} for _ in runs]
    while going := {
        place: run
        for place, (run, end) in enumerate(zip(runs, epochs, strict=True))
        if run.epoch < end and "error" not in results[place]
    }:
        for place, metrics in one_epoch(going, pack).items():
            if isinstance(metrics, Exception):
                results[place] = {"error": f"{type(metrics).__name__}: {metrics}"[:300]}
            else:
                results[place]["epochs"].append(metrics)
    return results


def one_epoch(runs: dict[int, CompressionRun], pack: PackedTraining) -> dict[int, Metrics | Exception]:
    """Train an epoch of runs, by place: of a single one as trials without a pack do."""
    if len(runs) > 1:
        return pack.run_epoch(runs)
    place, run = next(iter(runs.items()))
    try:
        return {place: run.run_epoch()}
    except Exception as error:  # one line of the results; the other trials go on
        return {place: error}


def trials_in_turn(plans: Sequence[Plan]) -> Iterator[tuple[Plan, int]]:
    """Yield the first trial of each plan, then the second of each, and so on: the plan and the trial's number."""
    for number in range(max((len(plan.trials) for plan in plans), default=0)):
        yield from ((plan, number) for plan in plans if number < len(plan.trials))


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield the items in lists of `size`; the last may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else device


def study_of(plain: TrialConfig, trials: Sequence[TrialConfig]) -> dict[str, Any]:
    """Return the content of the study.yaml of trials that differ in family, K, λ and placement alone.

    Args:
        plain: the float network that they begin from.
        trials: in their order.
    """
    common = {key: value for key, value in trials[0].to_dict().items() if key not in (*PLANNED, "seed")}
    plan = [{key: getattr(trial, key) for key in PLANNED} for trial in trials]
    levels = [trial.num_levels for trial in trials if trial.num_levels is not None]
    space: dict[str, Any] = {"family": sorted({trial.family for trial in trials}), "placement": ["own"]}
    space |= {"num_levels": {"low": min(levels), "high": max(levels)}, "lam": {"low": 1.0, "high": 32.0}}
    study: dict[str, Any] = {"trials": len(trials), "seed": plain.seed, "baseline_epochs": plain.regularize_epochs}
    study |= {"trial": common, "space": space, "early_stopping": {"scheduler": "none", "grace_period": 1}}
    return study | {"plan": plan}


def plans_of(lines: Sequence[dict[str, Any]]) -> list[Plan]:
    """Return the plans of the trials that were trained, from the lines of `train`."""
    plans = []
    for line in (line for line in lines if line["part"] == "float" and "epochs" in line):
        own = [one for one in lines if one["part"] == "trial" and one["study"] == line["study"] and "epochs" in one]
        if trials := [TrialConfig.from_dict(one["config"]) for one in own]:
            lengths = {"regularize_epochs": len(line["epochs"]), "finetune_epochs": 0}
            plain = {"family": "none", "num_levels": None, "lam": 0.0, "init": "scratch"}
            network = TrialConfig.from_dict(trials[0].to_dict() | plain | lengths)
            plans.append(Plan(line["study"], network, trials, study_of(network, trials)))
    return plans


def write_studies(folder: Path, plans: Sequence[Plan], git_sha: str | None = None) -> None:
    """Write a folder for each study of which a trial was trained: its tables, study.yaml and study.json.

    Args:
        folder: where `lines.jsonl` is; the studies' folders are created in it.
        plans: of the studies.
        git_sha: commit of the software that trained them.
    """
    lines = read_lines(folder)
    for plan in plans:
        trained = [line for line in lines if line["part"] == "trial" and line["study"] == plan.name]
        if complete := [line for line in trained if "error" not in line]:
            _write_tables(folder / plan.name, complete)
            _write_origin(folder / plan.name, plan, lines, git_sha)


def _write_tables(folder: Path, trials: Sequence[dict[str, Any]]) -> None:
    """Write trials.parquet and epochs.parquet of the trials of one study."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(exist_ok=True)
    kinds = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "str": pa.string()}
    trial_rows, epoch_rows = [], []
    for line in trials:
        config, rows = line["config"], line["epochs"]
        names = {"trial_id": f"{folder.name}-{line['number']:05d}", "number": line["number"], "session": 1}
        own = {name: config[name] for name in ("family", "num_levels", "seed", "model", "dataset", "placement")}
        own["lam"] = config["lam"] or None
        own |= {"state": TrialState.COMPLETE.value, "anchor": True, "space_version": 1, "enqueued": False}
        own |= {"epochs": len(rows), "train_seconds": sum(row["train_seconds"] for row in rows)}
        trial_rows.append(rows[-1] | own | names | {"device": line["device"], "config_hash": line["hash"]})
        epoch_rows += [row | names for row in rows]
    for name, table, columns in (("trials", trial_rows, TRIAL_COLUMNS), ("epochs", epoch_rows, EPOCH_COLUMNS)):
        schema = pa.schema([pa.field(column.name, kinds[column.type]) for column in columns])
        values = [{column.name: row.get(column.name) for column in columns} for row in table]
        pq.write_table(pa.Table.from_pylist(values, schema=schema), folder / f"{name}.parquet")


def _write_origin(folder: Path, plan: Plan, lines: Sequence[dict[str, Any]], git_sha: str | None) -> None:
    """Write study.yaml, and in study.json where and by what the trials were trained."""
    import yaml

    study = {"name": plan.name} | plan.study | {"name": plan.name}
    (folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False, allow_unicode=True))
    own = [line for line in lines if line.get("study") == plan.name and "epochs" in line]
    session = next(line for line in lines if line["part"] == "session")
    *machine, packages = session["environment"].split("; ")
    sessions = [
        {
            "started": session["started"],
            "outcome": "interrupted" if any(line["part"] == "end" for line in lines) else "finished",
            "command": session["command"],
            "versions": dict(package.split(" ") for package in packages.lower().split(", ")),
            "platform": f"{session['platform']}; {'; '.join(machine)}",
            "git_sha": git_sha,
        }
    ]
    origin = {"schema_version": SCHEMA_VERSION, "seeds": [plan.float_network.seed], "sessions": sessions}
    origin["wall_seconds"] = sum(row["train_seconds"] for line in own for row in line["epochs"])
    (folder / "study.json").write_text(json.dumps(origin, indent=2) + "\n")


def exported(studies: Sequence[str], overrides: Sequence[str], old: str, new: str) -> list[Plan]:
    """Return the plans of studies, each the name of an installed study or the path of a YAML file.

    Args:
        studies: those to plan; each must have a plan and one seed.
        overrides: changes of each configuration, as KEY=VALUE.
        old: part of each study's name that is replaced.
        new: what stands in its place.

    Raises:
        ValueError: a study can't be read, or is not of that kind.
    """
    from study.config import load_study

    plans = []
    for name in studies:
        study = load_study(name, overrides)
        if not study.plan or len(study.baseline_seeds) != 1:
            raise ValueError(f"{name} must have a plan and init pretrained with one seed; launch it with qar launch")
        trials = [study.trial_config(trial.searched) for trial in study.plan]
        content = study.model_dump(mode="json")
        plans.append(Plan(study.name.replace(old, new), study.baseline_config(study.seed), trials, content))
    return plans


def main() -> None:
    """Parse the command line, and export, train or write tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    export = commands.add_parser("export", help="write the configurations of studies")
    export.add_argument("studies", nargs="+")
    export.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    export.add_argument("--rename", default="=", metavar="OLD=NEW", help="replace a part of each study's name")
    export.add_argument("--out", type=Path, required=True)
    training = commands.add_parser("train", help="train what was exported")
    training.add_argument("plans", type=Path)
    training.add_argument("--out", type=Path, required=True)
    training.add_argument("--seconds", type=float, default=600.0)
    training.add_argument("--together", type=int, default=1, help="trials in a pack")
    tables = commands.add_parser("tables", help="write the tables of what was trained")
    tables.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "export":
        plans = exported(arguments.studies, arguments.overrides, *arguments.rename.split("=", 1))
        sha = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
        content = {"git_sha": sha, "plans": [plan.to_dict() for plan in plans]}
        arguments.out.write_text(json.dumps(content, indent=1) + "\n")
        return
    path = arguments.plans if arguments.command == "train" else arguments.folder / "plans.json"
    content = json.loads(path.read_text())
    plans = [Plan.from_dict(plan) for plan in content["plans"]]
    if arguments.command == "tables":
        write_studies(arguments.folder, plans, content["git_sha"])
        return
    try:
        lines = Lines(arguments.out, arguments.seconds)
    except ValueError as error:
        parser.error(str(error))
    (arguments.out / "plans.json").write_text(path.read_text())
    train(plans, "cuda" if torch.cuda.is_available() else "cpu", lines, arguments.together)


if __name__ == "__main__":
    main()
