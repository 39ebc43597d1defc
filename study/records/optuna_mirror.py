"""The study in a database of Optuna's, for optuna-dashboard and Optuna's own tools: a mirror of the ledger.

Nothing is ever read from it but to find out how far it has come. So it can't tell another story than the tables, and
where it is lost, damaged or altered, it is made anew.
"""

import sqlite3
import warnings
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial

from study.config import StudyConfig
from study.ledger.history import History, KnownResult, Trial
from study.search.optuna_trials import DIRECTIONS, OBJECTIVES, STATES, frozen, values_of
from study.storage.folder import StudyFolder
from trainables.result import RUNNING

IDENTITY = "qar_study"
"""User attribute of Optuna's study: which study is mirrored, whatever it and its folder are called."""


class OptunaMirror:
    """Optuna's study of a study: `sync` brings it up to date.

    Proposal i of the ledger is trial i of Optuna's. User attributes tell what Optuna has no place for: `number` and
    `trial_id` in the tables, `repeated_of`, `anchor`, `failure`, `config_hash`.

    Attributes:
        uri: of the database.
        trouble: why the latest `sync` has failed, in one line; None if it hasn't.
    """

    def __init__(self, folder: StudyFolder, config: StudyConfig) -> None:
        self.uri = config.optuna_storage or f"sqlite:///{folder.optuna_db.resolve()}"
        self.trouble: str | None = None
        self._own_file = None if config.optuna_storage else folder.optuna_db
        self._name = config.name
        self._storage: RDBStorage | None = None
        self._study_id = 0
        self._trial_ids: list[int] = []
        self._running: set[int] = set()  # indices of proposals that still run there

    def check_free(self) -> None:
        """Raises ValueError if a new study can't be mirrored: no such database, or the name is taken."""
        if self._own_file:
            return
        try:
            taken = self._name in optuna.get_all_study_names(self._open())
        except Exception as error:  # of any driver's own type
            raise ValueError(
                f"optuna_storage must be the URI of a database that can be reached, got {self.uri!r}: "
                f"{first_line(error)}; correct it, or leave it out"
            ) from None
        if taken:
            raise ValueError(
                f"optuna_storage {self.uri} holds a study {self._name!r} already; delete it there, "
                "or choose another --name"
            )

    def sync(self, history: History) -> None:
        """Write what has happened since the last time; an own file that fails is made anew once.

        A failure is `trouble`, and tried again the next time.
        """
        try:
            try:
                self._bring_up_to_date(history)
            except Exception:
                if self._own_file is None:
                    raise
                self._remove_file(self._own_file)
                self._bring_up_to_date(history)
            self.trouble = None
        except Exception as error:  # of any driver's own type
            self.trouble = f"Optuna's storage {self.uri} can't be brought up to date: {first_line(error)}"
            self._storage = None

    def _bring_up_to_date(self, history: History) -> None:
        if self._storage is None:
            self._storage = self._connect(history)
        self._follow(self._storage, history)

    def _remove_file(self, file: Path) -> None:
        """Remove the database, and what SQLite keeps beside it."""
        self._storage = None
        for suffix in ("", "-journal", "-wal", "-shm"):
            file.with_name(file.name + suffix).unlink(missing_ok=True)

    def _connect(self, history: History) -> RDBStorage:
        """Opens the storage, with as much in it of the study as is true."""
        identity = _identity(history)
        if self._own_file is not None and not _is_sound(self._own_file):
            self._remove_file(self._own_file)
        storage = self._open()
        trials, whose = self._found(storage)
        if whose not in (identity, None) and self._own_file is None:
            raise ValueError(f"it holds another study of the name {self._name!r}; take that one away, or rename it")
        if not _is_true(trials, history):
            storage.delete_study(self._study_id)
            trials, whose = self._found(storage)
        if whose != identity:
            storage.set_study_user_attr(self._study_id, IDENTITY, identity)
        self._trial_ids = [trial._trial_id for trial in trials]
        self._running = {trial.number for trial in trials if not trial.state.is_finished()}
        return storage

    def _open(self) -> RDBStorage:
        options: dict[str, Any] = {}
        if self._own_file:
            options["factory"] = _Unsynced
        elif self.uri.startswith("postgresql"):
            options["connect_timeout"] = 10
        return RDBStorage(self.uri, engine_kwargs={"connect_args": options})

    def _found(self, storage: RDBStorage) -> tuple[list[FrozenTrial], str | None]:
        """Trials of the study in the storage, which is made if it isn't there, and whose it is."""
        study = optuna.create_study(storage=storage, study_name=self._name, directions=DIRECTIONS, load_if_exists=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(list(OBJECTIVES))
        self._study_id = storage.get_study_id_from_name(self._name)
        return study.trials, study.user_attrs.get(IDENTITY)

    def _follow(self, storage: RDBStorage, history: History) -> None:
        for index in sorted(self._running):
            proposal = history.proposals[index]
            if proposal.state != RUNNING:
                trial_id = self._trial_ids[index]
                for name, value in _user_attrs(proposal).items():
                    if name not in _KNOWN_AT_ONCE:
                        storage.set_trial_user_attr(trial_id, name, value)
                storage.set_trial_state_values(trial_id, STATES[proposal.state], values_of(proposal))
                self._running.remove(index)
        for index in range(len(self._trial_ids), len(history.proposals)):
            proposal = history.proposals[index]
            template = frozen(proposal, _user_attrs(proposal))
            self._trial_ids.append(storage.create_new_trial(self._study_id, template))
            if proposal.state == RUNNING:
                self._running.add(index)


def _is_sound(file: Path) -> bool:
    """Whether a file is a database without a damaged page; one that does not exist is."""
    if not file.exists():
        return True
    try:
        with closing(sqlite3.connect(file)) as connection:
            return connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]
    except sqlite3.Error:
        return False


