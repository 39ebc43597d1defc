"""Model of the training of a trial: durations of its epochs, and the metrics that it reports after each.

A trial with all its epochs takes a time that is lognormal with a median of `MEDIAN_SECONDS`; single epochs vary by 5%.
With accuracy in [0, 1], K levels and λ, after epoch t of T:

    limit = 0.98 − 0.6 / K − 0.02 · |log2(λ / 8)|        (without the last term where the family has no λ)
    accuracy = limit · (1 − exp(−4 t / T)) + noise,   noise normal with a standard deviation of 0.01
    bits = log2(K) · (0.9 + 0.1 u) + 0.3,             u uniform in [0, 1] for each trial

One trial in a hundred diverges in its second epoch. All draws depend only on the seed, the trial and the epoch, so an
epoch that is trained again has the same result.
"""

import math
from typing import Any

import numpy as np

from trainables.families import QUANTIZE_FIRST, family_of
from trainables.result import FINETUNE, REGULARIZE

MEDIAN_SECONDS = 60.0
"""Median duration of a trial with its full budget."""

SHARE_THAT_DIVERGES = 0.01
DIVERGENCE = "the loss is not finite in epoch 2"


class Training:
    """Training of the trials of one study."""

    def __init__(self, seed: int) -> None:
        """Prepare to train; `seed` seeds all draws."""
        self._seed = seed

    def seconds(self, suggestion: dict[str, Any], epoch: int) -> float:
        """Return how long an epoch of a trial takes."""
        pace = float(self._rng(suggestion, 0).lognormal(0.0, 0.3)) * float(
            self._rng(suggestion, epoch).uniform(0.95, 1.05)
        )
        return MEDIAN_SECONDS * pace / _budget(suggestion)

    def result(self, suggestion: dict[str, Any], epoch: int) -> dict[str, Any]:
        """Return what a trial reports after an epoch, in as many metrics and digits as a real one."""
        config = suggestion["trial"]
        levels = config["num_levels"] or 2**32  # of the float baseline
        trial, noise = self._rng(suggestion, 0), self._rng(suggestion, epoch)
        share = float(trial.random())
        if epoch >= 2 and trial.random() < SHARE_THAT_DIVERGES:
            return {"failure": DIVERGENCE, "done": True}
        budget = _budget(suggestion)
        regularize = config["family"] != QUANTIZE_FIRST and epoch <= config["regularize_epochs"]
        limit = 0.98 - 0.6 / levels
        if family_of(config["family"]).has_penalty:
            limit -= 0.02 * abs(math.log2(config["lam"] / 8))
        accuracy = limit * (1 - math.exp(-4 * epoch / budget)) + 0.01 * float(noise.standard_normal())
        bits = math.log2(levels) * (0.9 + 0.1 * share) + 0.3
        return {
            "epoch": epoch,
            "phase": REGULARIZE if regularize else FINETUNE,
            "train_loss": 2.0 / (epoch + share),
            "penalty": 0.1 * share / epoch if regularize else None,
            "quantization_error": 0.01 * share / epoch if regularize else None,
            "val_accuracy": min(1.0, max(0.0, accuracy)),
            "float_val_accuracy": 1.0 - 0.1 / epoch,
            "bits_per_weight": bits,
            "index_bits_per_weight": float(math.ceil(math.log2(levels))),
            "entropy_bits_per_weight": 0.9 * bits,
            "conv_bits_per_weight": 1.1 * bits,
            "linear_bits_per_weight": 0.95 * bits,
            "train_seconds": self.seconds(suggestion, epoch),
            "artifact_bytes": 123456,
            "device": "cpu",
            "hostname": f"node-{suggestion['number'] % 100}",
            "done": epoch >= budget,
        }

    def _rng(self, suggestion: dict[str, Any], epoch: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, suggestion["number"], epoch])


def _budget(suggestion: dict[str, Any]) -> int:
    return int(suggestion["trial"]["regularize_epochs"] + suggestion["trial"]["finetune_epochs"])
