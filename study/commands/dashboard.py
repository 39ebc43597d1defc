"""`qar dashboard`: serves optuna-dashboard, unchanged, on the mirror of a study."""

import threading
import time
import warnings
from collections.abc import Callable
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna
from optuna.storages import RDBStorage
from optuna_dashboard import wsgi

from study.commands.local_only import local_only
from study.errors import StorageError
from study.records.optuna_mirror import OptunaMirror, first_line
from study.storage.folder import StudyFolder

HOST = "127.0.0.1"
"""Address to listen on. A client of the dashboard can delete a study, so only this machine may connect."""
SECONDS_BETWEEN_SYNCS = 10.0
"""Seconds after which the mirror of a study in a bucket is updated, since its driver may run on another machine."""


class _Server(ThreadingMixIn, WSGIServer):
    """Server with one thread per request, since browsers keep connections open that they don't use yet."""

    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


def _follow(folder: StudyFolder, mirror: OptunaMirror) -> None:
    """Keep the mirror of a study on an object store up to date with what its driver writes there."""
    while True:
        time.sleep(SECONDS_BETWEEN_SYNCS)
        try:
            folder.storage.fetch_ledger()
            mirror.sync(folder.read_history())
        except StorageError:
            continue  # the next request may be answered


def serve(folder: StudyFolder, port: int, ready: Callable[[str], None]) -> None:
    """Serve the dashboard until Ctrl-C.

    Args:
        folder: folder of the study.
        port: port on this machine.
        ready: called with the address of the dashboard once it answers.

    Raises:
        ValueError: the folder holds no study, it hasn't begun, its database can't be reached, or the port is taken.
    """
    config = folder.read_config()
    folder.check_no_links()  # the mirror is written
    history = folder.read_history()
    if not history.sessions:
        raise ValueError(f"{folder} holds a study that has not begun; start it with: qar resume {folder}")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", module="optuna")
    mirror = OptunaMirror(folder, config)
    ours = folder.storage.has_working_copy and config.optuna_storage is None  # in the working copy
    if ours or not folder.is_driven():  # else its driver keeps the mirror, and only one may
        mirror.sync(history)
        if mirror.trouble:
            raise ValueError(f"{mirror.trouble}; correct that and try again")
    try:
        storage = RDBStorage(mirror.uri)
    except Exception as error:  # of any driver's own type
        raise ValueError(
            f"Optuna's storage {mirror.uri} can't be read: {first_line(error)}; correct that and try again"
        ) from None
    try:
        server = make_server(HOST, port, local_only(wsgi(storage)), _Server, _Quiet)
    except OSError as error:
        raise ValueError(f"--port must be free, got {port}: {error.strerror}; choose another --port") from None
    if ours:
        threading.Thread(target=_follow, args=(folder, mirror), name="qar-follow", daemon=True).start()
    with server:
        ready(f"http://{HOST}:{server.server_port}/dashboard/")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return
