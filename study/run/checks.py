"""Checks before a study runs; none of them writes anything."""

from study.config import StudyConfig
from study.doctor.check import CheckStatus, check_lines
from study.records.optuna_mirror import OptunaMirror
from study.run.options import RunOptions
from study.search.warm_start import check_warm_start
from study.storage.folder import StudyFolder
from study.storage.liveliness import Liveliness, liveliness
from trainables.preflight import preflight


def check_trials(config: StudyConfig, options: RunOptions) -> None:
    """Print warnings about the trials of a study.

    Raises:
        ValueError: the network can't train on the data set.
    """
    trial = config.trial_config({"family": "none", "num_levels": None, "init": "scratch"})
    for line in preflight(trial, config.most_levels):
        options.say(f"warning: {line}")


def check_other_studies(folder: StudyFolder, config: StudyConfig) -> None:
    """Check the studies that a new one depends on.

    Raises:
        ValueError: a study of the warm start can't be read, or Optuna's storage holds a study of this name.
    """
    check_warm_start(config)
    OptunaMirror(folder, config).check_free()


def check_cluster(folder: StudyFolder, config: StudyConfig, options: RunOptions) -> None:
    """Run the doctor's quick checks for a study on a cluster; print them if one of them fails.

    Raises:
        ValueError: a check fails.
    """
    settled = (Liveliness.FINISHED, Liveliness.RUNNING)
    if options.address is None or liveliness(folder, folder.read_history(), config.trials) in settled:
        return
    from study.doctor.examine import examine_cluster  # here, since it imports Ray, which reads the environment then

    checks = examine_cluster(
        config, options.address, folder.storage.parent, price=None, quick=True, verbose=options.verbose
    )
    if any(check.status == CheckStatus.FAIL for check in checks):
        console = options.console
        for line in check_lines(checks, console.width if console.is_terminal else None):
            console.print(line)
        raise ValueError("the cluster can't run this study; mend what fails above, then try again")
