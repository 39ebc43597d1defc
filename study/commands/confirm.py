"""Plan of a confirmation: the best trials of a search, to be trained again with fresh seeds, for the test split.

The accuracy of the best of many trials, on the split by which they were compared, is too high. A paper reports means of
runs whose accuracies were not used to choose them.
"""

from collections.abc import Iterable, Set

import moocore
import numpy as np

from study.config import EarlyStopping, PlannedTrial, Space, StudyConfig, parse_study
from study.ledger.history import History, Trial
from study.run.session_facts import check_loop
from study.search.space import value_at
from study.storage.folder import StudyFolder
from study.storage.liveliness import is_complete
from study.storage.study_storage import CONFIRM
from trainables.config import LARGEST_INTEGER

MOST_SEEDS = 2**32
"""Seeds above those of a search that must fit into the tables; otherwise the seeds of a confirmation begin from 0."""


def worth_confirming(history: History, margin: float) -> list[Trial]:
    """Return the trials on the front, and those less than `margin` below it in accuracy, by increasing bits."""
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


def best_of_families(
    history: History, levels: Set[int], everywhere: bool = False, space: Space | None = None
) -> list[PlannedTrial]:
    """Return the most accurate configuration of each family at each K; the one with fewer bits wins a tie.

    Args:
        history: history of the search.
        levels: values of K.
        everywhere: whether to include families without a candidate for the front at a K. Such a family gets λ and
            placement of its best trial at the nearest K by ratio; the smaller K wins a tie.
        space: space of the search. Each value of a scientific dimension counts as a family of its own; of all nuisances
            the best values count. None for a space without further fields.
    """
    fields = list(space.fields) if space else []
    scientific = [name for name in fields if space and space.fields[name].role == "scientific"]

    candidates = [trial for trial in history.trials.values() if trial.is_front_candidate]
    candidates.sort(key=lambda trial: (-trial.last["val_accuracy"], trial.last["bits_per_weight"]))
    best: dict[tuple[str, ...], dict[int, Trial]] = {}
    for trial in candidates:
        group = (trial.config["family"], *(str(value_at(trial.config, name)) for name in scientific))
        best.setdefault(group, {}).setdefault(trial.config["num_levels"], trial)
    chosen = []
    for num_levels in sorted(levels):
        for _, at in sorted(best.items()):
            nearest = min(at, key=lambda other: (max(other / num_levels, num_levels / other), other))
            if everywhere or nearest == num_levels:
                chosen.append(planned(at[nearest], fields).model_copy(update={"num_levels": num_levels}))
    return chosen


def planned(trial: Trial, fields: Iterable[str] = ()) -> PlannedTrial:
    """Return the configuration of a trial of the search, to be run again.

    Args:
        trial: trial of the search.
        fields: dotted names of further searched fields.
    """
    own = set(PlannedTrial.model_fields) - {"fields"}
    searched = {name: value_at(trial.config, name) for name in fields}
    return PlannedTrial(**{name: trial.config[name] for name in own}, fields=searched)


def plan_of(
    history: History, margin: float, only: Set[int] | None = None, space: Space | None = None
) -> list[PlannedTrial]:
    """Return the configurations to confirm: the float baseline, the trials of `worth_confirming`, and their rivals.

    Rivals are, at each of their K, `none` with k-means and the best trial of each family, so that families are compared
    at equal K, each at its best.

    Args:
        history: history of the search.
        margin: as in `worth_confirming`.
        space: space of the search, as in `best_of_families`.
        only: values of K to confirm, each with every family; None for those of `worth_confirming`.

    Raises:
        ValueError: one of `only` lies outside the range of K that the search has trained for the full budget.
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
    best = best_of_families(history, levels, everywhere=only is not None, space=space)
    fields = list(space.fields) if space else []
    plan: list[PlannedTrial] = []
    for trial in [*plain, *(planned(trial, fields) for trial in worthy if trial.config["num_levels"] in levels), *best]:
        if trial not in plan:
            plan.append(trial)
    return plan


def left_wanting(history: History, searched: StudyConfig, plan: list[PlannedTrial]) -> list[str]:
    """Return a line for each family that a confirmation can't compare, because early stopping ended all its trials."""
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
    """Return the folder and the configuration of the confirmation of a study, which may exist already.

    Its seeds follow those of the search, so that weights, order, augmentation and splits are all new. An existing
    confirmation can get more seeds. `margin` and `only` are as in `plan_of`.

    Raises:
        ValueError: there is nothing to confirm, another confirmation has begun, a loop of the user's own has trained
            the study, or it holds a symbolic link.
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
    check_loop(folder, history, own=False)
    trials = history.trials.values()
    if not any(trial.is_front_candidate for trial in trials):
        remedy = f"run the study to its end: qar resume {folder}"
        if is_complete(history, searched):
            remedy = f"see why with: qar status {folder}; then extend it: qar resume {folder} --trials N"
        raise ValueError(f"{folder} has no quantized trial with its full budget to confirm; {remedy}")
    wanted = plan_of(history, margin, only, searched.space)
    # Fields that are left out have the values of `trial`, which another trial of the plan may name.
    by_hash = {searched.trial_config(trial.searched).hash: trial for trial in reversed(wanted)}
    plan = [trial for trial in wanted if trial in by_hash.values()]
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
        "stop": None,
        "earlier_versions": [],
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
