"""Measure everything that needs a GPU in one run of minutes, on a machine with torch, torchvision and numpy alone.

Triton, a part of torch for GPUs, needs a C compiler and Python's headers there.

    PYTHONPATH=. python benchmarks/gpu_kit.py --data cifar10.npz --out kit [--seconds 480] [--width 1.0] [--images N]
    python benchmarks/gpu_kit.py --tables kit     # afterwards, with all packages: qar report kit/vgg16

In this order, each line written as soon as it is known, to `kit/lines.jsonl`: the checks of `device_checks` for each
family, forward transforms included (all layers at once as layer by layer, bitwise after a restore, captured as a graph,
without a wait); seconds of an epoch of each family with a penalty, in turn with plain ones (`bench_epoch`), and of a
step at K = 2, 16, 256 (`bench_regularizers`); those of epochs of a small network, each trial alone and several in a
pack; and, for the time that is left, the experiment of the paper, planned by the epochs that were timed: float networks
of VGG16 and AlexNet, then `none` and the families at K = 2, 4, 8. At the end its tables are printed.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench_epoch import timed_epochs
from bench_regularizers import timed_steps
from device_checks import CHECKS, CUDA_CHECKS, DEVICE
from measure import environment, in_turn, print_table, ratios, spread

from trainables.config import Recipe, TrialConfig
from trainables.families import family_of
from trainables.fused.launching import why_not
from trainables.packed.training import PackedTraining
from trainables.regularizers.registry import TRANSFORMS
from trainables.result import pre_tuning_name
from trainables.run import CompressionRun

MODELS = ("vgg16", "alexnet")
FAMILIES = ("none", "RS", "RC", "RM", "RE")
LEVELS = (2, 4, 8)


class Kit:
    """Lines of results, and the time that is left.

    Attributes:
        folder: where `lines.jsonl` is written.
        until: monotonic time at which the kit ends.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        """Begin a run of at most `seconds`."""
        self.folder, self.until = folder, time.monotonic() + seconds
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.until - time.monotonic()

    def write(self, **line: Any) -> None:
        """Write and show one line."""
        text = json.dumps(line)
        print(text, flush=True)
        with (self.folder / "lines.jsonl").open("a") as file:
            file.write(text + "\n")

    def attempt(self, part: str, work: Callable[[], dict[str, Any]], **names: Any) -> None:
        """Write the names and the result of one part, or why it failed."""
        try:
            self.write(part=part, **names, **work())
        except Exception as error:
            self.write(part=part, **names, error=f"{type(error).__name__}: {error}"[:300])


def config_of(family: str, model: str, num_levels: int | None, arguments: argparse.Namespace) -> TrialConfig:
    """Return a trial of the experiment, with a regularize phase of one epoch."""
    return TrialConfig(
        family=family,
        num_levels=num_levels,
        lam=8.0 if family_of(family).has_penalty else 0.0,
        placement="kmeans" if family == "none" else "own",
        model=model,
        width=arguments.width,
        dataset=f"npz:{arguments.data}",
        subset=arguments.images,
        validation_fraction=0.1,
        regularize_epochs=1,
        finetune_epochs=1,
        recipe=Recipe(batch_size=128, optimizer="sgd", learning_rate=1e-2, augmentation="crop_flip", coding="huffman"),
    )


def check(kit: Kit, arguments: argparse.Namespace) -> None:
    """Write which checks each family passes: all on a GPU, those for any device elsewhere."""
    checks = CHECKS | (CUDA_CHECKS if DEVICE == "cuda" else {})
    for family in (*FAMILIES, *TRANSFORMS):
        config = config_of(family, "alexnet", 4, arguments)
        for name, holds in checks.items():

            def run(holds: Callable[[TrialConfig], None] = holds, config: TrialConfig = config) -> dict[str, Any]:
                started = time.perf_counter()
                holds(config)
                return {"passed": True, "seconds": round(time.perf_counter() - started, 2)}

            kit.attempt("check", run, family=family, check=name)


def timed(kit: Kit, arguments: argparse.Namespace, model: str) -> dict[str, float]:
    """Write the seconds of an epoch of each family beside a plain one; return them by family."""
    configs = [replace(config_of(family, model, 4, arguments), regularize_epochs=1000) for family in FAMILIES]
    plain, *others = timed_epochs(configs, DEVICE, arguments.repeats)
    result = {}
    for family, seconds in zip(FAMILIES, (plain, *others), strict=True):
        result[family] = statistics.median(seconds)
        ratio = statistics.median(ratios(seconds, plain))
        kit.write(part="epoch", model=model, family=family, n=len(seconds), seconds=seconds, ratio=ratio)
    return result


