"""Trials of an Optuna study as rows of its database, written and read many at a time.

Optuna's own calls write one trial with some twenty statements, which takes several milliseconds, and read all trials at
once, which for 100,000 of them takes gigabytes. The tables are those of Optuna's models.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import sqlalchemy
from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.orm import Session

TRIALS_AT_A_TIME = 2000
"""Trials that are written or read together."""

_TRIALS, _PARAMS, _VALUES = (
    model.__table__ for model in (models.TrialModel, models.TrialParamModel, models.TrialValueModel)
)
_USER_ATTRS, _SYSTEM_ATTRS = models.TrialUserAttributeModel.__table__, models.TrialSystemAttributeModel.__table__

_distribution_of = lru_cache(maxsize=256)(json_to_distribution)


@dataclass(kw_only=True)
class StoredTrial:
    """A trial as the database holds it, with the fields of Optuna's `FrozenTrial`."""

    trial_id: int
    number: int
    state: TrialState
    params: dict[str, Any] = field(default_factory=dict)
    distributions: dict[str, BaseDistribution] = field(default_factory=dict)
    values: list[float] = field(default_factory=list)
    user_attrs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class EndedTrial:
    """End of a trial that was running: state, objectives if it is complete, and further user attributes."""

    trial_id: int
    state: TrialState
    values: Sequence[float] | None
    user_attrs: Mapping[str, Any]


