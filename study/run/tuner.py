"""Run of a study, new or resumed: puts searcher, scheduler, records and Ray Tune together."""

import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

from rich.console import Console

from study.cluster.connect import announcement, connect, quiet_libraries
from study.config import StudyConfig
from study.errors import StudyInterrupted, TrialsFailAlike, interruption_behind
from study.interruption import Interrupted, interruption
from study.ledger.facts import SESSION_ENDED, SESSION_STARTED
from study.ledger.history import CHECKPOINTS_KEPT, History
from study.ledger.ledger import Ledger
from study.storage.folder import StudyFolder
from study.storage.liveliness import Liveliness
from trainables.import_path import module_of

if TYPE_CHECKING:
    from ray.tune import Trainable

    from study.records.optuna_mirror import OptunaMirror
    from study.run.progress import Progress

MOST_AT_A_TIME = 10_000
"""Most trials that Ray accepts before the first of them is placed; its own default is to place one after another."""


def run_study(
    folder: StudyFolder,
    config: StudyConfig,
    console: Console,
    address: str | None = None,
    verbose: bool = False,
    trainable: "type[Trainable] | None" = None,
) -> Liveliness:
    """Run the trials of a study that have not ended: all of a new study, the rest of an interrupted one.

    Args:
        folder: folder of the study, as `StudyFolder.create` has made it.
        config: configuration that the folder holds.
        console: shows the progress.
        address: address of a Ray cluster; None to start Ray on this machine.
        verbose: show Ray's and Optuna's own messages too.
        trainable: Ray's class of a trial; `CompressionTrial` if None.

    Returns:
        `FINISHED`, or `INTERRUPTED` by a signal, after which the study can be resumed.

    Raises:
        ValueError: no trial fits the cluster, or another process runs the study.
        DamagedFileError: the ledger can't be read.
        StudyInterrupted: the study can't be written, or its trials can't be trained; it can be resumed.
    """
    if not verbose:
        quiet_libraries()
    ledger = folder.open_ledger(console.print)
    try:
        return _run(folder, config, ledger, console, address, verbose, trainable)
    except Exception as error:
        if failure := interruption_behind(error, folder):
            raise failure from None
        raise
    finally:
        ledger.close()


def _run(
    folder: StudyFolder,
    config: StudyConfig,
    ledger: Ledger,
    console: Console,
    address: str | None,
    verbose: bool,
    trainable: "type[Trainable] | None",
) -> Liveliness:
    import optuna
    from ray import tune

    from study.cluster.capacity import Capacity
    from study.cluster.watchdog import Watchdog
    from study.records.optuna_mirror import OptunaMirror
    from study.records.provenance import provenance
    from study.records.recorder import Recorder
    from study.run.baselines import float_baselines
    from study.run.progress import Progress, SilentReporter
    from study.run.recovery import end_finished_trials, prune_checkpoints
    from study.search.scheduler import RungScheduler
    from study.search.searcher import OptunaSearcher
    from study.sources import import_paths_of
    from trainables.trainable import CompressionTrial

    if not verbose:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
    mirror = OptunaMirror(folder, config)
    rungs = end_finished_trials(ledger, config)
    if ledger.history.num_ended >= config.trials:  # the last driver may have died before it recorded that
        if ledger.history.sessions[-1].outcome is None:
            prune_checkpoints(folder, ledger.history)  # Ray's state is older than the ledger
        _show(folder, ledger.history, mirror, console)
        return Liveliness.FINISHED
    with console.status(announcement(address)):
        connect(config, address, verbose)
    modules = {module_of(name).partition(".")[0] for names in import_paths_of(config).values() for name in names}
    session = len(ledger.history.sessions) + 1
    ledger.record(
        SESSION_STARTED,
        session=session,
        pid=os.getpid(),
        hostname=socket.gethostname(),
        provenance=provenance(modules, config.trial["sources"]),
    )
    try:
        with Watchdog(str(folder), local=address is None), interruption.deferred():
            baselines = float_baselines(folder, config, ledger, console)
    except KeyboardInterrupt:
        ledger.record(SESSION_ENDED, session=session, outcome=Liveliness.INTERRUPTED)
        raise
    prune_checkpoints(folder, ledger.history)
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"  # the ledger holds all results
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # study.interruption handles SIGINT
    os.environ["TUNE_DISABLE_STRICT_METRIC_CHECKING"] = "1"  # a trial that diverges reports no accuracy
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(MOST_AT_A_TIME)  # the searcher limits the number
    capacity = Capacity(
        config.resources, grows=address is not None, remaining=lambda: config.trials - ledger.history.num_ended
    )
    ending: StudyInterrupted | None = None
    with (
        Progress(ledger.history, config.trials, console) as progress,
        closing(capacity),
        Watchdog(str(folder), local=address is None, before_end=progress.stop),
        leaving_terminal(progress),
        interruption.deferred(),
        suppress(Interrupted),
    ):
        tuner = tune.Tuner(
            tune.with_resources(
                trainable or CompressionTrial, {"cpu": config.resources.cpus, "gpu": config.resources.gpus}
            ),
            tune_config=tune.TuneConfig(
                search_alg=OptunaSearcher(config, ledger, baselines, capacity.trials, folder),
                scheduler=RungScheduler(rungs),
                num_samples=-1,  # the searcher ends the study
                reuse_actors=True,
                trial_name_creator=lambda trial: str(trial.config["trial_id"]),
                trial_dirname_creator=lambda trial: f"{trial.config['trial_id']}-{trial.config['attempt']}",
            ),
            run_config=tune.RunConfig(
                name=f"session-{session:03}",
                **folder.storage.ray_options(),
                verbose=2 if verbose else 0,
                progress_reporter=None if verbose else SilentReporter(),
                callbacks=[Recorder(folder, ledger, mirror, config.epochs), progress],
                checkpoint_config=tune.CheckpointConfig(num_to_keep=CHECKPOINTS_KEPT, checkpoint_frequency=1),
                failure_config=tune.FailureConfig(max_failures=0),  # the searcher repeats lost trials
            ),
        )
        try:
            tuner.fit()
        except Exception as error:  # Tune wraps the exceptions of its callbacks
            ending = interruption_behind(error, folder)
            if not isinstance(ending, TrialsFailAlike):
                raise
    outcome = Liveliness.FINISHED if ledger.history.num_ended >= config.trials else Liveliness.INTERRUPTED
    ledger.record(SESSION_ENDED, session=session, outcome=outcome)
    _show(folder, ledger.history, mirror, console)
    if ending is not None:
        raise ending
    return outcome


@contextmanager
def leaving_terminal(progress: "Progress") -> Iterator[None]:
    """Let a second signal restore the terminal that the progress panel has changed."""
    interruption.before_end = progress.stop
    try:
        yield
    finally:
        interruption.before_end = None


def _show(folder: StudyFolder, history: History, mirror: "OptunaMirror", console: Console) -> None:
    """Write all files that are derived from the ledger."""
    from study.records.recorder import write_tables

    write_tables(folder, history)
    mirror.sync(history)
    folder.publish()
    if mirror.trouble:
        console.print(f"{mirror.trouble}; all other files are complete; try again with: qar resume {folder}")
