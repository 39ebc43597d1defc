"""Compilation of all kernels for an H100, with the arguments that training steps launch them with; no GPU is needed."""

import itertools
import re
import subprocess
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from count_launches import count_step
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.runtime.driver import driver
from triton.runtime.jit import MockTensor

from trainables.fused.launching import OPTIONS
from trainables.fused.layout import MOST_LEVELS
from trainables.regularizers.registry import QUANTIZERS

KERNEL_MODULES = ("training_kernels", "kernels", "transform_kernels", "cluster_kernels")

COUNTER = "atom.global.gpu.acq_rel.add.u32"
"""Instruction with which a program counts itself among those of its layer, and sees what these have stored."""


class H100:
    """The answers of a driver that Triton needs to compile a kernel."""

    def get_current_target(self) -> GPUTarget:
        """Return the processor and the threads of a warp."""
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        """Return the number of the GPU."""
        return 0

    def get_current_stream(self, device: int) -> int:
        """Return the handle of a stream of a GPU."""
        del device
        return 0


def without_data(argument: Any) -> Any:
    """Return an argument with the types and alignments of a launch; a list of tensors is a table of their addresses."""
    if isinstance(argument, tuple):
        return tuple(map(without_data, argument))
    if isinstance(argument, torch.Tensor):
        return MockTensor(argument.dtype)
    return MockTensor(torch.int64) if isinstance(argument, list) else argument


def compile_for_gpu(kernel: str, arguments: tuple[Any, ...], constants: dict[str, Any]) -> tuple[bool, int, int]:
    """Compile a kernel as its first launch does.

    Returns:
        Whether it has a `COUNTER`; registers of a thread; bytes of its stack, for numbers that registers do not hold.

    Raises:
        AssertionError: it takes square roots that count small numbers for 0.
    """
    module, name = kernel.split(".")
    function = getattr(import_module(f"trainables.fused.{module}"), name)
    code = function.warmup(*map(without_data, arguments), grid=(1,), **OPTIONS | constants).asm
    assert "sqrt.approx" not in code["ptx"], kernel
    with TemporaryDirectory() as folder:
        file = Path(folder, "kernel.cubin")
        file.write_bytes(code["cubin"])
        tool = [knobs.nvidia.cuobjdump.path, "-res-usage", str(file)]
        usage = subprocess.run(tool, capture_output=True, text=True, check=True).stdout
    registers, stack = (int(re.search(rf"{what}:(\d+)", usage).group(1)) for what in ("REG", "STACK"))  # type: ignore[union-attr]
    return COUNTER in code["ptx"], registers, stack


def kind_of(argument: Any) -> Any:
    """Return what Triton compiles a kernel anew for."""
    if isinstance(argument, tuple):
        return tuple(map(kind_of, argument))
    return argument.dtype if isinstance(argument, torch.Tensor) else argument if type(argument) is int else list


def main() -> None:
    """Compile what the steps of all families launch, each variant once, and print a line for each."""
    driver.set_active(H100())
    known: set[Any] = set()
    steps = [count_step("alexnet", family, 16, optimizer="sgd") for family in QUANTIZERS]
    steps.append(count_step("alexnet", "none", 16, "finetune", optimizer="sgd"))
    steps += [count_step("alexnet", family, 4, optimizer="sgd") for family in ("RM", "RE")]
    steps += [count_step("alexnet", family, MOST_LEVELS, optimizer="sgd") for family in ("RM", "RH")]
    for kernel, arguments, constants in itertools.chain.from_iterable(step.kernels for step in steps):
        variant = kernel, tuple(map(kind_of, arguments)), tuple(constants.items())
        if variant not in known:
            known.add(variant)
            counts, registers, stack = compile_for_gpu(kernel, arguments, constants)
            does = "counts programs" if counts else "adds nothing up"
            print(f"{kernel} {constants} {does}, {registers} registers, {stack} bytes of stack", flush=True)
