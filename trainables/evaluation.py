"""Evaluation of a compressed file, in the way and on the images of its trial's own evaluations."""

import numpy as np
import torch

from trainables.codebooks.artifact import Artifact
from trainables.config import TrialConfig
from trainables.data.batches import Split, mapped, train_and_validation
from trainables.data.datasets import chosen_data, load_dataset
from trainables.data.prepared import Dataset
from trainables.families import choose
from trainables.run import accuracy, trial_seeds

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

    Nothing that the file names is downloaded, fetched or created unless `trust_addresses` says so.

    Args:
        artifact: of the network.
        split: `validation`, the trial's own, or `test`.
        data_dir: where data sets lie, if not where the trial had them.
        dataset: the data set, if not the one of the trial.
        trust_addresses: whether what the file names may be downloaded or fetched.
        device: where to evaluate; another kind of device than the trial's may round differently.

    Raises:
        ValueError: the split is neither, or the data set can't be had or is another one.
    """
    choose("split", split, SPLITS)
    config, device = artifact.config, torch.device(device)
    source = chosen_data(config.dataset, config.data_dir, dataset, data_dir, trust_addresses)
    images_of = load_dataset(source.name, source.data_dir, source.fetch)
    found, expected = (images_of.image_shape, images_of.num_classes), (artifact.image_shape, artifact.num_classes)
    if found != expected:
        raise ValueError(
            f"{source.name} must have image shape and number of classes {expected}, got {found}; "
            "give the --data-dir or --dataset that the trial had"
        )
    images, labels = _test(images_of) if split == "test" else _validation(images_of, config)
    chosen = Split(
        pool=images.to(device),
        labels=labels.to(device),
        mean=torch.tensor(artifact.mean, device=device),
        std=torch.tensor(artifact.std, device=device),
    )
    return accuracy(artifact.build().to(device), chosen)


def _test(dataset: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    return mapped(dataset.x_test).permute(0, 3, 1, 2), mapped(dataset.y_test)


def _validation(dataset: Dataset, config: TrialConfig) -> tuple[torch.Tensor, torch.Tensor]:
    split_seed, *_ = trial_seeds(config.seed)
    rng = np.random.default_rng(split_seed)
    _, split = train_and_validation(dataset, config.validation_fraction, rng, torch.device("cpu"), config.subset)
    return split.images, split.labels
