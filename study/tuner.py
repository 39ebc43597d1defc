"""Launch and resume: puts searcher, scheduler, records and Ray Tune together."""

import logging
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

from study.config import StudyConfig
from study.folder import StudyFolder
from study.ledger import (
    CHECKPOINTS_KEPT,
    SESSION_ENDED,
    SESSION_STARTED,
    History,
    Ledger,
    StorageError,
)

if TYPE_CHECKING:
    from ray.tune import Trainable

    from study.optuna_store import Mirror

SECONDS_TO_ANSWER = 10.0
"""After which a cluster counts as out of reach."""
CLUSTER_PATIENCE = int(os.environ.get("QAR_CLUSTER_PATIENCE", "45"))
"""Seconds without an answer of its head after which a cluster counts as lost."""

MOST_AT_A_TIME = 10_000
"""Trials that Ray may be given before the first of them has found its place. By itself it takes one after another."""

FINISHED = "finished"
INTERRUPTED = "interrupted"


def liveliness(folder: StudyFolder, history: History, trials: int) -> str:
    """`not started`, `running`, `finished`, `interrupted` (by Ctrl-C) or `died`."""
    if not history.sessions:
        return "not started"
    if folder.is_driven():
        return "running"
    if history.num_ended >= trials:
        return FINISHED
    return history.sessions[-1].outcome or "died"


def _quiet_libraries() -> None:
    """Keeps Ray's and Optuna's own messages out of the way. To be called before Ray is imported."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "(?s).*")  # what raylets say when a node is lost, on stdout
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new output prints a banner at any verbosity
    warnings.filterwarnings("ignore", module="ray|optuna")
    logging.getLogger("ray").setLevel(logging.CRITICAL)  # a trial's failure is in our tables


def start_ray(address: str | None, verbose: bool) -> None:
    """Starts Ray here, or connects to the cluster at `address`, unless that has been done.

    Raises:
        ValueError: there is no cluster at the address, or it can't be reached.
    """
    if not verbose:
        _quiet_libraries()
    if address is not None:  # else Ray would end this process before it can say what has happened
        os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", str(3 * CLUSTER_PATIENCE))
    import ray

    if ray.is_initialized():
        return
    if (address or "").startswith("ray://"):
        raise ValueError(
            f"--address must be that of a cluster which this machine is a node of, got {address!r}; launch from afar "
            "with: ray job submit --address http://HEAD:8265 -- qar launch … --address auto"
        )
    refusal = f"--address must be that of a Ray cluster that runs and can be reached, got {address!r}"
    remedy = "see `ray status` on its head, or start one there with: ray start --head"
    if address is not None and (reason := _unreachable(address)):
        raise ValueError(f"{refusal}: {reason}; {remedy}")
    if address is not None and _lacks_token(address):
        raise ValueError(
            f"{refusal}: this machine doesn't show the token that it wants; copy ~/.ray/auth_token of its head to "
            "here, and set RAY_AUTH_MODE=token"
        )
    try:
        ray.init(
            address=address or "local",  # by itself, Ray would connect to the machine's latest cluster, even a dead one
            include_dashboard=False if address is None else None,
            log_to_driver=verbose,
            logging_level=logging.INFO if verbose else logging.CRITICAL,
        )
    except (ConnectionError, ValueError) as error:
        if address is None:
            raise
        raise ValueError(f"{refusal}: {str(error).splitlines()[0].rstrip('.')}; {remedy}") from None


def _host_and_port(address: str) -> tuple[str, int] | None:
    """The parts of an address; None for `auto` and the like."""
    host, separator, port = address.rpartition("://")[2].rpartition(":")
    return (host.strip("[]"), int(port)) if separator and port.isdigit() else None


def _unreachable(address: str) -> str | None:
    """Why nothing answers at `host:port`, if that is so; Ray itself would try for minutes."""
    place = _host_and_port(address)
    if place is None:
        return None
    try:
        socket.create_connection(place, timeout=SECONDS_TO_ANSWER).close()
    except OSError as error:
        return error.strerror or str(error)
    return None


def _lacks_token(address: str) -> bool:
    """Whether a cluster wants a token that Ray doesn't show it; Ray itself would ask 20 times before it gives up."""
    from ray._private.authentication.authentication_token_setup import ensure_token_if_auth_enabled
    from ray._raylet import GcsClient  # type: ignore[attr-defined] # the stub lacks it
    from ray.exceptions import AuthenticationError

    try:
        ensure_token_if_auth_enabled(create_token_if_missing=False)  # without one, GcsClient would end this process
        if _host_and_port(address) is not None:  # else it is a cluster on this machine, whose token Ray finds itself
            with _silence():
                GcsClient(address=address.rpartition("://")[2])
    except AuthenticationError:
        return True
    except Exception:  # any other trouble Ray tells when it connects
        return False
    return False


