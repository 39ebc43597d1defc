"""Forecast of the disk space that a study's checkpoints take."""

from study.config import StudyConfig
from study.doctor.check import Check, CheckStatus
from study.ledger.history import CHECKPOINTS_KEPT
from study.sizes import size
from trainables.data.datasets import load_dataset
from trainables.models import build_model

COPIES_OF_WEIGHTS = 2.5
"""Size of a checkpoint in sizes of the network: weights, momentum, and assignments of two bytes a weight."""


def checkpoint_bytes(config: StudyConfig) -> int:
    """Return the approximate size of a checkpoint of a trial, in bytes.

    Raises:
        ValueError: there is no such network.
    """
    trial = config.trial_config({"family": "none", "num_levels": None, "init": "scratch"})
    dataset = load_dataset(trial.dataset, trial.data_dir)
    model = build_model(
        trial.model, dataset.image_shape, dataset.num_classes, config.seed, trial.width, trial.model_options
    )
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    return round(COPIES_OF_WEIGHTS * weights)


def forecast(config: StudyConfig) -> str:
    """Return a line about the size of all checkpoints of a study when its trials have ended."""
    each = checkpoint_bytes(config)
    total = each * CHECKPOINTS_KEPT * config.trials
    return (
        f"checkpoints: up to about {size(total)} on disk, {CHECKPOINTS_KEPT} of {size(each)} for each of "
        f"{config.trials} trials"
    )


def disk_check(config: StudyConfig) -> Check:
    """Return the doctor's check of the disk space that the checkpoints of a study take."""
    try:
        return Check("disk", CheckStatus.PASS, forecast(config))
    except (ValueError, OSError) as error:  # the data set may lie on the nodes alone
        return Check("disk", CheckStatus.WARN, f"checkpoints can't be forecast here: {error}")
