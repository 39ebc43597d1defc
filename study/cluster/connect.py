"""The Ray that a study runs on: started here, or a cluster that runs and is connected to."""

import logging
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from study.cluster.cores import available_cores
from study.cluster.start_failure import NoRayError, folder_error, start_failure, temporary_folder
from study.cluster.token import TokenExposedError, prepare_token
from study.cluster.watchdog import PATIENCE
from study.config import StudyConfig
from study.interruption import interruption

SECONDS_TO_ANSWER = 10.0
"""After which a cluster counts as out of reach."""

_WANTS_TOKEN = (
    "this machine doesn't show the token that it wants; copy ~/.ray/auth_token of its head to here, and set "
    "RAY_AUTH_MODE=token"
)


def quiet_libraries() -> None:
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
        NoRayError: it does not start here.
    """
    if not verbose:
        quiet_libraries()
    if address is not None:  # else Ray would end this process before it can say what has happened
        os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", str(int(3 * PATIENCE)))
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
    head = None if address is None else _head_of(address)
    if head is not None and (reason := _unreachable(head)):
        raise ValueError(f"{refusal}: {reason}; {remedy}")
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
            address=address or "local",  # by itself, Ray would connect to the machine's latest cluster, even a dead one
            num_cpus=available_cores() if address is None else None,  # Ray would count all of the machine's
            include_dashboard=False if address is None else None,
            log_to_driver=verbose,
            logging_level=logging.INFO if verbose else logging.CRITICAL,
        )
    except Exception as error:  # of no type of its own where Ray's processes don't come up in time
        if address is None:
            raise start_failure(error, temporary_folder()) from None
        said = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ValueError(f"{refusal}: {said}; {remedy}") from None
    finally:
        interruption.reinstall()  # Ray's C++ answers SIGTERM with a stack trace


def _head_of(address: str) -> str | None:
    """`host:port` that Ray takes an address for, `auto` among them; None if it finds none, as it will say itself."""
    from ray._private.services import canonicalize_bootstrap_address

    try:
        found: str | None = canonicalize_bootstrap_address(address)
    except Exception:  # of any type, as of an address that is none
        return None
    return found


def _unreachable(head: str) -> str | None:
    """Why nothing answers at `host:port`, if that is so; Ray itself would try for minutes."""
    host, _, port = head.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS_TO_ANSWER).close()
    except OSError as error:
        return error.strerror or str(error)
    return None


def _refusal_of(head: str) -> str | None:
    """Return the reason why what listens at `host:port` refuses this driver; Ray itself would ask 20 times, aloud."""
    from ray._private.authentication.authentication_token_setup import ensure_token_if_auth_enabled
    from ray._raylet import GcsClient  # type: ignore[attr-defined] # the stub lacks it
    from ray.exceptions import AuthenticationError

    try:
        ensure_token_if_auth_enabled(create_token_if_missing=False)  # without one, GcsClient would end this process
        with _silence():
            GcsClient(address=head)
    except AuthenticationError:
        return _WANTS_TOKEN
    except Exception as error:  # of several types, as of a port where something else answers
        return f"no Ray answers there ({' '.join(str(error).split())})"
    return None


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


def announcement(address: str | None) -> str:
    """Return what a terminal shows while Ray starts or is connected to, which takes seconds."""
    return "starting Ray…" if address is None else f"connecting to Ray at {address}…"


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
