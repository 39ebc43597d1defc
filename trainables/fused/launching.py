"""Launches of the kernels: the one place where a kernel is called.

A captured graph keeps the addresses of the weights, so that their memory must not change between replays. That of
parameters does not.
"""

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from subprocess import CalledProcessError
from typing import Any

import torch
from torch import Tensor

OPTIONS = {"num_warps": 16, "enable_fp_fusion": False}
"""Options with which kernels are compiled. With 16 warps, a thread has so few of a chunk's weights that registers hold
its numbers. Without fused multiplications, products are rounded before they are added, in every version of Triton."""


@cache
def why_not(device: str = "cuda") -> str | None:
    """Return why Triton can't launch kernels on a device of this process, in one line; None if it can.

    It launches one to find out. Triton compiles an extension module of Python for that, with the machine's C compiler.
    """
    try:
        launch("kernels.store_one", 1, torch.zeros(1, dtype=torch.int32, device=device))
    except CalledProcessError as error:
        return f"{error.cmd[0]} ended with exit status {error.returncode}"
    except Exception as error:  # of many kinds: Triton, its compiler or Python's headers may be absent or broken
        return " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return None


@cache
def _table(addresses: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(addresses, dtype=torch.int64, device=device)


def _addresses(tensors: Sequence[Tensor]) -> Tensor:
    """Return a table of where tensors lie, int64, on their device.

    It is made once for the same places, and stays: a captured graph reads it at every replay. A table of 16 layers
    takes 512 bytes.
    """
    return _table(tuple(tensor.data_ptr() for tensor in tensors), tensors[0].device)


def launch(kernel: str, programs: int, *arguments: Any, **constants: Any) -> None:
    """Launch a kernel once.

    Args:
        kernel: its module in `trainables.fused`, which needs Triton, and its name: `kernels.pull_weights`.
        programs: how many programs run it.
        arguments: of the kernel. A list of tensors that never move, such as weights, becomes a table of their
            addresses. A tuple of tensors that may move from step to step, such as gradients, is an argument of the
            kernel itself; a captured graph keeps the addresses that it was captured with.
        constants: the kernel's `tl.constexpr` arguments, and options that replace those of `OPTIONS`.
    """
    module, name = kernel.split(".")
    function = getattr(import_module(f"trainables.fused.{module}"), name)
    tables = [_addresses(one) if isinstance(one, list) else one for one in arguments]
    function[(programs,)](*tables, **OPTIONS | constants)