def steps(arguments: argparse.Namespace, model: str) -> dict[str, Any]:
    """Return the seconds of plain and of regularized steps of each family and K, and the medians of their ratios."""
    rows = [
        {"family": family, "num_levels": num_levels, "plain": plain, "regularized": regularized}
        | {"ratio": statistics.median(ratios(regularized, plain))}
        for family, num_levels, plain, regularized in timed_steps(
            model, FAMILIES[1:], arguments.repeats, arguments.width
        )
    ]
    return {"model": model, "steps": rows}


def packed(config: TrialConfig, together: int, repeats: int) -> dict[str, Any]:
    """Return the seconds of an epoch of several trials of a small network, one after another and in a pack."""
    recipe = replace(config.recipe, batch_size=64)
    images = min(config.subset or 10_000, 10_000)
    small = replace(config, width=config.width / 4, subset=images, regularize_epochs=1000, recipe=recipe)
    alone, members = ([CompressionRun(small, DEVICE) for _ in range(together)] for _ in range(2))
    training = PackedTraining(together)

    def train_alone() -> None:
        for run in alone:
            run.run_epoch()

    def train_together() -> None:
        for metrics in training.run_epoch(dict(enumerate(members))).values():
            if isinstance(metrics, Exception):
                raise metrics

    one_by_one, at_once = in_turn([train_alone, train_together], repeats)
    gain = statistics.median(ratios(one_by_one, at_once))
    return {"model": config.model, "together": together, "alone": one_by_one, "packed": at_once, "gain": gain}


def trials(arguments: argparse.Namespace) -> Iterator[TrialConfig]:
    """Yield the trials of the experiment, the most telling first: of each network the float one, then by K."""
    for model in MODELS:
        yield config_of("none", model, None, arguments)
        for num_levels in LEVELS:
            for family in FAMILIES:
                yield config_of(family, model, num_levels, arguments)


def experiment(kit: Kit, arguments: argparse.Namespace, seconds: dict[str, dict[str, float]]) -> None:
    """Train the trials, each for as many epochs as let all of them end in time, and while there is time."""
    todo = list(trials(arguments))
    needed = sum(2 * 1.5 * seconds[config.model][config.family] for config in todo)
    epochs = max(1, min(30, int(kit.left / needed)))
    kit.write(part="plan", trials=len(todo), epochs_of_each_phase=epochs)
    baselines: dict[str, Any] = {}
    for number, config in enumerate(todo):
        if kit.left < 3 * epochs * seconds[config.model][config.family]:
            kit.write(part="end", reason="the time is over", trials=number)
            return
        config = replace(config, regularize_epochs=epochs, finetune_epochs=epochs if config.num_levels else 0)
        initial = baselines.get(config.model)
        if initial is not None:
            config = replace(config, init="pretrained")

        def train(config: TrialConfig = config, number: int = number, initial: Any = initial) -> dict[str, Any]:
            run = CompressionRun(config, DEVICE, initial)
            rows = []
            while not run.finished:
                rows.append(run.run_epoch())
            if config.num_levels is None:
                baselines[config.model] = {name: one.clone() for name, one in run.model.state_dict().items()}
            return {"number": number, "config": config.to_dict(), "hash": config.hash, "epochs": rows}

        kit.attempt("trial", train, model=config.model, family=config.family, num_levels=config.num_levels)


