"""Count what a training step on a GPU launches, and what the host waits for; no GPU is needed.

    python benchmarks/count_launches.py [--models vgg16 alexnet] [--levels 2 16 256] [--layer-by-layer]

The step of `trainables.training` runs on tensors without data (`FakeTensorMode`) on the device `cuda`. Every operator
of PyTorch that computes counts as one launch, although some launch several kernels; kernels of `trainables.fused` are
counted, and not launched. Reading a number from the device (`aten._local_scalar_dense`) makes the host wait, and so
does an operator whose result's size depends on numbers. The backward pass, the same for all families, can't be run
without a GPU and is left out: gradients are there already.

`--layer-by-layer` counts a step as it is without Triton, and was before there were kernels: each layer and each
optimizer by operators of PyTorch.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import patch

import torch
from measure import print_table
from torch import Tensor
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from trainables.config import PenaltyForm, Recipe, TrialConfig
from trainables.data.batches import Split
from trainables.data.device_batches import DeviceBatches
from trainables.fused import launching
from trainables.fused.phases import FusedFinetunePhase, FusedRegularizePhase
from trainables.models import build_model, quantized_weights
from trainables.phases import FinetunePhase, Phase, RegularizePhase
from trainables.phases.schedule import PhaseSchedule
from trainables.regularizers.registry import QUANTIZERS, REGULARIZERS
from trainables.regularizers.siblings import piecewise_affine, soft_clusters
from trainables.training import EpochTraining

BATCH = 128
WAITS = "aten::_local_scalar_dense"
ALLOCATIONS = {"aten::empty", "aten::empty_like", "aten::empty_strided", "aten::new_empty", "aten::lift_fresh"}
SIZED_BY_NUMBERS: dict[str, Callable[..., Tensor]] = {
    "aten::bincount": lambda numbers, weights=None, minlength=0: numbers.new_empty(
        minlength, dtype=torch.int64 if weights is None else torch.float64
    ),
    "aten::nonzero": lambda mask: mask.new_empty((1, mask.dim()), dtype=torch.int64),
}
"""Operators whose result's size depends on numbers, with a result for tensors without data: one element is not zero."""

LAUNCH_FREE = ALLOCATIONS | {"aten::detach", "aten::_unsafe_view", "aten::as_strided_", WAITS}


