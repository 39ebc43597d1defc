"""Sensitivity of a float network, as `trainables.sensitivity` measures it, and the groups that follow from it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from trainables.codebooks.bits import FLOAT_BYTES, index_bits
from trainables.config import LayerGroup
from trainables.groups.allocation import Choice, allocate
from trainables.result import ALLOCATED


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """Costs of quantizing each layer of a float network.

    Attributes:
        loss: validation loss of the float network, nats.
        choices: choices of K of each layer in no group, by the name of its weight.
        grouped: number of weights of each layer that is in a group, by the name of its weight, by group.
        other_bytes: bytes of everything that is in no such layer: biases, normalization and its statistics.
        num_parameters: parameters of the network.
    """

    loss: float
    choices: Mapping[str, Sequence[Choice]]
    grouped: Mapping[str, Mapping[str, int]]
    other_bytes: int
    num_parameters: int

    def to_dict(self) -> dict[str, Any]:
        """Return a plain nested dictionary, as JSON holds it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Sensitivity":
        """Return the result of `to_dict`. Raises TypeError or LookupError for another dictionary."""
        choices = {layer: [Choice(**choice) for choice in some] for layer, some in values["choices"].items()}
        return cls(**{**values, "choices": choices})

    def groups_for(
        self, bits: float, groups: Mapping[str, LayerGroup], num_levels: int, allowed: Iterable[int]
    ) -> dict[str, LayerGroup]:
        """Return the groups of a trial with a number of bits: its own, and one for each K that layers are given.

        Args:
            bits: bits per weight of the whole network; levels of layers in groups count with words of fixed length,
                which are at most a little larger than their entropy codes.
            groups: the trial's own groups.
            num_levels: K of those of them that name none.
            allowed: values of K that may be chosen.
        """
        fixed = sum(_bytes_of(groups[name], sizes, num_levels) for name, sizes in self.grouped.items())
        budget = bits * self.num_parameters / 8 - self.other_bytes - fixed
        values = set(allowed)
        choices = {layer: [one for one in some if one.num_levels in values] for layer, some in self.choices.items()}
        by_levels: dict[int, list[str]] = {}
        for layer, choice in allocate(choices, budget).items():
            by_levels.setdefault(choice.num_levels, []).append(layer.removesuffix(".weight"))
        return dict(groups) | {
            f"{ALLOCATED}{levels}": LayerGroup(layers=", ".join(layers), num_levels=levels)
            for levels, layers in sorted(by_levels.items())
        }


def _bytes_of(group: LayerGroup, sizes: Mapping[str, int], num_levels: int) -> int:
    total = 0
    for size in sizes.values():
        if group.is_float:
            total += FLOAT_BYTES * size
            continue
        assert not isinstance(group.num_levels, str)
        levels = min(group.num_levels or num_levels, size)
        total += FLOAT_BYTES * levels + (size * index_bits(levels) + 7) // 8
    return total
