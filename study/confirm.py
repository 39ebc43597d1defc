"""`qar confirm`: the best of a search trained again under fresh seeds, and then looked at on the test split.

The best of many trials on the split that chose them is too good to be true. What a paper reports is the mean of runs
that no choice was made by.
"""

from collections.abc import Set

import moocore
import numpy as np

from study.config import EarlyStopping, PlannedTrial, StudyConfig, parse_study
from study.folder import CONFIRM, StudyFolder
from study.ledger import History, Trial, read_history
from study.object_store import above


def worth_confirming(history: History, margin: float) -> list[Trial]:
    """Trials on the front, and those less than `margin` below it in accuracy, by increasing bits."""
    candidates = [trial for trial in history.trials.values() if trial.is_front_candidate]
    if not candidates:
        return []
    points = np.array([(-trial.last["val_accuracy"], trial.last["bits_per_weight"]) for trial in candidates])
    on_front = moocore.is_nondominated(points, keep_weakly=True)
    front = points[on_front]
    chosen = []
    for trial, (loss, bits), kept in zip(candidates, points, on_front, strict=True):
        best = front[front[:, 1] <= bits, 0].min()  # never empty: something on the front has no more bits
        if kept or loss < best + margin:
            chosen.append(trial)
    return sorted(chosen, key=lambda trial: float(trial.last["bits_per_weight"]))


def best_of_families(history: History, levels: Set[int]) -> list[Trial]:
    """The most accurate candidate for the front of each family and K among `levels`; on ties the one of fewer bits."""
    best: dict[tuple[int, str], Trial] = {}
    candidates = [trial for trial in history.trials.values() if trial.is_front_candidate]
    for trial in sorted(candidates, key=lambda trial: (-trial.last["val_accuracy"], trial.last["bits_per_weight"])):
        if trial.config["num_levels"] in levels:
            best.setdefault((trial.config["num_levels"], trial.config["family"]), trial)
    return [best[key] for key in sorted(best)]


def plan_of(history: History, margin: float, only: Set[int] | None = None) -> list[PlannedTrial]:
    """What to confirm: the float baseline, those of `worth_confirming`, and at the same K their rivals.

    Rivals are `none` with k-means, and the best of each family: families are compared at equal K, each at its best.

    Args:
        history: of the search.
        margin: as in `worth_confirming`.
        only: values of K to confirm at; None for all of what is worth it.

    Raises:
        ValueError: nothing is worth confirming at one of `only`.
    """
    worthy = worth_confirming(history, margin)
    levels = {trial.config["num_levels"] for trial in worthy}
    if only is not None:
        if unworthy := sorted(only - levels):
            raise ValueError(
                f"levels must be among {sorted(levels)}, which are worth confirming, got {unworthy}; leave these out"
            )
        levels &= only
        worthy = [trial for trial in worthy if trial.config["num_levels"] in levels]
    chosen = [
        PlannedTrial(**{name: trial.config[name] for name in PlannedTrial.model_fields})
        for trial in [*worthy, *best_of_families(history, levels)]
    ]
    plain = [PlannedTrial(family="none", num_levels=num_levels) for num_levels in [None, *sorted(levels)]]
    plan: list[PlannedTrial] = []
    for trial in [*plain, *chosen]:
        if trial not in plan:
            plan.append(trial)
    return plan


def study_confirmed_by(folder: StudyFolder, config: StudyConfig) -> StudyFolder | None:
    """The study that this one confirms; None if it is no confirmation. Raises as `StudyFolder.at` does."""
    if not config.plan:
        return None
    if folder.remote:
        uri = folder.remote.bucket.uri
        return StudyFolder.at(above(uri)) if folder.path.name == CONFIRM else None
    path = folder.path if folder.path.name == CONFIRM else folder.path.resolve()
    return StudyFolder(path.parent) if path.name == CONFIRM else None


def confirmation_of(
    folder: StudyFolder, seeds: int, margin: float, only: Set[int] | None = None
) -> tuple[StudyFolder, StudyConfig]:
    """Folder and configuration of the confirmation of a study, which may have begun.

    Its seeds are those that follow the search's, so that weights, order, augmentation and splits are all new. More
    seeds than the confirmation has had so far go on with it. `margin` and `only` are as in `plan_of`.

    Raises:
        ValueError: there is nothing to confirm, or another confirmation has begun.
        DamagedFileError: the study's files can't be read.
    """
    searched = folder.read_config()
    if searched.plan:
        raise ValueError(f"{folder} is a confirmation itself; confirm the study that it belongs to")
    history = read_history(folder.ledger)
    trials = history.trials.values()
    if not any(trial.is_front_candidate for trial in trials):
        raise ValueError(f"{folder} has no quantized trial with its full budget to confirm; let the study run on")
    plan = plan_of(history, margin, only)
    values = searched.model_dump() | {
        "name": f"{searched.name}-{CONFIRM}",
        "trials": len(plan) * seeds,
        # A search whose space is exhausted has used more seeds than it has replicates.
        "seed": max(searched.seed + searched.replicates - 1, *(trial.config["seed"] for trial in trials)) + 1,
        "replicates": seeds,
        "plan": [trial.model_dump() for trial in plan],
        "trial": searched.trial | {"evaluate_test": True},
        "early_stopping": EarlyStopping(scheduler="none", grace_period=1).model_dump(),
        "warm_start": [],
        "constraints": [],
    }
    config = parse_study(values, str(folder.path))
    confirmation = folder.confirmation
    if confirmation.exists() and (begun := confirmation.read_config()) != config:
        fewer = config.model_copy(update={"replicates": begun.replicates, "trials": begun.trials})
        if begun == fewer and begun.replicates < seeds:
            return confirmation, config
        raise ValueError(
            f"{confirmation} holds another confirmation: of {len(begun.plan)} configurations with "
            f"{begun.replicates} seeds, got {len(plan)} with {seeds}; go on with: qar resume {confirmation}, or "
            "move that folder away"
        )
    return confirmation, config
