"""A network as a compressed file holds it; `trainables.codebooks.artifact_file` writes and reads the file."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from trainables.codebooks.assignment import Codebook
from trainables.codebooks.bits import NetworkBits, network_bits
from trainables.codebooks.packing import level_counts
from trainables.config import TrialConfig
from trainables.models import build_model

CODING_BY_FORMAT = {1: "huffman", 2: "entropy", 3: "compact"}
"""Coding of the levels, a key of `trainables.codebooks.bits.CODES`, by the format number of the file."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Artifact:
    """Content of a compressed file.

    Attributes:
        config: configuration of the trial that trained the network.
        image_shape: (channels, height, width).
        num_classes: number of outputs of the network.
        mean: mean of each channel over the training images, in units of uint8; images are normalized with it.
        std: standard deviation of each channel, likewise.
        codebooks: codebook of each quantized weight tensor, by its name in `state_dict`; empty for a float network.
        floats: all other floating-point tensors of `state_dict`, by name.
        provenance: study, trial and metrics that the network comes from; any values that JSON can represent.
        coding: how its levels are coded, a key of `trainables.codebooks.bits.CODES`.
    """

    config: TrialConfig
    image_shape: tuple[int, int, int]
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    codebooks: Mapping[str, Codebook]
    floats: Mapping[str, Tensor]
    provenance: Mapping[str, Any]
    coding: str = "huffman"

    def state_dict(self) -> dict[str, Tensor]:
        """Return all floating-point tensors of the network, by name; quantized ones are decoded."""
        weights = {name: representatives[levels.long()] for name, (representatives, levels) in self.codebooks.items()}
        return weights | dict(self.floats)

    def build(self) -> nn.Module:
        """Build the network on the CPU.

        Raises:
            ValueError: the tensors do not fit the model of this name in the installed version.
        """
        config = self.config
        model = build_model(
            config.model, self.image_shape, self.num_classes, config.seed, config.width, config.model_options
        )
        counters = {name: tensor for name, tensor in model.state_dict().items() if not tensor.is_floating_point()}
        try:
            model.load_state_dict(counters | self.state_dict())
        except RuntimeError as error:
            raise ValueError(f"the tensors don't fit model {config.model!r}: {' '.join(str(error).split())}") from None
        return model.to(
            memory_format=torch.channels_last
        )  # as in training: the kernels of other formats round differently

    @cached_property
    def bits(self) -> NetworkBits:
        """Size of the network in bits, in total and per weight."""
        counts = {name: level_counts(codebook) for name, codebook in self.codebooks.items()}
        return network_bits(self.build(), counts, self.coding)
