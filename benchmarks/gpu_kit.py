"""Measure everything that needs a GPU in one run of minutes, on a machine with torch, torchvision and numpy alone.

Triton, a part of torch for GPUs, needs a C compiler and Python's headers there.

    PYTHONPATH=. python benchmarks/gpu_kit.py --data cifar10.npz --out kit [--seconds 480] [--width 1.0] [--images N]
    python benchmarks/gpu_kit.py --tables kit     # afterwards, with all packages: qar report kit/full-vgg16

Each line is written to `kit/lines.jsonl` as soon as it is known. `--parts` chooses among these, in this order:

- `checks` of `device_checks` for each family, forward transforms included: all layers at once as layer by layer,
  bitwise after a restore, captured as a graph, without a wait, side by side in a pack as alone;
- `epochs` of each family with a penalty, in turn with plain ones (`bench_epoch`);
- `steps` at K = 2, 16, 256 (`bench_regularizers`);
- `kernels` of a step, and the time for which they keep the GPU busy;
- `packs`: epochs of a small network, each trial alone and several in a pack;
- `experiment` of the paper for the time that is left (`plans`): float networks of VGG16 and AlexNet, then all arms at
  K = 4, 2, 8. Where the epochs that were timed say that K = 4 would not end in time, there are fewer epochs.

At the end the tables are printed.
"""

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from bench_epoch import timed_epochs
from bench_regularizers import timed_steps
from device_checks import CHECKS, CUDA_CHECKS, DEVICE
from measure import environment, in_turn, print_table, ratios, spread
from plans import Lines, Plan, plans_of, read_lines, train, write_studies

from trainables.config import Recipe, TrialConfig
from trainables.families import QUANTIZE_FIRST, family_of
from trainables.fused.launching import why_not
from trainables.packed.training import PackedTraining
from trainables.regularizers.registry import TRANSFORMS
from trainables.result import pre_tuning_name
from trainables.run import CompressionRun

MODELS = ("vgg16", "alexnet")
FAMILIES = ("none", "RS", "RC", "RM", "RE")
PARTS = ("checks", "epochs", "steps", "kernels", "packs", "experiment")

ARMS = ("none", QUANTIZE_FIRST, "RC", "RM", "RE", "RS")
LEVELS = (4, 2, 8)
LAMS = {"RS": 2.0, "RC": 2.0, "RM": 8.0, "RE": 512.0}
"""λ of the experiment, in half-spacings: the best of VGG16 at a quarter of its width (docs/results.md)."""
LEARNING_RATES = {"vgg16": 1e-3, "alexnet": 5e-4}
"""Learning rates of Adam in the experiment, by network; AlexNet has no batch normalization."""
FLOAT_EPOCHS, PHASE_EPOCHS = 20, 3
"""Most epochs of a float network, and of each phase of a trial of the experiment."""


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


def check(lines: Lines, arguments: argparse.Namespace) -> None:
    """Write which checks each family passes: all on a GPU, those for any device elsewhere."""
    checks = CHECKS | (CUDA_CHECKS if DEVICE == "cuda" else {})
    for family in (*FAMILIES, *TRANSFORMS):
        config = config_of(family, "alexnet", 4, arguments)
        for name, holds in checks.items():

            def run(holds: Callable[[TrialConfig], None] = holds, config: TrialConfig = config) -> dict[str, Any]:
                started = time.perf_counter()
                holds(config)
                return {"passed": True, "seconds": round(time.perf_counter() - started, 2)}

            lines.attempt("check", run, family=family, check=name)


def timed(lines: Lines, arguments: argparse.Namespace, model: str) -> dict[str, float]:
    """Write the seconds of an epoch of each family beside a plain one; return them by family, none if that fails."""
    configs = [replace(config_of(family, model, 4, arguments), regularize_epochs=1000) for family in FAMILIES]
    try:
        plain, *others = timed_epochs(configs, DEVICE, arguments.repeats)
    except Exception as error:  # such as a lack of memory; the other parts are still measured
        lines.fail("epoch", error, model=model)
        return {}
    result = {}
    for family, seconds in zip(FAMILIES, (plain, *others), strict=True):
        result[family] = statistics.median(seconds)
        ratio = statistics.median(ratios(seconds, plain))
        lines.write(part="epoch", model=model, family=family, n=len(seconds), seconds=seconds, ratio=ratio)
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
    return {"steps": rows}


