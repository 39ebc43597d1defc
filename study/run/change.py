"""Lasting changes of a study that exists: `qar resume --set`."""

from collections.abc import Sequence
from contextlib import closing

from study.addresses import remember
from study.config import StudyConfig, changed_by
from study.run.options import RunOptions
from study.run.recovery import end_finished_trials
from study.sources import import_paths_of
from study.storage.folder import StudyFolder
from study.trackers.registry import check_trackers
from trainables.import_path import module_of
from trainables.packed.check import check_packable
from trainables.preflight import preflight


def change_study(folder: StudyFolder, overrides: Sequence[str], options: RunOptions) -> StudyConfig:
    """Change keys of a study's configuration, while holding its ledger, and return the new configuration.

    The ledger holds the change with its time and user. Where space or early stopping change, study.yaml keeps the
    earlier ones.

    Args:
        folder: the study.
        overrides: changes, each as KEY=VALUE, as `changed_by` allows them.
        options: receivers of messages.

    Raises:
        ValueError: a change is not allowed, or another process runs the study; then nothing is written.
        DamagedFileError: the study's files can't be read.
    """
    present = folder.read_config()
    changed = changed_by(overrides, present)
    check_trackers(changed)
    _check_parts(present, changed, options)
    with closing(folder.open_ledger(options.say)) as ledger:
        present = folder.read_config()
        changed = changed_by(overrides, present)
        if changed.version != present.version:
            # By the rules under which they were trained.
            end_finished_trials(ledger, present)
        folder.record_config(changed, ledger, overrides)
    remember(changed)  # the new addresses are the user's own
    return changed


def _check_parts(present: StudyConfig, changed: StudyConfig, options: RunOptions) -> None:
    """Check that trials of the changed space can be trained, and print warnings about them.

    Raises:
        ValueError: the study lacks the code of a part, or a trial can't be trained.
    """
    had, has = ({module_of(n): n for ns in import_paths_of(c).values() for n in ns} for c in (present, changed))
    for module, name in has.items():
        if module not in had:
            raise ValueError(
                f"space must name parts whose code the study holds, got {name!r}; launch another study with it, and "
                "warm_start from this one"
            )
    trial = changed.trial_config({"family": "none", "num_levels": None, "init": "scratch"})
    together = changed.resources.trials_per_actor
    if together not in (1, present.resources.trials_per_actor):
        for line in check_packable(trial, together):
            options.say(f"warning: {line}")
    if changed.most_levels != present.most_levels:
        parts = import_paths_of(changed)
        for line in preflight(trial, changed.most_levels, parts.get("family", []), parts.get("placement", [])):
            options.say(f"warning: {line}")
