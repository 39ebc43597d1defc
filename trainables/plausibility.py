"""Settings under which a network runs but can't learn, or compresses nothing: refused or warned of before a launch."""

from torch import nn

from trainables.codebooks.bits import FLOAT_BITS, FLOAT_BYTES, index_bits
from trainables.config import TrialConfig
from trainables.models import MODELS, quantized_weights


def check_width(config: TrialConfig, model: nn.Module) -> None:
    """Raise ValueError if the width leaves a layer of one of our networks but a single channel.

    Args:
        config: of a trial.
        model: its network.
    """
    *hidden, _ = quantized_weights(model).values()
    if config.model in MODELS and hidden and min(weight.shape[0] for weight in hidden) < 2:
        raise ValueError(
            f"trial.width must leave each layer at least 2 channels, got {config.width}, with which a layer of "
            f"{config.model} has one; raise it"
        )


def warnings_for(config: TrialConfig, model: nn.Module, num_images: int, most_levels: int | None) -> list[str]:
    """Return a line for each setting that hardly makes sense.

    Args:
        config: of a trial.
        model: its network.
        num_images: images trained on.
        most_levels: the largest K of the study; None if nothing is quantized.
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
    """Return the most bits per weight that K levels may take, all parameters included: indices of fixed length."""
    quantized = quantized_weights(model)
    sizes = [weight.numel() for weight in quantized.values()]
    floats = sum(tensor.numel() for tensor in model.state_dict().values() if tensor.is_floating_point()) - sum(sizes)
    levels = [min(num_levels, size) for size in sizes]
    total = FLOAT_BYTES * 8 * (floats + sum(levels))
    total += sum(size * index_bits(level) for size, level in zip(sizes, levels, strict=True))
    return total / sum(parameter.numel() for parameter in model.parameters())
