"""Check that networks of an architecture can be trained together: one forward and backward pass of two of them."""

import torch

from trainables.config import TrialConfig
from trainables.data.datasets import load_dataset
from trainables.errors import message_of
from trainables.models import build_model
from trainables.packed.stacked import StackedNetworks

IMAGES = 8
"""Number of images in the batch."""

KEY = "resources.trials_per_actor"

_RANDOM = "called random operation"
"""Part of the message of `torch.vmap` for a network that draws random numbers."""


def check_packable(config: TrialConfig, places: int) -> list[str]:
    """Run two networks of a trial's architecture forward and backward together, on random images.

    Args:
        config: configuration of the trial.
        places: trials that the study trains together, for messages.

    Returns:
        Warnings, one line each.

    Raises:
        ValueError: the networks can't be trained together; one line.
    """
    dataset = load_dataset(config.dataset, config.data_dir)
    model = build_model(
        config.model, dataset.image_shape, dataset.num_classes, config.seed, config.width, config.model_options
    ).to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(config.seed)
    images = torch.randn(IMAGES, *dataset.image_shape, generator=generator).expand(2, -1, -1, -1, -1)
    labels = torch.randint(dataset.num_classes, (IMAGES,), generator=generator).expand(2, -1)
    models = dict.fromkeys(range(2), model)
    try:
        networks = StackedNetworks(model, 2)
        networks.losses(models, images, labels).sum().backward()
    except Exception as error:  # code of users may raise anything
        reason = message_of(error)
        if _RANDOM in reason:
            reason = "it draws random numbers while it is trained, as dropout does"
        raise ValueError(
            f"{KEY} must be 1 for trial.model {config.model!r}, which can't be trained several at a time, got {places} "
            f"({reason[:200]}); set it to 1, or choose another model"
        ) from None
    if networks.equal_gradients():
        return []
    return [
        f"the last bits of results of {config.model} depend on the place of a trial among the {places} that an actor "
        "trains together, where they share passes as on a CPU: a study that is interrupted may end with slightly other "
        "results than one that is not"
    ]
