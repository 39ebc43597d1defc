"""Launch of a new study, and resumption of one that exists."""

from collections.abc import Sequence

from study.addresses import check_addresses, remember
from study.cluster.connect import connect
from study.config import StudyConfig, changes_by, load_study
from study.doctor.disk import forecast
from study.ledger.history import History
from study.run.change import change_study
from study.run.checks import check_cluster, check_existing_study, check_new_study, check_other_studies
from study.run.options import RunOptions
from study.run.outcome import StudyOutcome
from study.run.session import run_and_report
from study.run.session_facts import check_loop
from study.run.study_run import StudyRun
from study.sources import code_folders, make_importable, with_sources
from study.storage.folder import StudyFolder
from study.storage.liveliness import Liveliness, is_complete, liveliness
from study.storage.object_store import below, is_uri
from study.storage.shown_errors import shown_errors


def launch(
    study: str,
    storage: str = "studies",
    *,
    name: str | None = None,
    overrides: Sequence[str] = (),
    resume_if_exists: bool = False,
    options: RunOptions | None = None,
) -> StudyOutcome:
    """Run a new study, and report on it.

    Args:
        study: name of an installed study, or path of a YAML file.
        storage: folder or URI that holds the studies.
        name: name of the new study; None for the one in its configuration.
        overrides: changes of the configuration, each as KEY=VALUE.
        resume_if_exists: resume the study if one of this name exists.
        options: where to run, and where messages go.

    Raises:
        ValueError: the request is wrong, or the cluster can't run the study; then nothing is written.
        Exception: as `run_study` raises.
    """
    options = options or RunOptions()
    config = load_study(study, overrides, name)
    folder = folder_of(storage, config.name)
    with shown_errors(folder):
        config = with_sources(config.with_absolute_paths(), code_folders(study))
        remember(config)
        if resume_if_exists and folder.exists():
            config = _existing(folder, overrides, options)
        else:
            make_importable(config.code)
            check_new_study(folder, config, options)
            with folder.created(config):  # it is removed again if its trials fit on no node
                connect(config, options.address, options.verbose, options.console)
            options.say(forecast(config))
        return run_and_report(StudyRun(folder=folder, config=config, options=options))


def folder_of(storage: str, name: str) -> StudyFolder:
    """Return the study of a name in a folder or at a URI that holds studies. Raises as `StudyFolder.at` does."""
    return StudyFolder.at(below(storage, name) if is_uri(storage) else f"{storage}/{name}")


def create(
    study: str,
    storage: str = "studies",
    *,
    name: str | None = None,
    overrides: Sequence[str] = (),
    options: RunOptions | None = None,
) -> StudyFolder:
    """Create a study whose trials a loop of the user's own will train, and return its folder.

    Args:
        study: name of an installed study, or path of a YAML file.
        storage: folder or URI that holds the studies.
        name: name of the new study; None for the one in its configuration.
        overrides: changes of the configuration, each as KEY=VALUE.
        options: where messages go.

    Raises:
        ValueError: the request is wrong; then nothing is written.
    """
    config = load_study(study, overrides, name)
    folder = folder_of(storage, config.name)
    with shown_errors(folder):
        config = with_sources(config.with_absolute_paths(), code_folders(study))
        make_importable(config.code)
        folder.check_free()
        check_other_studies(folder, config)
        remember(config)
        folder.create(config)
    return folder


def _existing(folder: StudyFolder, overrides: Sequence[str], options: RunOptions) -> StudyConfig:
    """Return the configuration of a study that exists, after the checks that precede its resumption.

    Raises:
        ValueError: the overrides differ from it, or a check fails.
    """
    config = folder.read_config()
    check_addresses(config, trusted=False, on_cluster=options.address is not None)
    make_importable(config.code)
    if changes := changes_by(overrides, config):
        raise ValueError(
            f"--trials and --set must agree with a study that exists, got {changes}; leave them out, or "
            f"choose another --name than {config.name!r}"
        )
    check_existing_study(folder, config, options)
    return config


def resume(
    directory: str,
    trials: int | None = None,
    options: RunOptions | None = None,
    overrides: Sequence[str] = (),
) -> StudyOutcome:
    """Continue an interrupted study, or extend a finished one, and report on it.

    Args:
        directory: folder or URI of the study.
        trials: number of trials to add to a finished study; None to add none.
        options: where to run, and where messages go.
        overrides: lasting changes of the configuration, each as KEY=VALUE, as `change_study` allows them.

    Raises:
        ValueError: the request is wrong, or the cluster can't run the study; then nothing is written.
        Exception: as `run_study` raises.
    """
    options = options or RunOptions()
    folder = StudyFolder.at(directory)
    with shown_errors(folder):
        folder.check_no_links()
        config = folder.read_config()
        check_addresses(config, options.trust_addresses, on_cluster=options.address is not None)
        if overrides:
            make_importable(config.code)
            config = change_study(folder, overrides, options)
        make_importable(config.code)
        if trials is None:
            check_existing_study(folder, config, options)
        else:
            wanted = _extended(folder, config, trials)
            check_cluster(wanted, folder.storage.parent, options)
            # Before anything is written, since its trials may fit on no node.
            connect(wanted, options.address, options.verbose, options.console)
            config = extend(folder, trials, options)
        confirmed = folder.confirmed if config.plan else None
        return run_and_report(StudyRun(folder=folder, config=config, options=options, confirmed=confirmed))


def _extended(folder: StudyFolder, config: StudyConfig, trials: int) -> StudyConfig:
    """Return the configuration that `extend` would write."""
    if config.plan:
        raise ValueError(
            f"--trials extends a search, got {trials} for {folder}, which runs a plan; more seeds of a confirmation "
            "are trained with: qar confirm STUDY --seeds N"
        )
    history = folder.read_history()
    check_loop(folder, history, own=False)
    state = liveliness(folder, history, config)
    if state is not Liveliness.FINISHED:
        raise _unfinished(folder, trials, state)
    return config.model_copy(update={"trials": config.trials + trials})


def _unfinished(folder: StudyFolder, trials: int, state: Liveliness) -> ValueError:
    return ValueError(
        f"--trials extends a study that has finished, got {trials} for {folder} ({state}); "
        f"finish it first: qar resume {folder}"
    )


def extend(folder: StudyFolder, trials: int, options: RunOptions) -> StudyConfig:
    """Add trials to the configuration of a finished study, while holding its ledger's lock; return the result.

    Raises:
        ValueError: the study has not finished, or another process runs it.
    """

    def extended(config: StudyConfig, history: History) -> StudyConfig:
        if not is_complete(history, config):  # another process has extended it meanwhile
            raise _unfinished(folder, trials, Liveliness.INTERRUPTED)
        return config.model_copy(update={"trials": config.trials + trials})

    return folder.change_config(extended, options.say)
