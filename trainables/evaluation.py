"""Evaluation of a compressed file, in the way and on the images of its trial's own evaluations."""

import numpy as np
import torch

from trainables.codebooks.artifact import Artifact
from trainables.config import TrialConfig
from trainables.data.batches import Split, mapped, train_and_validation
from trainables.data.datasets import load_dataset
from trainables.data.prepared import Dataset
from trainables.families import choose
from trainables.run import accuracy, trial_seeds

SPLITS = ("validation", "test")


def evaluate(
    artifact: Artifact, split: str = "validation", data_dir: str | None = None, device: str | torch.device = "cpu"
) -> float:
    """Accuracy of the network, in [0, 1].

    Args:
        artifact: of the network.
        split: `validation`, the trial's own, or `test`.
        data_dir: where data sets lie, if not where the trial had them.
        device: where to evaluate; another kind of device than the trial's may round differently.

    Raises:
        ValueError: the split is neither, or the data set can't be had or is another one.
    """
    choose("split", split, SPLITS)
    config, device = artifact.config, torch.device(device)
    dataset = load_dataset(config.dataset, config.data_dir if data_dir is None else data_dir)
    found, expected = (dataset.image_shape, dataset.num_classes), (artifact.image_shape, artifact.num_classes)
    if found != expected:
        raise ValueError(
            f"{config.dataset} must have image shape and number of classes {expected}, got {found}; "
            "give the --data-dir that the trial had"
        )
    images, labels = _test(dataset) if split == "test" else _validation(dataset, config)
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
