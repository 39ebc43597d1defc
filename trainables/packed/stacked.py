"""Networks of one architecture, stacked: one forward and one backward pass for all of them."""

import copy
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from trainables.shapes import Float, Int
from trainables.training import batch_loss


class StackedNetworks:
    """Parameters and buffers of as many networks as there are places, one after another in memory.

    The networks keep their own tensors. `losses` copies their parameters, which optimizers and penalties change
    between any two steps. Buffers, such as the statistics of batch normalization, change in the forward pass alone;
    they are taken at the beginning of an epoch and given back at its end.
    """

    def __init__(self, model: nn.Module, places: int) -> None:
        """Make room for networks like `model`.

        Args:
            model: a network of the architecture, on its device.
            places: number of networks, n.
        """
        self._network = copy.deepcopy(model).train()
        self._parameters = {name: _stack(one, places) for name, one in model.named_parameters()}
        for name, one in model.named_parameters():
            self._parameters[name].requires_grad_(one.requires_grad)
        self._buffers = {name: _stack(one, places) for name, one in model.named_buffers()}

    def take_buffers(self, models: Mapping[int, nn.Module]) -> None:
        """Copy the buffers of networks, by place."""
        self._copy_buffers(models, to_models=False)

    def give_buffers(self, models: Mapping[int, nn.Module]) -> None:
        """Write the buffers into the networks, by place."""
        self._copy_buffers(models, to_models=True)

    @torch.no_grad()
    def _copy_buffers(self, models: Mapping[int, nn.Module], *, to_models: bool) -> None:
        for place, model in models.items():
            for name, buffer in model.named_buffers():
                stacked = self._buffers[name][place]
                target, source = (buffer, stacked) if to_models else (stacked, buffer)
                target.copy_(source)

    def losses(
        self, models: Mapping[int, nn.Module], images: Float[Tensor, "n b c h w"], labels: Int[Tensor, "n b"]
    ) -> Float[Tensor, " n"]:
        """Return the mean cross-entropy of each place's batch, in training mode.

        Args:
            models: the networks by place; the other places keep the parameters that they have.
            images: (n, b, channels, height, width), normalized.
            labels: (n, b), classes of the images.

        Raises:
            RuntimeError: the network draws random numbers, or contains an operation that can't be stacked.
        """
        pairs = [(self._parameters[name][place], one) for place, name, one in _parameters_of(models)]
        with torch.no_grad():
            torch._foreach_copy_([stacked for stacked, _ in pairs], [one for _, one in pairs])
        for stacked in self._parameters.values():
            stacked.grad = None
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="There is a performance drop")
            return vmap(self._loss)(self._parameters, self._buffers, images, labels)

    def _loss(self, parameters: dict[str, Any], buffers: dict[str, Any], images: Tensor, labels: Tensor) -> Tensor:
        def network(images: Tensor) -> Tensor:
            return functional_call(self._network, (parameters, buffers), (images,))

        return batch_loss(network, images, labels)

    def give_gradients(self, models: Mapping[int, nn.Module]) -> None:
        """Set `.grad` of the networks' parameters to views of the gradients that a backward pass has left."""
        for place, name, parameter in _parameters_of(models):
            grad = self._parameters[name].grad
            parameter.grad = None if grad is None else grad[place]

    def equal_gradients(self) -> bool:
        """Return whether a backward pass has left the same gradients at all places, bit by bit."""
        gradients = [stacked.grad for stacked in self._parameters.values() if stacked.grad is not None]
        return all(torch.equal(grad, grad[:1].expand_as(grad)) for grad in gradients)


def _parameters_of(models: Mapping[int, nn.Module]) -> Iterable[tuple[int, str, nn.Parameter]]:
    """Yield place, name and parameter of all networks."""
    for place, model in models.items():
        for name, parameter in model.named_parameters():
            yield place, name, parameter


def _stack(tensor: Tensor, places: int) -> Tensor:
    """Return (n, …): copies of a tensor, each dense and in the memory format of the tensor."""
    one = tensor.detach().clone(memory_format=torch.preserve_format)
    values = one.new_empty(places * one.numel())
    stacked = values.as_strided((places, *one.shape), (one.numel(), *one.stride()))
    return stacked.copy_(one.expand(places, *one.shape))
