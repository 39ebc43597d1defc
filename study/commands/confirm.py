"""`qar confirm`: the best of a search trained again under fresh seeds, and then looked at on the test split.

The best of many trials on the split that chose them is too good to be true. What a paper reports is the mean of runs
that no choice was made by.
"""

from collections.abc import Set

import moocore
import numpy as np

from study.config import EarlyStopping, PlannedTrial, StudyConfig, parse_study
from study.ledger.history import History, Trial
from study.storage.folder import StudyFolder
from study.storage.study_storage import CONFIRM
from trainables.config import LARGEST_INTEGER

MOST_SEEDS = 2**32
"""Seeds above the last one of a search that must fit the tables, or else a confirmation begins from 0."""


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


def best_of_families(history: History, levels: Set[int], everywhere: bool = False) -> list[PlannedTrial]:
    """The most accurate configuration of each family at each K among `levels`; on ties the one of fewer bits.

    Args:
        history: of the search.
        levels: values of K.
        everywhere: also of a family that has no candidate for the front at such a K. It is given the strength and
            placement of its best at the nearest K, by ratio; of two as near, the smaller.
    """
    candidates = [trial for trial in history.trials.values() if trial.is_front_candidate]
    candidates.sort(key=lambda trial: (-trial.last["val_accuracy"], trial.last["bits_per_weight"]))
    best: dict[str, dict[int, Trial]] = {}
    for trial in candidates:
        best.setdefault(trial.config["family"], {}).setdefault(trial.config["num_levels"], trial)
    chosen = []
    for num_levels in sorted(levels):
        for _, at in sorted(best.items()):
            nearest = min(at, key=lambda other: (max(other / num_levels, num_levels / other), other))
            if everywhere or nearest == num_levels:
                chosen.append(planned(at[nearest]).model_copy(update={"num_levels": num_levels}))
    return chosen


def planned(trial: Trial) -> PlannedTrial:
    """The configuration of a trial of the search, to be run again."""
    return PlannedTrial(**{name: trial.config[name] for name in PlannedTrial.model_fields})


def plan_of(history: History, margin: float, only: Set[int] | None = None) -> list[PlannedTrial]:
    """Return what to confirm: the float baseline, the trials of `worth_confirming`, and their rivals at the same K.

    Rivals are `none` with k-means, and the best of each family: families are compared at equal K, each at its best.

    Args:
        history: of the search.
        margin: as in `worth_confirming`.
        only: values of K to confirm at, with every family at each of them, as `best_of_families` has it everywhere;
            None for all of what is worth it.

    Raises:
        ValueError: one of `only` is outside what the search has trained to its end.
    """
    worthy = worth_confirming(history, margin)
    levels = only or {trial.config["num_levels"] for trial in worthy}
    trained = [trial.config["num_levels"] for trial in history.trials.values() if trial.is_front_candidate]
    if outside := sorted(num_levels for num_levels in levels if not min(trained) <= num_levels <= max(trained)):
        raise ValueError(
            f"levels must lie between {min(trained)} and {max(trained)}, which the search has trained to their end, "
            f"got {outside}; leave these out"
        )
    plain = [PlannedTrial(family="none", num_levels=num_levels) for num_levels in [None, *sorted(levels)]]
    best = best_of_families(history, levels, everywhere=only is not None)
    plan: list[PlannedTrial] = []
    for trial in [*plain, *(planned(trial) for trial in worthy if trial.config["num_levels"] in levels), *best]:
        if trial not in plan:
            plan.append(trial)
    return plan


def left_wanting(history: History, searched: StudyConfig, plan: list[PlannedTrial]) -> list[str]:
    """Return a line for each family that a confirmation can't compare: the search stopped its trials too early."""
    trained = {
        (trial.config["family"], trial.config["num_levels"])
        for trial in history.trials.values()
        if trial.is_front_candidate
    }
    missing = sorted(set(searched.space.family) - {family for family, _ in trained})
    return [
        *(f"{family} is not compared: no trial of it was trained to its end" for family in missing),
        *(
            f"{trial.family} at K = {trial.num_levels}: no trial of it was trained to its end there; "
            f"λ = {trial.lam:.2g} and placement {trial.placement} are those of its best at the nearest K"
            for trial in plan
            if trial.family != "none" and (trial.family, trial.num_levels) not in trained
        ),
    ]


def study_confirmed_by(folder: StudyFolder, config: StudyConfig) -> StudyFolder | None:
    """Return the study that this one confirms; None if it is no confirmation. Raises as `StudyFolder.at` does."""
    return folder.confirmed if config.plan else None


def first_free_seed(searched: StudyConfig, history: History) -> int:
    """Return the first seed of a confirmation: above those of the search, or 0 where the tables hold none so large.

    A search whose space is exhausted has used more seeds than it has replicates.
    """
    used = [searched.seed + searched.replicates - 1, *(trial.config["seed"] for trial in history.trials.values())]
    return max(used) + 1 if max(used) <= LARGEST_INTEGER - MOST_SEEDS else 0


def confirmation_of(
    folder: StudyFolder, seeds: int, margin: float, only: Set[int] | None = None
) -> tuple[StudyFolder, StudyConfig]:
    """Folder and configuration of the confirmation of a study, which may have begun.

    Its seeds are those that follow the search's, so that weights, order, augmentation and splits are all new. More
    seeds than the confirmation has had so far go on with it. `margin` and `only` are as in `plan_of`.

    Raises:
        ValueError: there is nothing to confirm, another confirmation has begun, or the study holds a symbolic link.
        DamagedFileError: the study's files can't be read.
    """
    folder.check_no_links()
    searched = folder.read_config()
    if searched.plan:
        if study_confirmed_by(folder, searched):
            raise ValueError(f"{folder} is a confirmation itself; confirm the study that it belongs to")
        raise ValueError(
            f"qar confirm takes a search, got {folder}, which ran a plan of {len(searched.plan)} configurations with "
            f"{searched.replicates} seeds each; its results are in: qar report {folder}"
        )
    history = folder.read_history()
    trials = history.trials.values()
    if not any(trial.is_front_candidate for trial in trials):
        remedy = f"run the study to its end: qar resume {folder}"
        if history.num_ended >= searched.trials:
            remedy = f"see why with: qar status {folder}; then extend it: qar resume {folder} --trials N"
        raise ValueError(f"{folder} has no quantized trial with its full budget to confirm; {remedy}")
    plan = plan_of(history, margin, only)
    values = searched.model_dump() | {
        "name": f"{searched.name}-{CONFIRM}",
        "trials": len(plan) * seeds,
        "seed": first_free_seed(searched, history),
        "replicates": seeds,
        "plan": [trial.model_dump() for trial in plan],
        "trial": searched.trial | {"evaluate_test": True},
        "early_stopping": EarlyStopping(
            scheduler="none", grace_period=1, first_of_family=searched.early_stopping.first_of_family
        ).model_dump(),
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
