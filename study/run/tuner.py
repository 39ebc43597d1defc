"""Launch and resume: puts searcher, scheduler, records and Ray Tune together."""

import os
import socket
from contextlib import closing
from typing import TYPE_CHECKING

from rich.console import Console

from study.cluster.connect import announcement, connect, quiet_libraries
from study.config import StudyConfig
from study.errors import StorageError
from study.ledger.facts import SESSION_ENDED, SESSION_STARTED
from study.ledger.history import CHECKPOINTS_KEPT, History
from study.ledger.ledger import Ledger
from study.storage.folder import StudyFolder

if TYPE_CHECKING:
    from ray.tune import Trainable

    from study.records.optuna_mirror import Mirror

MOST_AT_A_TIME = 10_000
"""Trials that Ray may be given before the first of them has found its place. By itself it takes one after another."""

RUNNING = "running"
FINISHED = "finished"
INTERRUPTED = "interrupted"


def liveliness(folder: StudyFolder, history: History, trials: int) -> str:
    """`not started`, `running`, `finished`, `interrupted` (by Ctrl-C, or extended since) or `died`."""
    if folder.is_driven():
        return RUNNING
    if not history.sessions:
        return "not started"
    if history.num_ended >= trials:
        return FINISHED
    outcome = history.sessions[-1].outcome or "died"
    return INTERRUPTED if outcome == FINISHED else outcome  # it was extended, and nobody has begun with that


def run_study(
    folder: StudyFolder,
    config: StudyConfig,
    console: Console,
    address: str | None = None,
    verbose: bool = False,
    trainable: "type[Trainable] | None" = None,
) -> str:
    """Runs what is left of a study: all of it after `StudyFolder.create`, the rest after an interruption.

    Args:
        folder: of the study.
        config: as in the folder.
        console: for the progress.
        address: of a Ray cluster; None for a Ray of its own.
        verbose: show Ray's and Optuna's own messages too.
        trainable: what a trial runs; `CompressionTrial` if None.

    Returns:
        `FINISHED`, or `INTERRUPTED` by Ctrl-C, after which it can be run again.

    Raises:
        ValueError: no trial fits the cluster, or another process runs the study.
        DamagedFileError: the ledger can't be read.
        StorageError: the study can't be written; it can be run again when it can.
    """
    if not verbose:
        quiet_libraries()
    ledger = folder.open_ledger(console.print)
    try:
        return _run(folder, config, ledger, console, address, verbose, trainable)
    except Exception as error:
        if failure := StorageError.behind(error, folder):
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
) -> str:
    import optuna
    from ray import tune

    from study.cluster.capacity import Room
    from study.cluster.watchdog import Connection
    from study.records.optuna_mirror import Mirror
    from study.records.provenance import provenance
    from study.records.recorder import Recorder
    from study.run.baselines import float_baselines
    from study.run.progress import Progress, SilentReporter
    from study.run.recovery import settle, sweep
    from study.search.scheduler import RungScheduler
    from study.search.searcher import OptunaSearcher
    from trainables.trainable import CompressionTrial

    if not verbose:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
    mirror = Mirror(folder, config)
    rungs = settle(ledger, config)
    if ledger.history.num_ended >= config.trials:  # the last driver may have died before it could say so
        if ledger.history.sessions[-1].outcome is None:
            sweep(folder, ledger.history)  # Ray's state, which is behind
        _show(folder, ledger.history, mirror, console)
        return FINISHED
    with console.status(announcement(address)):
        connect(config, address, verbose)
    session = len(ledger.history.sessions) + 1
    ledger.record(
        SESSION_STARTED, session=session, pid=os.getpid(), hostname=socket.gethostname(), provenance=provenance()
    )
    try:
        with Connection(str(folder)):
            baselines = float_baselines(folder, config, ledger, console)
    except KeyboardInterrupt:
        ledger.record(SESSION_ENDED, session=session, outcome=INTERRUPTED)
        raise
    sweep(folder, ledger.history)
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"  # the ledger has all of it
    os.environ["TUNE_DISABLE_STRICT_METRIC_CHECKING"] = "1"  # a trial that diverges has no accuracy to report
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(MOST_AT_A_TIME)  # the searcher says how many
    room = Room(config.resources, grows=address is not None, left=lambda: config.trials - ledger.history.num_ended)
    with (
        Progress(ledger.history, config.trials, console) as progress,
        closing(room),
        Connection(str(folder), before_end=progress.stop),
    ):
        tuner = tune.Tuner(
            tune.with_resources(
                trainable or CompressionTrial, {"cpu": config.resources.cpus, "gpu": config.resources.gpus}
            ),
            tune_config=tune.TuneConfig(
                search_alg=OptunaSearcher(config, ledger, baselines, room.trials, folder),
                scheduler=RungScheduler(rungs),
                num_samples=-1,  # the searcher says when all are run
                reuse_actors=True,
                trial_name_creator=lambda trial: str(trial.config["trial_id"]),
                trial_dirname_creator=lambda trial: f"{trial.config['trial_id']}-{trial.config['attempt']}",
            ),
            run_config=tune.RunConfig(
                name=f"session-{session:03}",
                **folder.ray_storage,
                verbose=2 if verbose else 0,
                progress_reporter=None if verbose else SilentReporter(),
                callbacks=[Recorder(folder, ledger, mirror, config.epochs), progress],
                checkpoint_config=tune.CheckpointConfig(num_to_keep=CHECKPOINTS_KEPT, checkpoint_frequency=1),
                failure_config=tune.FailureConfig(max_failures=0),  # the searcher hands out again what was lost
            ),
        )
        tuner.fit()
    outcome = FINISHED if ledger.history.num_ended >= config.trials else INTERRUPTED
    ledger.record(SESSION_ENDED, session=session, outcome=outcome)
    _show(folder, ledger.history, mirror, console)
    return outcome


def _show(folder: StudyFolder, history: History, mirror: "Mirror", console: Console) -> None:
    """Writes all that is derived from the ledger."""
    from study.records.recorder import write_tables

    write_tables(folder, history)
    mirror.sync(history)
    folder.publish()
    if mirror.trouble:
        console.print(f"{mirror.trouble}; nothing else is touched by that; try again with: qar resume {folder}")