class Counts(TorchDispatchMode):
    """Counts operators by name; numbers that are read from tensors without data are 1.

    Attributes:
        operators: how often each was called.
        kernels: name, arguments and constants of each launch of a kernel, in order.
    """

    def __init__(self) -> None:
        """Begin with no operator."""
        super().__init__()
        self.operators: Counter[str] = Counter()
        self.kernels: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __torch_dispatch__(
        self, operator: OpOverload, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = operator._schema.name
        if not operator.is_view:
            self.operators[name] += 1
        if name == WAITS:
            return 1.0
        if name in SIZED_BY_NUMBERS:
            return SIZED_BY_NUMBERS[name](*args, **(kwargs or {}))
        if name.startswith("aten::_fused_"):
            return None  # in place, and not implemented for tensors without data
        return operator(*args, **(kwargs or {}))

    @property
    def launches(self) -> int:
        """Operators that compute."""
        return sum(
            count
            for name, count in self.operators.items()
            if name.startswith(("aten::", "qar::")) and name not in LAUNCH_FREE
        )

    @property
    def waits(self) -> int:
        """Times that the host waits: for numbers read from the device, or for the size of a result."""
        return sum(self.operators[name] for name in (WAITS, *SIZED_BY_NUMBERS))


def evenly_spaced(weights: Tensor, num_levels: int) -> Tensor:
    """Return representatives for weights without data, in place of those of k-means."""
    del weights
    return torch.linspace(-1, 1, num_levels)


@patch.object(piecewise_affine, "kmeans", evenly_spaced)
@patch.object(soft_clusters, "kmeans", evenly_spaced)
def count_step(
    model_name: str,
    family: str,
    num_levels: int,
    phase_name: str = "regularize",
    *,
    layer_by_layer: bool = False,
    **recipe: Any,
) -> Counts:
    """Return the operators of one step, after two others."""
    with FakeTensorMode(allow_non_fake_inputs=True), Counts(), torch.device("cuda"):
        model = build_model(model_name, (3, 32, 32), 10, seed=0)
        weights = quantized_weights(model)
        config = TrialConfig(
            family=family,
            num_levels=num_levels,
            lam=8.0 if family in REGULARIZERS else 0.0,
            regularize_epochs=2,
            recipe=Recipe(batch_size=BATCH, augmentation="crop_flip", **recipe),
            # Representatives that are placed among the weights need these; a step does not depend on the place.
            penalty=PenaltyForm(initial="grid"),
        )
        schedule = PhaseSchedule(schedule="cosine", epochs=2, batches_per_epoch=4, warmup_epochs=0.0)
        phase: Phase
        if phase_name == "regularize" and layer_by_layer:
            phase = RegularizePhase(config, model, weights, batches_per_epoch=4)
        elif phase_name == "regularize":
            phase = FusedRegularizePhase(config, model, weights, schedule)
        else:
            books = {
                name: (torch.zeros(num_levels), torch.zeros(weight.shape, dtype=torch.int32))
                for name, weight in weights.items()
            }
            if layer_by_layer:
                phase = FinetunePhase(config, model, weights, books)
            else:
                phase = FusedFinetunePhase(config, model, weights, books, schedule)
        assert phase.on_device != layer_by_layer
        pool: Tensor = torch.zeros((BATCH, 3, 32, 32), dtype=torch.uint8)
        labels = torch.zeros(BATCH, dtype=torch.int64)
        split = Split(pool=pool, labels=labels, mean=torch.zeros(3), std=torch.ones(3))
        training = EpochTraining(model, split, config.recipe, on_device=True)
        batches = DeviceBatches(split, config.recipe.augmentation)
        model.train()
        gradients = [torch.empty_like(parameter) for parameter in model.parameters()]

        def backward(_: Tensor) -> None:
            for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                parameter.grad = gradient

        counts = Counts()

        def launch(kernel: str, programs: int, *arguments: Any, **constants: Any) -> None:
            counts.operators[f"qar::{kernel.split('.')[1]}"] += 1
            counts.kernels.append((kernel, arguments, constants))

        with patch.object(Tensor, "backward", backward), patch.object(launching, "launch", launch):
            for _ in range(3):
                counts.operators.clear()
                counts.kernels.clear()
                with counts:
                    training.step_on_device(phase, batches, BATCH)
    return counts


def main() -> None:
    """Parse the command line, count and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["vgg16", "alexnet"])
    parser.add_argument("--levels", type=int, nargs="+", default=[2, 16, 256])
    parser.add_argument("--families", nargs="+", default=list(QUANTIZERS))
    parser.add_argument("--optimizer", choices=["sgd", "adam"], default="sgd")
    parser.add_argument("--layer-by-layer", action="store_true", help="count a step without Triton")
    arguments = parser.parse_args()
    how = {"optimizer": arguments.optimizer, "layer_by_layer": arguments.layer_by_layer}
    rows: list[list[object]] = []
    for model in arguments.models:
        plain = count_step(model, "none", 2, **how)
        rows.append([model, "none", "any", plain.launches, "–", plain.waits])
        for family in arguments.families:
            for num_levels in arguments.levels:
                step = count_step(model, family, num_levels, **how)
                rows.append([model, family, num_levels, step.launches, step.launches - plain.launches, step.waits])
        tuned = count_step(model, "none", 16, "finetune", **how)
        rows.append([model, "any, finetune", 16, tuned.launches, tuned.launches - plain.launches, tuned.waits])
    print_table(
        f"A training step of {BATCH} images, {arguments.optimizer}",
        ["model", "family", "K", "launches, forward and step", "over none", "waits of the host"],
        rows,
    )


if __name__ == "__main__":
    main()