def kernels(config: TrialConfig) -> dict[str, Any]:
    """Return the kernels that a captured step launches, how long they keep the GPU busy, and the longest ones."""
    steps = 20
    size = config.recipe.batch_size
    images = -(-steps * size * 10 // 9)
    run = CompressionRun(replace(config, subset=images, regularize_epochs=1000), DEVICE)
    run.train_epoch()  # captures
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        run.train_epoch()
        torch.cuda.synchronize()
    counts: Counter[str] = Counter()
    busy: Counter[str] = Counter()
    for event in profile.events():
        if str(event.device_type).endswith("CUDA"):
            counts[event.name] += 1
            busy[event.name] += event.time_range.elapsed_us()
    batches = len(run.train_split.batch_sizes(size))
    longest = [
        {"kernel": name[:80], "a_step": counts[name] / batches, "us_a_step": microseconds / batches}
        for name, microseconds in busy.most_common(12)
    ]
    total = {"kernels": counts.total() / batches, "busy_ms": busy.total() / batches / 1e3}
    return total | {"longest": longest}


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
    return {"alone": one_by_one, "packed": at_once, "gain": gain}


def full_size(model: str, arguments: argparse.Namespace) -> Plan:
    """Return the paper's experiment on a network: the float one, then all arms at each K, the most telling first."""
    recipe = Recipe(batch_size=128, learning_rate=LEARNING_RATES[model], augmentation="crop_flip", coding="huffman")
    plain = replace(
        config_of("none", model, None, arguments),
        model_options={"dropout": 0.2} if model == "alexnet" else {},
        regularize_epochs=FLOAT_EPOCHS,
        finetune_epochs=0,
        evaluate_test=True,
        recipe=recipe,
    )
    phases = {"regularize_epochs": PHASE_EPOCHS, "finetune_epochs": PHASE_EPOCHS, "init": "pretrained"}
    trials = [
        replace(
            plain,
            **phases,  # type: ignore[arg-type]
            family=family,
            num_levels=num_levels,
            lam=LAMS.get(family, 0.0),
            placement=family_of(family).default_placement,
        )
        for num_levels in LEVELS
        for family in ARMS
    ]
    return Plan(f"full-{model}", plain, trials)


def shortened(plans: list[Plan], seconds: dict[str, dict[str, float]], left: float) -> list[Plan]:
    """Return plans whose networks are trained for as many fewer epochs as lets the arms of the first K end in time.

    Args:
        plans: of `full_size`.
        seconds: of an epoch, by network and family.
        left: seconds that are left.
    """
    needed = 0.0
    for plan in plans:
        own = seconds[plan.float_network.model]
        needed += own["none"] * plan.float_network.regularize_epochs
        first = [trial for trial in plan.trials if trial.num_levels == LEVELS[0]]
        needed += sum(own.get(trial.family, own["none"]) * trial.epochs for trial in first)
    share = min(1.0, left / (1.5 * needed))  # half as much again for evaluation
    phase = max(1, int(PHASE_EPOCHS * share))
    result = []
    for plan in plans:
        epochs = max(1, int(plan.float_network.regularize_epochs * share))
        trials = [replace(trial, regularize_epochs=phase, finetune_epochs=phase) for trial in plan.trials]
        result.append(replace(plan, float_network=replace(plan.float_network, regularize_epochs=epochs), trials=trials))
    return result


def show_tables(folder: Path) -> None:
    """Print a table for each part of a run, and what failed."""
    lines = read_lines(folder)
    rows: list[list[object]] = [
        [line["family"], line["check"], "passed" if line.get("passed") else line["error"]]
        for line in lines
        if line["part"] == "check"
    ]
    print_table("Checks of training on the device", ["family", "check", "result"], rows)

    def measured(part: str) -> list[dict[str, Any]]:
        return [line for line in lines if line["part"] == part and "error" not in line]

    rows = [
        [one["model"], one["family"], one["n"], spread(one["seconds"]), f"{one['ratio']:.3f}"]
        for one in measured("epoch")
    ]
    print_table("An epoch (median [least, greatest])", ["network", "family", "n", "seconds", "ratio"], rows)
    rows = [
        [line["model"], one["family"], one["num_levels"], spread(one["regularized"]), f"{one['ratio']:.3f}"]
        for line in measured("steps")
        for one in line["steps"]
    ]
    print_table("A step (median [least, greatest])", ["network", "family", "K", "seconds", "ratio"], rows)
    rows = [
        [one["model"], one["family"], f"{one['kernels']:.0f}", f"{one['busy_ms']:.3f}"] for one in measured("kernels")
    ]
    print_table("Kernels of a step at K = 16", ["network", "family", "kernels", "GPU busy, ms"], rows)
    rows = [
        [one["together"], len(one["alone"]), spread(one["alone"]), spread(one["packed"]), f"{one['gain']:.2f}"]
        for one in measured("pack")
    ]
    header = ["trials", "n", "one by one, seconds", "in a pack, seconds", "times as many trials an hour"]
    print_table("An epoch of a small network (median [least, greatest])", header, rows)
    failed = [line for line in lines if line["part"] in ("epoch", "steps", "kernels", "pack") and "error" in line]
    if failed:
        rows = [
            [line["part"], *(line.get(name, "") for name in ("model", "family", "together")), line["error"]]
            for line in failed
        ]
        print_table("What failed", ["part", "network", "family", "trials", "error"], rows)
    rows = []
    for line in (line for line in lines if line["part"] in ("float", "trial")):
        config = line.get("config", {})
        own = [line["study"], config.get("family", "float"), config.get("num_levels", "")]
        if "error" in line:
            rows.append([*own, "", "", "", line["error"]])
            continue
        last = line["epochs"][-1]
        names = [pre_tuning_name("val_accuracy_kept"), pre_tuning_name("val_accuracy"), "val_accuracy"]
        figures = ["–" if last[name] is None else f"{last[name]:.3f}" for name in names]
        rows.append([*own, *figures, f"{last['bits_per_weight']:.2f}", last["epoch"]])
    header = ["study", "family", "K", "before tuning, kept", "before tuning", "accuracy", "bits per weight", "epochs"]
    print_table("The experiment of the paper, validation split", header, rows)


def main() -> None:
    """Parse the command line, and measure or write tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="cifar10.npz, as docs/storage.md describes")
    parser.add_argument("--out", type=Path, default=Path("kit"))
    parser.add_argument("--seconds", type=float, default=480.0)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--images", type=int, help="training images; all by default")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--tables", type=Path, metavar="FOLDER", help="write the tables of a run, and no more")
    arguments = parser.parse_args()
    if arguments.tables is not None:
        write_studies(arguments.tables, plans_of(read_lines(arguments.tables)))
        return
    if arguments.data is None or not arguments.data.exists():
        parser.error(f"--data must be an existing file, got {arguments.data}; give the path of cifar10.npz")
    if DEVICE == "cuda" and (reason := why_not()):
        parser.error(f"Triton must launch kernels on the GPU, but can't ({reason}); install gcc and Python's headers")
    try:
        lines = Lines(arguments.out, arguments.seconds)
    except ValueError as error:
        parser.error(str(error))
    lines.write(part="machine", environment=environment(), device=DEVICE)
    if "checks" in arguments.parts:
        check(lines, arguments)
    seconds: dict[str, dict[str, float]] = {}
    if "epochs" in arguments.parts:
        seconds = {model: timed(lines, arguments, model) for model in MODELS}
    if "steps" in arguments.parts:
        for model in MODELS:
            lines.attempt("steps", lambda model=model: steps(arguments, model), model=model)  # type: ignore[misc]
    if "kernels" in arguments.parts and DEVICE == "cuda":
        for model in MODELS:
            for family in FAMILIES:
                config = config_of(family, model, 16, arguments)
                lines.attempt("kernels", lambda config=config: kernels(config), model=model, family=family)  # type: ignore[misc]
    if "packs" in arguments.parts:
        config = config_of("RM", "vgg16", 4, arguments)
        for together in (2, 4):
            names = {"model": config.model, "together": together}
            lines.attempt("pack", lambda together=together: packed(config, together, arguments.repeats), **names)  # type: ignore[misc]
    if "experiment" in arguments.parts:
        plans = [full_size(model, arguments) for model in MODELS]
        were_timed = all(seconds.get(model) for model in MODELS)
        train(shortened(plans, seconds, lines.left) if were_timed else plans, DEVICE, lines)
    show_tables(arguments.out)


if __name__ == "__main__":
    main()
