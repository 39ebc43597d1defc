"""Evaluation of the network in a compressed file, on the images that its trial was evaluated on."""

import numpy as np
import torch

from trainables.choices import choose
from trainables.codebooks.artifact import Artifact
from trainables.config import TrialConfig
from trainables.data.batches import Split, mapped, train_and_validation
from trainables.data.datasets import chosen_data, load_dataset
from trainables.data.prepared import Dataset
from trainables.measurement.network import accuracy
from trainables.run import trial_seeds

SPLITS = ("validation", "test")


def evaluate(
    artifact: Artifact,
    split: str = "validation",
    data_dir: str | None = None,
    device: str | torch.device = "cpu",
    *,
    dataset: str | None = None,
    trust_addresses: bool = False,
) -> float:
    """Return the accuracy of the network, in [0, 1].

    Nothing is downloaded or created at an address that the file names, unless `trust_addresses` is true.

    Args:
        artifact: the network and the configuration of its trial.
        split: `validation`, the validation split of the trial, or `test`.
        data_dir: folder of the data sets; None for the one that the trial used.
        device: device to evaluate on; a kind of device other than the trial's may round differently.
        dataset: name of the data set; None for the one that the trial used.
        trust_addresses: whether a data set may be downloaded from an address that the file names.

    Returns:
        Share of the images of the split that are classified correctly.

    Raises:
        ValueError: the split is unknown, the data set cannot be loaded, or it does not fit the network.
    """
    choose("split", split, SPLITS)
    config, device = artifact.config, torch.device(device)
    source = chosen_data(config.dataset, config.data_dir, dataset, data_dir, trust_addresses)
    loaded = load_dataset(source.name, source.data_dir, source.fetch)
    actual, expected = (loaded.image_shape, loaded.num_classes), (artifact.image_shape, artifact.num_classes)
    if actual != expected:
        raise ValueError(
            f"{source.name} must have image shape and number of classes {expected}, got {actual}; "
            "give the --data-dir or --dataset that the trial had"
        )
    images, labels = _test_images(loaded) if split == "test" else _validation_images(loaded, config)
    chosen = Split(
        pool=images.to(device),
        labels=labels.to(device),
        mean=torch.tensor(artifact.mean, device=device),
        std=torch.tensor(artifact.std, device=device),
    )
    return accuracy(artifact.build().to(device), chosen)


def _test_images(dataset: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the test images, (n, channels, height, width), and their labels, (n,)."""
    return mapped(dataset.x_test).permute(0, 3, 1, 2), mapped(dataset.y_test)


def _validation_images(dataset: Dataset, config: TrialConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the trial's validation images, (n, channels, height, width), and their labels, (n,)."""
    split_seed, *_ = trial_seeds(config.seed)
    rng = np.random.default_rng(split_seed)
    _, split = train_and_validation(dataset, config.validation_fraction, rng, torch.device("cpu"), config.subset)
    return split.images, split.labels
