"""Choice of K by layer from measured costs: what a trial asks for."""

from dataclasses import dataclass, field

from trainables.config.rules import require

DEFAULT_CHOICES = (2, 4, 8, 16)
"""Values of K to choose from where `groups: auto` names none."""


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """A number of bits to share out between the layers (`trainables.groups.allocation`).

    Attributes:
        bits: bits per weight of the whole network, as measured on the float network; None for no allocation: all layers
            have the trial's K.
        num_levels: values of K to choose from, for each layer that is in no group; empty where nothing is allocated.
    """

    bits: float | None = None
    num_levels: list[int] = field(default_factory=list, hash=False)

    def __post_init__(self) -> None:
        if self.bits is not None:
            require(0 < self.bits <= 32, "bits", "above 0 and at most 32", self.bits, "correct it")
            require(
                bool(self.num_levels),
                "bits",
                "left out where there is nothing to choose from",
                self.bits,
                "set trial.groups to auto, or trial.allocation.num_levels to a list",
            )
        for value in self.num_levels:
            require(type(value) is int and value >= 2, "num_levels", "a list of integers from 2", value, "correct it")
        distinct = len(set(self.num_levels)) == len(self.num_levels) != 1
        require(distinct, "num_levels", "a list of at least 2 different values", self.num_levels, "correct it")
