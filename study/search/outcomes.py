"""The state in which a trial has ended, as its last result shows it."""

import math
from typing import Any

from study.search.optuna_trials import OBJECTIVES
from trainables.result import TrialState


def outcome(result: dict[str, Any] | None, epochs: int) -> tuple[TrialState, str | None]:
    """Return the state in which a trial ended, and the reason of a failure if the result holds one.

    Args:
        result: last reported result; None if there is none.
        epochs: full budget in epochs.
    """
    if result is None or result.get("failure"):
        return TrialState.FAIL, result.get("failure") if result else None
    for name in OBJECTIVES:
        if not math.isfinite(result.get(name, 0.0)):
            return TrialState.FAIL, f"{name} is not finite: {result[name]}"
    return (TrialState.COMPLETE if result["epoch"] >= epochs else TrialState.PRUNED), None