def show_tables(folder: Path) -> None:
    """Print the tables of a run: checks, epochs and trials."""
    lines = [json.loads(line) for line in (folder / "lines.jsonl").read_text().splitlines()]
    checks = [line for line in lines if line["part"] == "check"]
    rows: list[list[object]] = [
        [line["family"], line["check"], "passed" if line.get("passed") else line["error"]] for line in checks
    ]
    print_table("Checks of training on the device", ["family", "check", "result"], rows)
    epochs = [line for line in lines if line["part"] == "epoch"]
    rows = [[one["model"], one["family"], one["n"], spread(one["seconds"]), f"{one['ratio']:.2f}"] for one in epochs]
    print_table("An epoch (median [least, greatest])", ["network", "family", "n", "seconds", "ratio"], rows)
    rows = [
        [line["model"], one["family"], one["num_levels"], spread(one["regularized"]), f"{one['ratio']:.2f}"]
        for line in lines
        if line["part"] == "step" and "error" not in line
        for one in line["steps"]
    ]
    print_table("A step (median [least, greatest])", ["network", "family", "K", "seconds", "ratio"], rows)
    rows = []
    for line in (line for line in lines if line["part"] == "trial"):
        if "error" in line:
            rows.append([line["model"], line["family"], line["num_levels"], "", "", "", line["error"]])
            continue
        last = line["epochs"][-1]
        before = last[pre_tuning_name("val_accuracy")]
        figures = ["–" if value is None else f"{value:.3f}" for value in (before, last["val_accuracy"])]
        own = [line["model"], line["family"], line["num_levels"] or "float"]
        rows.append([*own, *figures, f"{last['bits_per_weight']:.2f}", last["epoch"]])
    header = ["network", "family", "K", "before tuning", "accuracy", "bits per weight", "epochs"]
    print_table("The experiment of the paper, validation split", header, rows)


def write_tables(folder: Path) -> None:
    """Write a folder for each network with the tables that `qar report` reads, from the lines of a run."""
    lines = [json.loads(line) for line in (folder / "lines.jsonl").read_text().splitlines()]
    trials = [line for line in lines if line["part"] == "trial" and "error" not in line]
    for model in {line["model"] for line in trials}:
        own = folder / model
        own.mkdir(exist_ok=True)
        write_study(own, [line for line in trials if line["model"] == model])


def write_study(folder: Path, trials: list[dict[str, Any]]) -> None:
    """Write the tables of the trials of one network, which are compared with each other alone."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from trainables.result import EPOCH_COLUMNS, TRIAL_COLUMNS

    kinds = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "str": pa.string()}
    trial_rows, epoch_rows = [], []
    for line in trials:
        config, rows = line["config"], line["epochs"]
        names = {"trial_id": f"kit{line['number']:03d}", "number": line["number"], "session": 0}
        own = {name: config[name] for name in ("family", "num_levels", "seed", "model", "dataset")}
        own["placement"] = config["placement"] if config["num_levels"] else None
        own["lam"] = None if config["family"] == "none" else config["lam"]
        seconds = sum(row["train_seconds"] for row in rows)
        own |= {"state": "COMPLETE", "anchor": False, "epochs": len(rows), "config_hash": line["hash"]}
        trial_rows.append(rows[-1] | own | names | {"train_seconds": seconds, "device": DEVICE})
        epoch_rows += [row | names for row in rows]
    for name, rows, columns in (("trials", trial_rows, TRIAL_COLUMNS), ("epochs", epoch_rows, EPOCH_COLUMNS)):
        schema = pa.schema([pa.field(column.name, kinds[column.type]) for column in columns])
        values = [{column.name: row.get(column.name) for column in columns} for row in rows]
        pq.write_table(pa.Table.from_pylist(values, schema=schema), folder / f"{name}.parquet")
    (folder / "study.yaml").write_text(f"name: {folder.resolve().name}\n")


def main() -> None:
    """Parse the command line, and measure or write tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="cifar10.npz, as docs/storage.md describes")
    parser.add_argument("--out", type=Path, default=Path("kit"))
    parser.add_argument("--seconds", type=float, default=480.0)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--images", type=int, help="training images; all by default")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tables", type=Path, metavar="FOLDER", help="write the tables of a run, and no more")
    arguments = parser.parse_args()
    if arguments.tables is not None:
        write_tables(arguments.tables)
        return
    if arguments.data is None or not arguments.data.exists():
        parser.error(f"--data must be an existing file, got {arguments.data}; give the path of cifar10.npz")
    if DEVICE == "cuda" and (reason := why_not()):
        parser.error(f"Triton must launch kernels on the GPU, but can't ({reason}); install gcc and Python's headers")
    kit = Kit(arguments.out, arguments.seconds)
    kit.write(part="machine", environment=environment(), device=DEVICE)
    check(kit, arguments)
    seconds = {model: timed(kit, arguments, model) for model in MODELS}
    for model in MODELS:
        kit.attempt("step", lambda model=model: steps(arguments, model))  # type: ignore[misc]
    for together in (2, 4):
        kit.attempt(
            "packed",
            lambda together=together: packed(config_of("RM", "vgg16", 4, arguments), together, arguments.repeats),  # type: ignore[misc]
        )
    experiment(kit, arguments, seconds)
    show_tables(arguments.out)


if __name__ == "__main__":
    main()
