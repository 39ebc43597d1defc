"""Layers by group: which layers a group holds, what each layer is quantized to, and the choice of K from costs."""

from trainables.groups.matching import allocated_layers, check_groups, layers_of_groups
from trainables.groups.settings import LayerSettings, layer_settings

__all__ = ["LayerSettings", "allocated_layers", "check_groups", "layer_settings", "layers_of_groups"]
