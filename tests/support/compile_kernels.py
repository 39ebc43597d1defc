"""Compilation of all kernels for an H100, with the arguments that training steps launch them with; no GPU is needed."""

import itertools
from importlib import import_module
from typing import Any

import torch
import triton
from count_launches import count_step
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from trainables.regularizers.registry import QUANTIZERS

KERNEL_MODULES = ("training_kernels", "kernels", "transform_kernels", "cluster_kernels")

H100 = GPUTarget("cuda", 90, 32)

ONE = "one"
"""Type of the number 1, which Triton makes a constant."""

POINTERS = {torch.float32: "*fp32", torch.float64: "*fp64", torch.int32: "*i32", torch.int64: "*i64"}


def type_of(argument: Any) -> Any:
    """Return the type of an argument in Triton's words; a list of tensors is a table of their addresses."""
    if isinstance(argument, tuple):
        return tuple(map(type_of, argument))
    if isinstance(argument, torch.Tensor):
        return POINTERS[argument.dtype]
    if type(argument) is int:
        return ONE if argument == 1 else "i32"
    return {list: "*i64", float: "fp32"}[type(argument)]


COUNTER = "atom.global.gpu.acq_rel.add.u32"
"""Instruction with which a program counts itself among those of its layer, and sees what these have stored."""


def compile_for_gpu(kernel: str, types: tuple[Any, ...], constants: dict[str, Any]) -> tuple[int, bool]:
    """Compile a kernel, and return the bytes of its machine code and whether it has a `COUNTER`."""
    module, name = kernel.split(".")
    function = getattr(import_module(f"trainables.fused.{module}"), name)
    plain = [argument for argument in function.arg_names if argument not in constants]
    known = dict(zip(plain, types, strict=True))
    constants = constants | {argument: 1 for argument, type_name in known.items() if type_name == ONE}
    signature = known | dict.fromkeys(constants, "constexpr")
    places = {(function.arg_names.index(argument),): value for argument, value in constants.items()}
    source = ASTSource(fn=function, signature=signature, constexprs=places)
    code = triton.compile(source, target=H100).asm
    return len(code["cubin"]), COUNTER in code["ptx"]


def main() -> None:
    """Compile what the steps of all families launch, each variant once, and print a line for each."""
    known: set[Any] = set()
    steps = [count_step("alexnet", family, 16, optimizer="sgd") for family in QUANTIZERS]
    steps.append(count_step("alexnet", "none", 16, "finetune", optimizer="sgd"))
    for kernel, arguments, constants in itertools.chain.from_iterable(step.kernels for step in steps):
        types = tuple(type_of(argument) for argument in arguments)
        variant = kernel, types, tuple(constants.items())
        if variant not in known:
            known.add(variant)
            size, counts = compile_for_gpu(kernel, types, constants)
            print(kernel, constants, size, "bytes,", "counts programs" if counts else "adds nothing up", flush=True)
