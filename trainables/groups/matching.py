"""The layers of each group, by the patterns that name them."""

from collections.abc import Mapping
from fnmatch import fnmatchcase

from torch import nn

from trainables.config.groups import ENDS, FLOAT, KEYWORDS, NOT, TYPES, LayerGroup
from trainables.models import quantized_weights

MOST_SHOWN = 12
"""Layers that a message lists."""


def layers_of_groups(groups: Mapping[str, LayerGroup], model: nn.Module) -> dict[str, list[str]]:
    """Return the weights of each group's layers, by their names in `state_dict`, in the order of definition.

    Only layers that can be quantized count: convolutions and linear layers. `first` and `last` are the first and the
    last of these in the order of definition.

    Args:
        groups: groups by name.
        model: the network.

    Raises:
        ValueError: a pattern matches no layer, a group holds none, or two groups hold the same one; one line.
    """
    layers = {name.removesuffix(".weight"): name for name in quantized_weights(model)}
    kinds = {name: _type_of(model.get_submodule(name)) for name in layers}
    result: dict[str, list[str]] = {}
    owners: dict[str, str] = {}
    for name, group in groups.items():
        chosen = _layers_of(name, group, kinds)
        for layer in chosen:
            if layer in owners:
                raise ValueError(
                    f"groups.{name}.layers must hold layers of no other group, got {layer!r}, which is in "
                    f"{owners[layer]!r} too; leave it out of one of them: '{group.layers}, {NOT}{layer}'"
                )
            owners[layer] = name
        result[name] = [layers[layer] for layer in chosen]
    return result


def check_groups(groups: Mapping[str, LayerGroup], model: nn.Module) -> None:
    """Raise ValueError as `layers_of_groups` does, or if the groups leave every layer in float."""
    of_groups = layers_of_groups(groups, model)
    left = {layer for name, layers in of_groups.items() if groups[name].is_float for layer in layers}
    if groups and left == set(quantized_weights(model)):
        raise ValueError(
            f"groups must leave a layer to quantize, got {FLOAT!r} for all {len(left)}; set num_levels of one of them"
        )


def allocated_layers(groups: Mapping[str, LayerGroup], model: nn.Module) -> list[str]:
    """Return the weights of all layers in no group, between which bits are shared out.

    Raises:
        ValueError: as `layers_of_groups` does, or there is none.
    """
    owned = {layer for layers in layers_of_groups(groups, model).values() for layer in layers}
    free = [name for name in quantized_weights(model) if name not in owned]
    if not free:
        raise ValueError(
            f"trial.allocation must have a layer in no group to choose K for, got groups {sorted(groups)} for all "
            f"{len(owned)}; leave a layer out of them"
        )
    return free


def _type_of(layer: nn.Module) -> str:
    return TYPES[isinstance(layer, nn.Linear)]


def _layers_of(name: str, group: LayerGroup, kinds: Mapping[str, str]) -> list[str]:
    """Return the names of the layers in a group, in the order of definition."""
    included: set[str] = set()
    excluded: set[str] = set()
    for pattern in group.patterns:
        plain = pattern.removeprefix(NOT)
        matches = _matches(plain, kinds)
        if not matches:
            names = list(kinds)
            shown = f"{names[:MOST_SHOWN]}" + (f" and {len(names) - MOST_SHOWN} more" if names[MOST_SHOWN:] else "")
            raise ValueError(
                f"groups.{name}.layers must match layers of the model, got {plain!r}, which matches none; "
                f"choose from {list(KEYWORDS)}, or a pattern of {shown}"
            )
        (excluded if pattern.startswith(NOT) else included).update(matches)
    if all(pattern.startswith(NOT) for pattern in group.patterns):
        included = set(kinds)
    chosen = [layer for layer in kinds if layer in included - excluded]
    if not chosen:
        raise ValueError(f"groups.{name}.layers must leave a layer in the group, got {group.layers!r}; correct it")
    return chosen


def _matches(pattern: str, kinds: Mapping[str, str]) -> list[str]:
    names = list(kinds)
    if pattern in ENDS:
        return [names[0 if pattern == ENDS[0] else -1]]
    if pattern in TYPES:
        return [name for name, kind in kinds.items() if kind == pattern]
    return [name for name in names if fnmatchcase(name, pattern)]
