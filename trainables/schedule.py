"""How learning rates and λ change over a phase: plain functions of the time."""

import math


def learning_rate_share(schedule: str, done: float) -> float:
    """Share of the highest learning rate when `done` of the phase, in [0, 1], is over.

    `cosine` falls to 0; `step` is 1, a tenth from the half on, and a hundredth from three quarters on.
    """
    if schedule == "step":
        return 1.0 if done < 0.5 else 0.1 if done < 0.75 else 0.01
    return (1 + math.cos(math.pi * done)) / 2


def warmup_share(epochs_done: float, warmup_epochs: float) -> float:
    """Rises from 0 to 1 over the first `warmup_epochs`, linearly; 1 throughout if there are none."""
    return min(1.0, epochs_done / warmup_epochs) if warmup_epochs else 1.0
