"""Checks before a study runs; none of them writes anything."""

from study.config import StudyConfig
from study.config.groups import levels_of_groups
from study.doctor.check import CheckStatus, check_lines
from study.records.optuna_mirror import OptunaMirror
from study.run.options import RunOptions
from study.search.warm_start import read_priors
from study.sources import import_paths_of, models_of
from study.storage.folder import StudyFolder
from study.storage.liveliness import Liveliness, liveliness
from study.trackers.registry import check_trackers
from trainables.packed.check import check_packable
from trainables.preflight import preflight


def check_new_study(folder: StudyFolder, config: StudyConfig, options: RunOptions) -> None:
    """Run all checks of a study that is not created yet, and print warnings about its trials.

    Raises:
        ValueError: the folder is taken, the network can't train on the data set, or another check fails.
    """
    folder.check_free()
    check_other_studies(folder, config)
    parts = import_paths_of(config)
    families, placements = parts.get("family", []), parts.get("placement", [])
    warnings: dict[str, None] = {}
    for model in models_of(config):
        plain = {"family": "none", "num_levels": None, "init": "scratch", "model": model}
        trial = config.trial_config(plain | levels_of_groups(config.space))
        warnings |= dict.fromkeys(preflight(trial, config.most_levels, families, placements))
        if config.resources.trials_per_actor > 1:
            warnings |= dict.fromkeys(check_packable(trial, config.resources.trials_per_actor))
    for line in warnings:
        options.say(f"warning: {line}")
    check_cluster(config, folder.storage.parent, options)


def check_existing_study(folder: StudyFolder, config: StudyConfig, options: RunOptions) -> None:
    """Check the cluster on which a study continues, unless its trials have all ended or another driver runs it.

    Raises:
        ValueError: a check fails.
        DamagedFileError: the ledger can't be read.
    """
    if options.address is None:
        return
    state = liveliness(folder, folder.read_history(), config)
    if state not in (Liveliness.FINISHED, Liveliness.RUNNING):
        check_cluster(config, folder.storage.parent, options)


def check_other_studies(folder: StudyFolder, config: StudyConfig) -> None:
    """Check the studies and the services that a new one depends on.

    Raises:
        ValueError: a study of the warm start can't be read, Optuna's storage holds a study of this name, or a tracker
            can't be used from here.
    """
    read_priors(config)
    check_trackers(config)
    OptunaMirror(folder, config).check_free()


def check_cluster(config: StudyConfig, storage: str, options: RunOptions) -> None:
    """Run the doctor's quick checks for a study on a cluster, if it runs on one; print them if one of them fails.

    Args:
        config: configuration of the study.
        storage: folder or URI that holds the studies.
        options: where the study runs, and where messages go.

    Raises:
        ValueError: a check fails.
    """
    if options.address is None:
        return
    from study.doctor.examine import examine_cluster  # here, since it imports Ray, which reads the environment then

    checks = examine_cluster(config, options.address, storage, price=None, quick=True, verbose=options.verbose)
    if any(check.status == CheckStatus.FAIL for check in checks):
        console = options.console
        for line in check_lines(checks, console.width if console.is_terminal else None):
            console.print(line)
        raise ValueError("the cluster can't run this study; mend what fails above, then try again")
