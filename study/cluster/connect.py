"""Connection to Ray: started on this machine, or a cluster that is running."""

import logging
import os
import socket
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console

from study.cluster.cores import available_cores
from study.cluster.start_failure import NoRayError, folder_error, start_failure, temporary_folder
from study.cluster.token import TokenExposedError, prepare_token
from study.cluster.watchdog import PATIENCE
from study.config import StudyConfig
from study.interruption import interruption
from study.sources import shipped_modules

SECONDS_TO_ANSWER = 10.0
"""Seconds without an answer after which a cluster counts as out of reach."""

_WANTS_TOKEN = (
    "it asks for a token that this machine doesn't have; copy ~/.ray/auth_token from its head to this machine, and set "
    "RAY_AUTH_MODE=token"
)


def quiet_libraries() -> None:
    """Silence Ray's and Optuna's own messages. Call it before Ray is imported."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "(?s).*")  # messages of raylets about lost nodes, on stdout
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new output prints a banner at any verbosity
    warnings.filterwarnings("ignore", module="ray|optuna")
    logging.getLogger("ray").setLevel(logging.CRITICAL)  # the tables hold the failures of trials


_shipped: list[str] = []
"""Modules that were shipped when this process connected to Ray, which can't be changed afterwards."""


def start_ray(address: str | None, verbose: bool, modules: Sequence[str] = ()) -> None:
    """Start Ray on this machine, or connect to the cluster at `address`, unless this process is connected.

    Args:
        address: address of the cluster's head, or `auto`; None to start Ray on this machine, or to use the Ray that
            this process is connected to.
        verbose: show Ray's own messages.
        modules: paths of modules and packages that Ray ships to all nodes.

    Raises:
        ValueError: there is no cluster at the address, it can't be reached, or this process is connected to another.
        NoRayError: Ray does not start on this machine.
    """
    if not verbose:
        quiet_libraries()
    if address is not None:  # else Ray ends this process without a message
        os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", str(int(3 * PATIENCE)))
    import ray

    if (address or "").startswith("ray://"):
        raise ValueError(
            f"--address must be that of a cluster which this machine is a node of, got {address!r}; launch from "
            "elsewhere with: ray job submit --address http://HEAD:8265 -- qar launch … --address auto"
        )
    refusal = f"--address must be that of a running Ray cluster that can be reached, got {address!r}"
    remedy = "see `ray status` on its head, or start one there with: ray start --head"
    head = None if address is None else _head_of(address)
    if head is not None and (reason := _unreachable(head)):
        raise ValueError(f"{refusal}: {reason}; {remedy}")
    if ray.is_initialized():
        connected = ray.get_runtime_context().gcs_address
        if head not in (None, connected):
            raise ValueError(
                f"--address must be that of the Ray which this process is connected to ({connected}), got {address!r}; "
                "leave it out, or disconnect first with: ray.shutdown()"
            )
        if list(modules) == _shipped:
            return
        ray.shutdown()  # a connection ships the modules that it began with
    try:
        prepare_token(create=address is None)
    except TokenExposedError as error:
        raise NoRayError(str(error)) from None
    except OSError as error:
        raise start_failure(error, temporary_folder()) from None
    if head is not None and (reason := _refusal_of(head)):
        raise ValueError(f"{refusal}: {reason}" if reason == _WANTS_TOKEN else f"{refusal}: {reason}; {remedy}")
    if address is None and (trouble := folder_error(temporary_folder())):
        raise start_failure(trouble, temporary_folder())
    try:
        ray.init(
            address=address or "local",  # Ray's default is the machine's latest cluster, even a dead one
            num_cpus=available_cores() if address is None else None,  # Ray's default is all cores of the machine
            include_dashboard=False if address is None else None,
            log_to_driver=verbose,
            logging_level=logging.INFO if verbose else logging.CRITICAL,
            runtime_env={"py_modules": list(modules)} if modules else None,
        )
        _shipped[:] = modules
    except Exception as error:  # Ray raises a plain Exception if its processes don't start in time
        if address is None:
            raise start_failure(error, temporary_folder()) from None
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ValueError(f"{refusal}: {reason}; {remedy}") from None
    finally:
        interruption.reinstall()  # Ray's C++ answers SIGTERM with a stack trace


def _head_of(address: str) -> str | None:
    """Return the `host:port` that an address stands for; None if Ray finds none, which it reports itself."""
    from ray._private.services import canonicalize_bootstrap_address

    try:
        head: str | None = canonicalize_bootstrap_address(address)
    except Exception:  # Ray raises several types for malformed addresses
        return None
    return head


def _unreachable(head: str) -> str | None:
    """Return the reason why nothing answers at `host:port`, which Ray would ask for minutes; None if something does."""
    host, _, port = head.rpartition(":")
    if not (port.isdecimal() and int(port) < 2**16):
        return f"the port must be a number below 65536, got {port!r}"
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS_TO_ANSWER).close()
    except OSError as error:
        return error.strerror or str(error)
    return None


def _refusal_of(head: str) -> str | None:
    """Return the reason why the server at `host:port` refuses this driver; Ray would ask 20 times, with messages."""
    from ray._private.authentication.authentication_token_setup import ensure_token_if_auth_enabled
    from ray._raylet import GcsClient  # type: ignore[attr-defined] # the stub lacks it
    from ray.exceptions import AuthenticationError

    try:
        ensure_token_if_auth_enabled(create_token_if_missing=False)  # without one, GcsClient would end this process
        with _silence():
            GcsClient(address=head)
    except AuthenticationError:
        return _WANTS_TOKEN
    except Exception as error:  # several types, for example where another server answers
        return f"no Ray answers there ({' '.join(str(error).split())})"
    return None


@contextmanager
def _silence() -> Iterator[None]:
    """Redirect the file descriptor of stderr, which Ray's C++ writes to, to nowhere."""
    sys.stderr.flush()
    stderr = os.dup(2)
    try:
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def connect(config: StudyConfig, address: str | None, verbose: bool, console: Console) -> None:
    """Start Ray or connect to it, and check that a trial fits this machine.

    Trials that fit no node of a cluster wait, since the cluster may grow.

    Args:
        config: configuration of the study, which names the resources of a trial and the code that Ray ships.
        address: address of the cluster's head, or `auto`; None to start Ray on this machine.
        verbose: show Ray's own messages.
        console: shows what is being done, which takes seconds.

    Raises:
        ValueError: the cluster can't be reached, or no trial fits this machine.
        NoRayError: Ray does not start on this machine.
    """
    with console.status("starting Ray…" if address is None else f"connecting to Ray at {address}…"):
        start_ray(address, verbose, shipped_modules(config.code))
    import ray

    if address is not None:
        return
    available = ray.cluster_resources()
    for name, amount in {"CPU": config.resources.cpus, "GPU": config.resources.gpus}.items():
        if amount > available.get(name, 0):
            raise ValueError(
                f"resources.{name.lower()}s must be at most what this machine has ({available.get(name, 0):g}), "
                f"got {amount:g}; lower it, or give the --address of a cluster"
            )
