"""Checks for settings under which a network runs, but cannot learn or is not compressed."""

from torch import nn

from trainables.codebooks.bits import FLOAT_BITS, FLOAT_BYTES, index_bits
from trainables.config import TrialConfig
from trainables.models import MODELS, quantized_weights


def check_width(config: TrialConfig, model: nn.Module) -> None:
    """Check that every hidden layer of a network of `trainables.models.MODELS` has at least two channels.

    Args:
        config: configuration of the trial.
        model: its network.

    Raises:
        ValueError: the width leaves a hidden layer with a single channel.
    """
    *hidden, _ = quantized_weights(model).values()
    if config.model in MODELS and hidden and min(weight.shape[0] for weight in hidden) < 2:
        raise ValueError(
            f"trial.width must leave each layer at least 2 channels, got {config.width}, with which a layer of "
            f"{config.model} has one; raise it"
        )


def warnings_for(config: TrialConfig, model: nn.Module, num_images: int, most_levels: int | None) -> list[str]:
    """Return a warning of one line for each setting that is likely a mistake.

    Args:
        config: configuration of the trial.
        model: its network.
        num_images: number of training images.
        most_levels: largest K of the study; None if nothing is quantized.
    """
    lines = []
    if config.recipe.batch_size > num_images:
        lines.append(
            f"trial.recipe.batch_size {config.recipe.batch_size} exceeds the {num_images} images trained on: an epoch "
            "is a single step; lower it"
        )
    if config.recipe.warmup_epochs > config.regularize_epochs:
        lines.append(
            f"trial.recipe.warmup_epochs {config.recipe.warmup_epochs} exceeds the {config.regularize_epochs} epochs "
            "of its phase: the learning rate never reaches its value; lower it"
        )
    if most_levels is not None and (bits := most_bits_per_weight(model, most_levels)) > FLOAT_BITS:
        lines.append(
            f"K = {most_levels} may take {bits:.1f} bits a weight in this network, more than float's "
            f"{FLOAT_BITS}: a layer with few weights needs a codebook as large as itself; lower space.num_levels.high"
        )
    return lines


def most_bits_per_weight(model: nn.Module, num_levels: int) -> float:
    """Return an upper bound on the bits per weight of a network with K levels, with indices of fixed length.

    Args:
        model: the network.
        num_levels: K, the number of levels of each quantized weight tensor.
    """
    quantized = quantized_weights(model)
    sizes = [weight.numel() for weight in quantized.values()]
    floats = sum(tensor.numel() for tensor in model.state_dict().values() if tensor.is_floating_point()) - sum(sizes)
    levels = [min(num_levels, size) for size in sizes]
    total = FLOAT_BYTES * 8 * (floats + sum(levels))
    total += sum(size * index_bits(level) for size, level in zip(sizes, levels, strict=True))
    return total / sum(parameter.numel() for parameter in model.parameters())
