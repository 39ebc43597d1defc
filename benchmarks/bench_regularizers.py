"""Measure the cost of a family: training steps of its regularize phase against plain ones, in alternation.

    python benchmarks/bench_regularizers.py [--repeats N] [--models vgg16 alexnet] [--families RM RE] [--threads T]

Batch 128 of 32×32 colour images, float32, SGD with Nesterov momentum, for every family and K in {2, 16, 256}. The
weights are those of a newly initialized network. A second table holds the peak memory that one call adds, by K.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from measure import in_turn, print_table, ratios, spread
from torch.nn.functional import cross_entropy

from trainables.compiled.phase import CompiledRegularizePhase
from trainables.config import PenaltyForm, Recipe, TrialConfig
from trainables.families import FAMILIES
from trainables.fused.phases import FusedRegularizePhase, is_fused_by_default
from trainables.models import build_model, quantized_weights
from trainables.phases import Phase
from trainables.phases.schedule import PhaseSchedule
from trainables.regularizers.protocol import Regularizer, WeightTransform
from trainables.regularizers.registry import QUANTIZERS

LEVELS = (2, 16, 256)
BATCH = 128


def stepper(model: torch.nn.Module, family: str, num_levels: int) -> Callable[[], None]:
    """Return a function that runs one training step of `model` in the regularize phase of a family.

    It is the phase that a trial has on the device: on a GPU, that of all layers at once; on a CPU, that of the loops.
    """
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(BATCH, 3, 32, 32, generator=generator).to(device, memory_format=torch.channels_last)
    labels = torch.randint(10, (BATCH,), generator=generator).to(device)
    recipe = Recipe(optimizer="sgd", learning_rate=1e-3, batch_size=BATCH)
    lam = 1e-4 if FAMILIES[family].has_penalty else 0.0
    config = TrialConfig(family=family, num_levels=num_levels, lam=lam, recipe=recipe)
    weights = quantized_weights(model)
    phase: Phase
    if is_fused_by_default(device):
        schedule = PhaseSchedule(
            schedule=recipe.schedule, epochs=config.regularize_epochs, batches_per_epoch=1, warmup_epochs=0.0
        )
        phase = FusedRegularizePhase(config, model, weights, schedule)
    else:
        phase = CompiledRegularizePhase(config, model, weights, batches_per_epoch=1)
    model.train()

    def step() -> None:
        model.zero_grad()
        phase.begin_epoch(0)
        with phase.forward_weights(0.0):
            cross_entropy(model(images), labels).backward()
        phase.step(0.0)

    return step


def timed_steps(
    model_name: str, families: Sequence[str], repeats: int, width: float = 1.0
) -> Iterator[tuple[str, int, list[float], list[float]]]:
    """Yield, for each family and K, the seconds of plain and of regularized steps."""
    torch.backends.cudnn.deterministic = True  # as in trials
    model = build_model(model_name, (3, 32, 32), 10, seed=0, width=width)
    model.to("cuda" if torch.cuda.is_available() else "cpu").to(memory_format=torch.channels_last)
    for family in families:
        for num_levels in LEVELS:
            works = [stepper(model, "none", num_levels), stepper(model, family, num_levels)]
            plain, regularized = in_turn(works, repeats)
            yield family, num_levels, plain, regularized


def compare_steps(model_name: str, families: Sequence[str], repeats: int) -> list[list[object]]:
    """Return one row for each family and K: seconds of a plain and of a regularized step, and their ratio."""
    rows: list[list[object]] = []
    for family, num_levels, plain, regularized in timed_steps(model_name, families, repeats):
        figures = [spread(plain), spread(regularized), spread(ratios(regularized, plain))]
        rows.append([model_name, family, num_levels, repeats, *figures])
        print(rows[-1], flush=True)
    return rows


def peak_memory_mib(family: str, num_levels: int, num_weights: int = 2_359_296) -> float:
    """Return the peak memory that one call adds to the process, in MiB (Linux only).

    The default number of weights is that of the largest layer of VGG16.
    """
    weights = torch.randn(num_weights, generator=torch.Generator().manual_seed(0)) * 0.05
    gradient = torch.zeros_like(weights)
    quantizer = QUANTIZERS[family](weights, num_levels, PenaltyForm())

    def call(size: int) -> None:
        if isinstance(quantizer, WeightTransform):
            quantizer.transform(weights[:size])
            quantizer.chain(weights[:size], gradient[:size])
        else:
            assert isinstance(quantizer, Regularizer)
            quantizer.add_gradient(weights[:size], gradient[:size], 1e-4)

    def status(field: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(field))

    call(num_levels)
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    before = status("VmRSS")
    call(num_weights)
    return max(0, status("VmHWM") - before) / 1024


def main() -> None:
    """Parse the command line, run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--models", nargs="+", default=["vgg16", "alexnet"])
    parser.add_argument("--families", nargs="+", choices=list(QUANTIZERS), default=list(QUANTIZERS))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    memory = [
        [family, *(f"{peak_memory_mib(family, num_levels):.1f}" for num_levels in LEVELS)]
        for family in arguments.families
    ]
    rows = [row for model in arguments.models for row in compare_steps(model, arguments.families, arguments.repeats)]
    print_table(
        "A regularized step against a plain one (median [least, greatest])",
        ["model", "family", "K", "n", "plain, s", "regularized, s", "ratio"],
        rows,
    )
    print_table(
        "Memory that one call adds on 2.4 million weights (9 MiB), MiB",
        ["family", *(f"K = {num_levels}" for num_levels in LEVELS)],
        memory,
    )


if __name__ == "__main__":
    main()