class OptunaRows:
    """Rows of the trials of one study."""

    def __init__(self, storage: RDBStorage, study_id: int) -> None:
        """Name the study.

        Args:
            storage: open storage.
            study_id: Optuna's identifier of the study in it.
        """
        self._storage, self._study_id = storage, study_id

    def add(self, trials: Sequence[FrozenTrial]) -> list[int]:
        """Add trials, which get the numbers in the storage that follow, and return Optuna's identifiers of them.

        Raises:
            KeyError: the study is gone.
            SQLAlchemyError: the database can't be written.
        """
        trial_ids: list[int] = []
        for first in range(0, len(trials), TRIALS_AT_A_TIME):
            trial_ids += self._add(trials[first : first + TRIALS_AT_A_TIME])
        return trial_ids

    def end(self, ended: Sequence[EndedTrial]) -> None:
        """End trials that are running in the storage.

        Raises:
            ValueError: one of them does not run there.
            SQLAlchemyError: the database can't be written.
        """
        for first in range(0, len(ended), TRIALS_AT_A_TIME):
            self._end(ended[first : first + TRIALS_AT_A_TIME])

    def heads(self) -> Sequence[tuple[int, int, TrialState]]:
        """Return identifier, number and state of all trials in the order of their numbers.

        Raises:
            SQLAlchemyError: the database can't be read.
        """
        with Session(self._storage.engine) as session:
            return self._heads(session)

    def read(self) -> Iterator[StoredTrial]:
        """Iterate over all trials in the order of their numbers.

        Raises:
            SQLAlchemyError: the database can't be read.
        """
        with Session(self._storage.engine) as session:
            rows = self._heads(session)
            for first in range(0, len(rows), TRIALS_AT_A_TIME):
                part = rows[first : first + TRIALS_AT_A_TIME]
                by_id = {row[0]: StoredTrial(trial_id=row[0], number=row[1], state=row[2]) for row in part}
                self._fill(session, by_id)
                yield from by_id.values()

    def _heads(self, session: Session) -> Sequence[Any]:
        names = (_TRIALS.c.trial_id, _TRIALS.c.number, _TRIALS.c.state)
        own = sqlalchemy.select(*names).where(_TRIALS.c.study_id == self._study_id)
        return session.execute(own.order_by(_TRIALS.c.number)).all()

    def _add(self, trials: Sequence[FrozenTrial]) -> list[int]:
        with Session(self._storage.engine) as session, session.begin():
            models.StudyModel.find_or_raise_by_id(self._study_id, session, for_update=True)
            own = _TRIALS.c.study_id == self._study_id
            before = session.execute(sqlalchemy.select(sqlalchemy.func.count()).where(own)).scalar_one()
            heads = [
                {
                    "number": before + place,
                    "study_id": self._study_id,
                    "state": trial.state,
                    "datetime_start": _utc(trial.datetime_start),
                    "datetime_complete": _utc(trial.datetime_complete),
                }
                for place, trial in enumerate(trials)
            ]
            session.execute(_TRIALS.insert(), heads)
            added = sqlalchemy.select(_TRIALS.c.trial_id).where(own, _TRIALS.c.number >= before)
            trial_ids = list(session.execute(added.order_by(_TRIALS.c.number)).scalars())
            pairs = list(zip(trial_ids, trials, strict=True))
            params = [
                {
                    "trial_id": trial_id,
                    "param_name": name,
                    "param_value": trial.distributions[name].to_internal_repr(value),
                    "distribution_json": distribution_to_json(trial.distributions[name]),
                }
                for trial_id, trial in pairs
                for name, value in trial.params.items()
            ]
            values = [row for trial_id, trial in pairs for row in _value_rows(trial_id, trial.values)]
            user = [row for trial_id, trial in pairs for row in _attribute_rows(trial_id, trial.user_attrs)]
            system = [row for trial_id, trial in pairs for row in _attribute_rows(trial_id, trial.system_attrs)]
            _insert(session, {_PARAMS: params, _VALUES: values, _USER_ATTRS: user, _SYSTEM_ATTRS: system})
        return trial_ids

    def _end(self, ended: Sequence[EndedTrial]) -> None:
        with Session(self._storage.engine) as session, session.begin():
            runs = (_TRIALS.c.study_id == self._study_id, _TRIALS.c.state == TrialState.RUNNING)
            ids = [one.trial_id for one in ended]
            known = set(session.execute(sqlalchemy.select(_TRIALS.c.trial_id).where(*runs)).scalars())
            if not known.issuperset(ids):
                raise ValueError("a trial that runs in the study does not run in Optuna's storage")
            change = _TRIALS.update().where(_TRIALS.c.trial_id == sqlalchemy.bindparam("ended_id"))
            now = datetime.now(UTC).replace(tzinfo=None)
            session.execute(
                change.values(state=sqlalchemy.bindparam("end_state"), datetime_complete=now),
                [{"ended_id": one.trial_id, "end_state": one.state} for one in ended],
            )
            values = [row for one in ended for row in _value_rows(one.trial_id, one.values)]
            attributes = [row for one in ended for row in _attribute_rows(one.trial_id, one.user_attrs)]
            _insert(session, {_VALUES: values, _USER_ATTRS: attributes})

    @staticmethod
    def _fill(session: Session, by_id: dict[int, StoredTrial]) -> None:
        """Read parameters, objectives and attributes of trials."""

        def rows(table: sqlalchemy.Table, key: str, *names: str) -> Iterator[Any]:
            columns = [table.c[name] for name in ("trial_id", *names)]
            chosen = sqlalchemy.select(*columns).where(table.c.trial_id.between(min(by_id), max(by_id)))
            return iter(session.execute(chosen.order_by(table.c[key])))

        for trial_id, name, value, text in rows(_PARAMS, "param_id", "param_name", "param_value", "distribution_json"):
            if trial_id in by_id:
                distribution = _distribution_of(text)
                by_id[trial_id].params[name] = distribution.to_external_repr(value)
                by_id[trial_id].distributions[name] = distribution
        for trial_id, value, kind in rows(_VALUES, "objective", "value", "value_type"):
            if trial_id in by_id:
                by_id[trial_id].values.append(models.TrialValueModel.stored_repr_to_value(value, kind))
        for trial_id, key, text in rows(_USER_ATTRS, "trial_user_attribute_id", "key", "value_json"):
            if trial_id in by_id:
                by_id[trial_id].user_attrs[key] = json.loads(text)


def _insert(session: Session, rows: Mapping[sqlalchemy.Table, Sequence[Mapping[str, Any]]]) -> None:
    for table, content in rows.items():
        if content:
            session.execute(table.insert(), content)


def _value_rows(trial_id: int, values: Sequence[float] | None) -> Iterator[dict[str, Any]]:
    for objective, value in enumerate(values or ()):
        stored, kind = models.TrialValueModel.value_to_stored_repr(value)
        yield {"trial_id": trial_id, "objective": objective, "value": stored, "value_type": kind}


def _attribute_rows(trial_id: int, attributes: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for key, value in attributes.items():
        yield {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}


def _utc(time: datetime | None) -> datetime | None:
    """Return a local time as Optuna stores it: in UTC, without a time zone."""
    return None if time is None else time.astimezone(UTC).replace(tzinfo=None)
