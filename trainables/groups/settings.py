"""Number of levels, placement and strength of each layer of a trial's network."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from trainables.config import TrialConfig, effective_groups
from trainables.groups.matching import layers_of_groups


@dataclass(frozen=True, kw_only=True)
class LayerSettings:
    """Settings of one quantized layer.

    Attributes:
        num_levels: K; the number of weights for a layer that has fewer than K.
        lam: λ, in the unit of the recipe.
        placement: placement of the final representatives.
    """

    num_levels: int
    lam: float
    placement: str


def layer_settings(config: TrialConfig, model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, LayerSettings]:
    """Return the settings of all layers that are quantized, by the name of the weight; none for a float network.

    A layer has those of its group, and the trial's where the group leaves them open or there is no group. Layers left
    in float are missing.

    Args:
        config: configuration of the trial.
        model: its network.
        weights: weights that can be quantized, by name.

    Raises:
        ValueError: as `layers_of_groups` raises.
    """
    if config.num_levels is None:
        return {}
    groups = effective_groups(config.groups, config.family)
    owners = {weight: name for name, layers in layers_of_groups(groups, model).items() for weight in layers}
    result = {}
    for name, weight in weights.items():
        group = groups.get(owners.get(name, ""))
        num_levels: int | str | None = None if group is None else group.num_levels
        if isinstance(num_levels, str):
            continue
        result[name] = LayerSettings(
            num_levels=min(num_levels or config.num_levels, weight.numel()),
            lam=config.lam if group is None or group.lam is None else group.lam,
            placement=(group.placement if group is not None else None) or config.placement,
        )
    return result
