"""Optimizers of torch that do not load torch's compiler."""

import inspect
from typing import TypeVar, cast

import torch
from torch.optim import Optimizer

_HIDDEN_FROM_THE_COMPILER = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")
"""Methods of an optimizer that torch wraps, so that `torch.compile` leaves them alone."""


Kind = TypeVar("Kind", bound=Optimizer)


def eager(kind: type[Kind]) -> type[Kind]:
    """Return a class of optimizers that computes what another does, without its provisions for `torch.compile`.

    These provisions import the compiler, 880 modules, at the first use of an optimizer: a third of the processor time
    and a tenth of the memory of a process that trains a small network. Only the network is ever compiled here, never
    the step of an optimizer.

    Args:
        kind: class of optimizers whose step is not differentiated, such as `torch.optim.AdamW`.
    """
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in _HIDDEN_FROM_THE_COMPILER}
    methods["step"] = torch.no_grad()(inspect.unwrap(kind.step))
    return cast(type[Kind], type(kind.__name__, (kind,), methods))


Adam = eager(torch.optim.Adam)
AdamW = eager(torch.optim.AdamW)
SGD = eager(torch.optim.SGD)
