"""Run of a confirmation: the front of a search trained again with fresh seeds."""

from collections.abc import Set

from study.addresses import check_addresses
from study.commands.confirm import confirmation_of, left_wanting
from study.config import StudyConfig
from study.ledger.history import History
from study.run.checks import check_cluster, check_existing_study, check_other_studies
from study.run.options import RunOptions
from study.run.outcome import StudyOutcome
from study.run.session import run_and_report
from study.run.study_run import StudyRun
from study.sources import make_importable
from study.storage.folder import StudyFolder
from study.storage.shown_errors import shown_errors


def confirm(
    directory: str,
    seeds: int = 5,
    margin: float = 0.0,
    levels: Set[int] | None = None,
    options: RunOptions | None = None,
) -> StudyOutcome:
    """Train the front of a study again with fresh seeds, and report on the study.

    Args:
        directory: folder or URI of the study.
        seeds: number of seeds for each configuration.
        margin: also confirm trials within this accuracy of the front.
        levels: numbers of levels at which all families are compared; None for those of the front.
        options: where to run, and where messages go.

    Raises:
        ValueError: the request is wrong, or the cluster can't run the confirmation; then nothing is written.
        Exception: as `run_study` raises.
    """
    options = options or RunOptions()
    folder = StudyFolder.at(directory)
    with shown_errors(folder):
        confirmation, config = confirmation_of(folder, seeds, margin, levels)
        check_addresses(config, options.trust_addresses, on_cluster=options.address is not None)
        make_importable(config.code)
        if not confirmation.exists():
            check_other_studies(confirmation, config)
            check_cluster(config, confirmation.storage.parent, options)
            confirmation.create(config)
        else:
            check_existing_study(confirmation, config, options)
            if confirmation.read_config() != config:
                add_seeds(confirmation, config, options)
        for line in left_wanting(folder.read_history(), folder.read_config(), config.plan):
            options.say(line)
        return run_and_report(StudyRun(folder=confirmation, config=config, options=options, confirmed=folder))


def add_seeds(confirmation: StudyFolder, config: StudyConfig, options: RunOptions) -> None:
    """Give a confirmation the seeds of a configuration, while holding its ledger's lock.

    Raises:
        ValueError: another process runs the confirmation, or has given it as many seeds meanwhile.
    """

    def extended(begun: StudyConfig, _: History) -> StudyConfig:
        if begun.replicates > config.replicates:
            raise ValueError(
                f"--seeds must be at least {begun.replicates}, which {confirmation} has been given, got "
                f"{config.replicates}; continue with: qar resume {confirmation}"
            )
        return config

    confirmation.change_config(extended, options.say)