@contextmanager
def _silence() -> Iterator[None]:
    """Keeps what Ray's C++ says from stderr, which Python's own redirection doesn't reach."""
    sys.stderr.flush()
    stderr = os.dup(2)
    try:
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def connect(config: StudyConfig, address: str | None, verbose: bool) -> None:
    """Starts Ray or connects to it.

    Raises:
        ValueError: not even one trial fits this machine. A cluster may grow, so there Ray waits for nodes.
    """
    start_ray(address, verbose)
    import ray

    if address is not None:
        return
    have = ray.cluster_resources()
    for name, amount in {"CPU": config.resources.cpus, "GPU": config.resources.gpus}.items():
        if amount > have.get(name, 0):
            raise ValueError(
                f"resources.{name.lower()}s must be at most what this machine has ({have.get(name, 0):g}), "
                f"got {amount:g}; lower it, or give the --address of a cluster"
            )


def _float_baselines(folder: StudyFolder, config: StudyConfig, console: Console) -> dict[int, str]:
    """Paths, by seed, of the checkpoints that trials begin from; those that are not there yet are trained now.

    One a seed: another seed is another split, and a network must not be validated on what it began to learn from.
    """
    import ray

    from trainables.trainable import train_baseline

    seeds = range(config.seed, config.seed + config.replicates)
    missing = [seed for seed in seeds if not folder.has_baseline(seed)]
    if missing:
        plural = "s"[: len(missing) != 1]
        console.print(f"training the float baseline{plural} that all trials begin from, {len(missing)} seed{plural}")
        task = ray.remote(train_baseline).options(num_cpus=config.resources.cpus, num_gpus=config.resources.gpus)
        plain = {"family": "none", "num_levels": None, "init": "scratch"}
        trials = {seed: config.trial_config(plain | {"seed": seed}).to_dict() for seed in missing}
        ray.get(
            [task.remote(trial, config.resources.cpus, folder.baseline_address(seed)) for seed, trial in trials.items()]
        )
    return {seed: folder.baseline_address(seed) for seed in seeds}


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
        _quiet_libraries()
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

    from study.connection import Connection
    from study.optuna_store import Mirror
    from study.progress import Progress, SilentReporter
    from study.provenance import provenance
    from study.records import Recorder
    from study.recovery import settle, sweep
    from study.room import Room
    from study.scheduler import make_scheduler
    from study.search import OptunaSearcher
    from trainables.trainable import CompressionTrial

    if not verbose:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
    mirror = Mirror(folder, config)
    settle(ledger, config)
    if ledger.history.num_ended >= config.trials:
        _show(folder, ledger.history, mirror, console)  # the last driver may have died before it could
        return FINISHED
    connect(config, address, verbose)
    with Connection(str(folder), CLUSTER_PATIENCE):
        baselines = _float_baselines(folder, config, console) if config.trial["init"] == "pretrained" else {}
    sweep(folder, ledger.history)
    session = len(ledger.history.sessions) + 1
    ledger.record(
        SESSION_STARTED, session=session, pid=os.getpid(), hostname=socket.gethostname(), provenance=provenance()
    )
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"  # the ledger has all of it
    os.environ["TUNE_DISABLE_STRICT_METRIC_CHECKING"] = "1"  # a trial that diverges has no accuracy to report
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(MOST_AT_A_TIME)  # the searcher says how many
    room = Room(config.resources, grows=address is not None, left=lambda: config.trials - ledger.history.num_ended)
    with (
        Progress(ledger.history, config.trials, console) as progress,
        closing(room),
        Connection(str(folder), CLUSTER_PATIENCE, before_end=progress.stop),
    ):
        tuner = tune.Tuner(
            tune.with_resources(
                trainable or CompressionTrial, {"cpu": config.resources.cpus, "gpu": config.resources.gpus}
            ),
            tune_config=tune.TuneConfig(
                search_alg=OptunaSearcher(config, ledger, baselines, room.trials, folder),
                scheduler=make_scheduler(config, ledger.history),
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
    from study.records import write_tables

    write_tables(folder, history)
    mirror.sync(history)
    folder.publish()
    if mirror.trouble:
        console.print(f"{mirror.trouble}; nothing else is touched by that; try again with: qar resume {folder}")