class _Unsynced(sqlite3.Connection):
    """Doesn't wait for the disk, which takes two thirds of a sync: what a power cut damages is made anew.

    Source: https://www.sqlite.org/pragma.html#pragma_synchronous
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.execute("PRAGMA synchronous=OFF")


_KNOWN_AT_ONCE = ("number", "trial_id", "anchor", "config_hash")


def _user_attrs(proposal: Trial | KnownResult) -> dict[str, Any]:
    found: dict[str, Any]
    if isinstance(proposal, Trial):
        found = {name: getattr(proposal, name) for name in _KNOWN_AT_ONCE}
    else:
        found = {"prior": True} if proposal.number is None else {"repeated_of": proposal.number}
    if proposal.failure is not None:
        found["failure"] = proposal.failure
    return found


def _identity(history: History) -> str:
    first = history.sessions[0]
    return f"{first.hostname} {first.pid} {first.started}"


def first_line(error: Exception) -> str:
    """What a database's driver says, without SQLAlchemy's advice below it."""
    cause = error.__cause__ or error
    return (str(cause).strip() or type(cause).__name__).splitlines()[0]


def _is_true(trials: list[FrozenTrial], history: History) -> bool:
    """Whether trials in the storage are what the ledger tells, or told before they ended."""
    if len(trials) > len(history.proposals):
        return False
    return all(_agrees(trial, proposal) for trial, proposal in zip(trials, history.proposals, strict=False))


def _agrees(trial: FrozenTrial, proposal: Trial | KnownResult) -> bool:
    told = _user_attrs(proposal)
    if not trial.state.is_finished():
        told = {name: value for name, value in told.items() if name in _KNOWN_AT_ONCE}
        shown = {name: trial.user_attrs.get(name) for name in told}
        return isinstance(proposal, Trial) and trial.params == proposal.params and shown == told
    shown = {name: value for name, value in trial.user_attrs.items() if name in told}
    return (
        trial.state == STATES[proposal.state]
        and (trial.values or None) == values_of(proposal)
        and trial.params == proposal.params
        and shown == told
    )
