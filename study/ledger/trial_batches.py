"""Arrow batches of a history's trials: a column for each field, and configurations as differences from a common one."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple
from functools import cache
from typing import Any

import pyarrow as pa

from study.ledger.history import CheckpointRecord, Trial
from trainables.result import TrialState

TRIALS_IN_A_BATCH = 4096

_REPEATED = pa.dictionary(pa.int32(), pa.string())
"""Type of texts of which many trials have the same."""

_PLAIN: dict[str, pa.DataType] = {
    "number": pa.int64(),
    "trial_id": pa.string(),
    "anchor": pa.bool_(),
    "config_hash": pa.string(),
    "space_version": pa.int64(),
    "request": pa.string(),
    "stopped_by": pa.string(),
    "failure": pa.string(),
    "latest_epoch": pa.int64(),
    "may_go_back": pa.bool_(),
    "losses": pa.int64(),
    "seconds_lost": pa.float64(),
}
"""Fields that are written as they are."""

_AS_TEXT: dict[str, pa.DataType] = {
    "state": _REPEATED,
    "params": pa.string(),
    "distributions": _REPEATED,
    "sampler_state": _REPEATED,
    "checkpoints": pa.string(),
    "config": pa.string(),
}
"""Fields that are written as JSON; of a configuration, only the values in which it differs from the common one."""

FIELDS = (*_PLAIN, *_AS_TEXT)
"""All fields of a trial but its epochs."""

_COMMON = "common"
"""Column of the configuration that a trial's own one is compared with."""

_SCHEMA = pa.schema([*_PLAIN.items(), *_AS_TEXT.items(), (_COMMON, _REPEATED)])

Config = dict[str, Any]


def schema() -> pa.Schema:
    """Return the schema of the batches."""
    return _SCHEMA


def batches(trials: Sequence[Trial]) -> Iterator[pa.RecordBatch]:
    """Return the trials without their epochs, batch by batch."""
    for start in range(0, len(trials), TRIALS_IN_A_BATCH):
        chosen = trials[start : start + TRIALS_IN_A_BATCH]
        columns: dict[str, list[Any]] = {name: [getattr(trial, name) for trial in chosen] for name in _PLAIN}
        commons: dict[tuple[str, ...], Config] = {}  # by names of the settings: the first configuration with these
        used = [commons.setdefault(tuple(trial.config), trial.config) for trial in chosen]
        differences = [_difference(trial.config, common) for trial, common in zip(chosen, used, strict=True)]
        columns |= {
            "state": [str(trial.state) for trial in chosen],
            "params": [json.dumps(trial.params) for trial in chosen],
            "distributions": _texts([trial.distributions for trial in chosen]),
            "sampler_state": _texts([trial.sampler_state for trial in chosen]),
            "checkpoints": [json.dumps([astuple(one) for one in trial.checkpoints]) for trial in chosen],
            "config": [json.dumps(difference) for difference in differences],
            _COMMON: _texts(used),
        }
        yield pa.record_batch([pa.array(columns[field.name], field.type) for field in _SCHEMA], _SCHEMA)


def trials_of(batch: pa.RecordBatch) -> Iterator[Trial]:
    """Return the trials of a batch, without epochs. Raises KeyError, ValueError or TypeError if it is no such batch."""
    columns = {name: batch.column(name).to_pylist() for name in (*FIELDS, _COMMON)}
    loads = _loading_once()
    for row in zip(*columns.values(), strict=True):
        values = dict(zip(columns, row, strict=True))
        common = loads(values.pop(_COMMON))
        values["config"] = common | json.loads(values["config"])
        values["state"] = TrialState(values["state"])
        values["params"] = json.loads(values["params"])
        values["distributions"], values["sampler_state"] = (
            loads(values["distributions"]),
            loads(values["sampler_state"]),
        )
        values["checkpoints"] = [CheckpointRecord(*record) for record in json.loads(values["checkpoints"])]
        yield Trial(**values)


def _difference(config: Config, common: Config) -> Config:
    """Return the settings in which a configuration differs from another one with the same names."""
    return {name: value for name, value in config.items() if not _is_same(value, common[name])}


def _is_same(value: Any, other: Any) -> bool:
    """Whether two values have the same content and type; of nested ones, only the same object counts."""
    return value is other or (type(value) is type(other) and not isinstance(value, dict | list) and value == other)


def _texts(values: Sequence[Any]) -> list[str]:
    """Return the JSON of values, of which many are the same objects."""
    known: dict[int, str] = {}
    return [known.get(id(value)) or known.setdefault(id(value), json.dumps(value)) for value in values]


def _loading_once() -> Callable[[str], Any]:
    """Return a function that reads JSON and gives the same object again for the same text."""
    return cache(json.loads)
