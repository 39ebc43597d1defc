"""A mirror of the ledger in an Optuna database, for optuna-dashboard and Optuna's own tools.

It is read only to find out which proposals it holds already. So it can't contradict the tables, and it is rebuilt when
it is lost, damaged or altered.
"""

import json
import warnings
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, distribution_to_json
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial

from study.config import StudyConfig
from study.ledger.chain import LedgerPosition
from study.ledger.history import History, KnownResult, Trial
from study.records.derivations import Derivations
from study.records.optuna_agreement import KNOWN_FROM_START, agrees, matches, user_attrs
from study.records.optuna_file import Unsynced, is_sound
from study.records.optuna_rows import EndedTrial, OptunaRows, StoredTrial
from study.search.optuna_trials import DIRECTIONS, OBJECTIVES, OPTUNA_STATES, frozen, values_of
from study.search.space import dimensions
from study.storage.folder import StudyFolder
from trainables.result import TrialState

IDENTITY = "qar_study"
"""User attribute of Optuna's study that identifies the mirrored study, independent of its name and folder."""


class OptunaMirror:
    """An Optuna study in a database that follows the ledger; `sync` brings it up to date.

    Proposal i of the ledger is Optuna's trial i. User attributes hold the rest: `number` and `trial_id` as in the
    tables, `repeated_of`, `anchor`, `failure` and `config_hash`. Where a study has changed its space, a category has
    the choices of all versions.

    Attributes:
        uri: URI of the database.
        trouble: reason why the latest `sync` failed, in one line; None if it succeeded.
    """

    def __init__(self, folder: StudyFolder, config: StudyConfig) -> None:
        """Name the database without opening it.

        Args:
            folder: folder of the study, which holds the database unless the configuration names another.
            config: configuration of the study.
        """
        self.uri = config.optuna_storage or f"sqlite:///{folder.optuna_db.resolve()}"
        self.trouble: str | None = None
        self._own_file = None if config.optuna_storage else folder.optuna_db
        self._name = config.name
        self._choices = union_of_choices(config)
        self._derivations = Derivations(folder)
        choices = {name: distribution_to_json(kind) for name, kind in self._choices.items()}
        self._settings = json.dumps({"name": config.name, "choices": choices, "optuna": optuna.__version__})
        self._rows: OptunaRows | None = None
        self._trial_ids: list[int] = []
        self._running: set[int] = set()  # indices of proposals that still run there

    def check_free(self) -> None:
        """Raise ValueError if a new study can't be mirrored: the database can't be reached, or the name is taken."""
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
        """Write the changes since the last call; a database file in the study's folder is rebuilt once if that fails.

        A failure is kept in `trouble`, and the next call tries again.

        Args:
            history: history of the ledger.
        """
        try:
            if history.position is None or self._noted() != history.position:
                self._write(history)
            self.trouble = None
        except Exception as error:  # of any driver's own type
            self.trouble = f"Optuna's storage {self.uri} can't be brought up to date: {first_line(error)}"
            self._rows = None

    def contradiction(self, history: History) -> str | None:
        """Return how the database file in the study's folder contradicts the ledger, in words; None if it does not.

        Nothing is written. A database that is behind the ledger does not contradict it.
        """
        assert self._own_file is not None
        if not is_sound(self._own_file):
            return "has damaged pages, or is no database"
        try:
            storage = RDBStorage(f"sqlite:///file:{self._own_file.resolve()}?mode=ro&uri=true")
            rows = OptunaRows(storage, storage.get_study_id_from_name(self._name))
            return None if matches(rows.read(), history) else "holds other trials than the ledger"
        except Exception as error:  # of any driver's own type
            return f"can't be read: {first_line(error)}"

    def _write(self, history: History) -> None:
        """Write what the database lacks, rebuilding a file of our own once if that fails."""
        try:
            self._bring_up_to_date(history)
        except Exception:
            if self._own_file is None:
                raise
            self._remove_file(self._own_file)
            self._bring_up_to_date(history)
        if self._own_file is not None:
            self._derivations.note([self._own_file], history.position, self._settings)

    def _bring_up_to_date(self, history: History) -> None:
        if self._rows is not None and self._own_file is not None and self._noted() is None:
            self._rows = None  # another program has changed the file, or the disk has
        if self._rows is None:
            self._rows = self._connect(history)
        self._follow(self._rows, history)

    def _remove_file(self, file: Path) -> None:
        """Remove the database file, and SQLite's files beside it."""
        self._rows = None
        for suffix in ("", "-journal", "-wal", "-shm"):
            file.with_name(file.name + suffix).unlink(missing_ok=True)

    def _connect(self, history: History) -> OptunaRows:
        """Open the storage; a study in it that contradicts the history is deleted and created anew."""
        identity = _identity(history)
        is_noted = self._noted() is not None
        if self._own_file is not None and not is_noted and not is_sound(self._own_file):
            self._remove_file(self._own_file)
        storage = self._open()
        study_id, owner = self._load_study(storage)
        if owner not in (identity, None) and self._own_file is None:
            raise ValueError(f"it holds another study of the name {self._name!r}; take that one away, or rename it")
        rows = OptunaRows(storage, study_id)
        is_noted = is_noted and owner == identity and self._take_over_noted(rows, history)
        if not is_noted and not self._take_over(rows, history):
            storage.delete_study(study_id)
            study_id, owner = self._load_study(storage)
            self._trial_ids, self._running = [], set()
        if owner != identity:
            storage.set_study_user_attr(study_id, IDENTITY, identity)
        return OptunaRows(storage, study_id)

    def _noted(self) -> LedgerPosition | None:
        """Return the position in the ledger that the file was derived from, if `Derivations` vouches for it."""
        return self._derivations.position([self._own_file], self._settings) if self._own_file is not None else None

    def _take_over_noted(self, rows: OptunaRows, history: History) -> bool:
        """Note the trials of a database that is known to follow from the ledger, without comparing them.

        Returns:
            Whether there are as many as the ledger may have had.
        """
        heads = rows.heads()
        self._trial_ids = [trial_id for trial_id, _, _ in heads]
        self._running = {number for _, number, state in heads if not state.is_finished()}
        return [number for _, number, _ in heads] == list(range(len(heads))) and len(heads) <= len(history.proposals)

    def _take_over(self, rows: OptunaRows, history: History) -> bool:
        """Note the trials that the storage holds; return whether they match the history."""
        self._trial_ids, self._running = [], set()
        for trial in rows.read():
            number = len(self._trial_ids)
            if number >= len(history.proposals) or trial.number != number:
                return False
            if not agrees(trial, history.proposals[number]) or not self._has_all_choices(trial):
                return False
            self._trial_ids.append(trial.trial_id)
            if not trial.state.is_finished():
                self._running.add(number)
        return True

    def _open(self) -> RDBStorage:
        options: dict[str, Any] = {}
        if self._own_file:
            options["factory"] = Unsynced
        elif self.uri.startswith("postgresql"):
            options["connect_timeout"] = 10
        return RDBStorage(self.uri, engine_kwargs={"connect_args": options})

    def _load_study(self, storage: RDBStorage) -> tuple[int, str | None]:
        """Return Optuna's identifier of the study and our identity of it, None if new; create it if it is missing."""
        study = optuna.create_study(storage=storage, study_name=self._name, directions=DIRECTIONS, load_if_exists=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(list(OBJECTIVES))
        return storage.get_study_id_from_name(self._name), study.user_attrs.get(IDENTITY)

    def _shown(self, trial: FrozenTrial | StoredTrial) -> dict[str, BaseDistribution]:
        """Return the distributions of a trial's categories over the choices of all versions of the study."""
        return {name: kind for name, kind in self._choices.items() if name in trial.distributions}

    def _has_all_choices(self, trial: StoredTrial) -> bool:
        """Whether a trial in the storage shows the choices of all versions, which Optuna does not change."""
        return all(trial.distributions.get(name) == kind for name, kind in self._shown(trial).items())

    def _follow(self, rows: OptunaRows, history: History) -> None:
        ended = [index for index in sorted(self._running) if history.proposals[index].state != TrialState.RUNNING]
        rows.end([self._end_of(index, history.proposals[index]) for index in ended])
        self._running.difference_update(ended)
        first = len(self._trial_ids)
        proposals = history.proposals[first:]
        self._trial_ids += rows.add([self._template(proposal) for proposal in proposals])
        self._running |= {
            first + place for place, proposal in enumerate(proposals) if proposal.state == TrialState.RUNNING
        }

    def _end_of(self, index: int, proposal: Trial | KnownResult) -> EndedTrial:
        attributes = {name: value for name, value in user_attrs(proposal).items() if name not in KNOWN_FROM_START}
        return EndedTrial(
            trial_id=self._trial_ids[index],
            state=OPTUNA_STATES[proposal.state],
            values=values_of(proposal),
            user_attrs=attributes,
        )

    def _template(self, proposal: Trial | KnownResult) -> FrozenTrial:
        template = frozen(proposal, user_attrs(proposal))
        template.distributions = template.distributions | self._shown(template)
        return template


def union_of_choices(config: StudyConfig) -> dict[str, BaseDistribution]:
    """Return the categorical dimensions of all versions of a study, each with the choices of all of them.

    Optuna's tools refuse a category whose choices change from trial to trial.
    """
    choices: dict[str, dict[Any, None]] = {}
    for version in config.versions if config.earlier_versions else ():
        for dimension in dimensions(version.space):
            if isinstance(dimension.distribution, CategoricalDistribution):
                choices.setdefault(dimension.name, {}).update(dict.fromkeys(dimension.distribution.choices))
    return {name: CategoricalDistribution(tuple(values)) for name, values in choices.items()}


def _identity(history: History) -> str:
    first = history.sessions[0]
    return f"{first.hostname} {first.pid} {first.started}"


def first_line(error: Exception) -> str:
    """Return the first line of a database driver's message, without SQLAlchemy's advice after it."""
    cause = error.__cause__ or error
    return (str(cause).strip() or type(cause).__name__).splitlines()[0]
