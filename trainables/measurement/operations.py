"""Bit operations of a network: what the width of its weights costs in arithmetic."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from trainables.codebooks.bits import FLOAT_BITS, index_bits

ACTIVATION_BITS = 32
"""Width of the activations, which are not quantized."""


def macs_by_weight(model: nn.Module, image_shape: tuple[int, int, int]) -> dict[str, int]:
    """Return the multiply-accumulate operations for one image, by the name of a layer's weight in `state_dict`.

    Convolutions and fully connected layers are counted, in a forward pass of one black image that changes nothing.

    Args:
        model: the network.
        image_shape: (channels, height, width).
    """
    macs: dict[str, int] = {}
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.conv._ConvNd | nn.Linear):

            def count(layer: nn.Module, _: object, output: Tensor, weight: str = f"{name}.weight".lstrip(".")) -> None:
                assert isinstance(layer.weight, Tensor)
                macs[weight] = macs.get(weight, 0) + output.numel() * layer.weight[0].numel()

            handles.append(module.register_forward_hook(count))
    parameter = next(model.parameters())
    training = model.training
    try:
        with torch.no_grad():
            model.eval()(torch.zeros((1, *image_shape), device=parameter.device, dtype=parameter.dtype))
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    return macs


def weight_bops(macs: Mapping[str, int], num_levels: Mapping[str, int]) -> int:
    """Return the weight-only bit operations for one image: Σ MACs · ⌈log2 K⌉ · 32 over the layers.

    A layer without levels counts with weights of 32 bits. Activations count with 32 bits in all layers, so that only
    the width of the weights makes a difference. The count is that of arithmetic on indices of fixed length; a codebook
    whose values are not evenly spaced needs other hardware, or a table, to gain from it.

    Args:
        macs: as `macs_by_weight` returns them.
        num_levels: K of each quantized weight.

    Source: BOPs = MACs · b_w · b_a as in van Baalen et al., "Bayesian Bits" (NeurIPS 2020, arXiv 2005.07093), after
    Baskin et al., "UNIQ" (arXiv 1804.10969); b_a = 32 is ours, for networks whose activations are not quantized.
    """
    bits = {name: index_bits(num_levels[name]) if name in num_levels else FLOAT_BITS for name in macs}
    return sum(count * bits[name] * ACTIVATION_BITS for name, count in macs.items())
