"""Selection of the parameters that are quantized, and of those that weight decay may shrink."""

from torch import nn


def quantized_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the weights that are quantized, by name: those of all convolutions and linear layers."""
    return {
        f"{name}.weight": module.weight
        for name, module in model.named_modules()
        if isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)) and isinstance(module.weight, nn.Parameter)
    }


WEIGHT_MATRICES: dict[type[nn.Module], tuple[str, ...]] = {
    nn.modules.conv._ConvNd: ("weight",),
    nn.Linear: ("weight",),
    nn.Bilinear: ("weight",),
    # Linear maps that PyTorch keeps without a module of their own.
    nn.MultiheadAttention: ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"),
}
"""Parameters that multiply activations in a convolution or a linear map, by the type of the module that owns them."""


def decayed_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that weight decay may shrink, by name: weights of convolutions and of linear maps.

    Biases, normalization, embeddings, position tables, class tokens and layer scales are excluded in any shape.
    A linear layer that shares its weight with an embedding is excluded with it. The input projection of attention
    (`in_proj_weight`) is included because it is a linear map, although it is not quantized.
    """
    embeddings = {
        id(module.weight) for module in model.modules() if isinstance(module, (nn.Embedding, nn.EmbeddingBag))
    }
    roles = {
        id(parameter)
        for module in model.modules()
        for kind, names in WEIGHT_MATRICES.items()
        if isinstance(module, kind)
        for name in names
        if isinstance(parameter := getattr(module, name), nn.Parameter)
    }
    return {name: p for name, p in model.named_parameters() if id(p) in roles - embeddings}
