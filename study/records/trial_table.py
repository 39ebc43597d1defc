"""The table of trials, converted from the facts and configuration of each."""

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from study.config.dimensions import types_of
from study.ledger.history import History, Trial
from study.records.epoch_table import schema_of
from study.search.space import value_at
from trainables.config import TrialConfig
from trainables.families import family_of
from trainables.result import SEARCHED_KEY, TRIAL_COLUMNS, Column, searched_column

ROWS_AT_A_TIME = 4096
"""Trials that are converted together; as dictionaries their rows take some 5 kB each."""


def searched_columns(fields: Sequence[str], trials: Sequence[Trial]) -> list[Column]:
    """Return the columns of further searched fields.

    Args:
        fields: dotted names of the fields; those that have a column anyway are left out.
        trials: trials of the study, whose values decide the type of an option of the model.
    """
    known = {column.name for column in TRIAL_COLUMNS}
    columns = []
    for name in fields:
        if name not in known:
            kinds = types_of(name)
            if kinds is None or {int, str} <= set(kinds):  # K of a group is a number unless a trial has it in float
                kinds = tuple({type(value_at(trial.config, name)) for trial in trials})
            columns.append(searched_column(name, _kind_of(kinds)))
    return columns


def _kind_of(kinds: Sequence[type]) -> str:
    """Return the type of a column that holds values of all these types, besides nulls."""
    plain = set(kinds) - {type(None)}
    if plain == {int, float}:
        return "float"
    return {int: "int", float: "float", bool: "bool"}.get(plain.pop(), "str") if len(plain) == 1 else "str"


def trial_row(trial: Trial) -> dict[str, Any]:
    """Return the row of a trial in trials.parquet: a value for each of `TRIAL_COLUMNS`."""
    config = TrialConfig.from_stored(trial.config)
    quantized = config.num_levels is not None
    row = {column.name: trial.last.get(column.name) for column in TRIAL_COLUMNS}
    return row | {
        "trial_id": trial.trial_id,
        "number": trial.number,
        "state": trial.state,
        "anchor": trial.anchor,
        "space_version": trial.space_version,
        "enqueued": trial.request is not None,
        "stopped_by": trial.stopped_by,
        "family": config.family,
        "num_levels": config.num_levels,
        "lam": config.lam if family_of(config.family).has_penalty else None,
        "placement": config.placement if quantized else None,
        "seed": config.seed,
        "model": config.model,
        "dataset": config.dataset,
        "epochs": len(trial.epochs),
        "train_seconds": sum(trial.epochs.numbers_of("train_seconds")),
        "config_hash": trial.config_hash,
        "failure": trial.failure,
        "groups": _groups_of(config) if quantized else None,
        "checkpoint": trial.checkpoint.path if trial.checkpoint else None,
    }


def _groups_of(config: TrialConfig) -> str | None:
    """Return K and patterns of each group of a trial, in one line; None without groups."""
    parts = []
    for name, group in config.groups.items():
        levels = config.num_levels if group.num_levels is None else group.num_levels
        parts.append(f"{name}: {levels} ({group.layers})")
    return "; ".join(parts) or None


def schema_of_trials(further: Sequence[Column]) -> pa.Schema:
    """Return the schema of trials.parquet, whose metadata names the columns of further searched fields."""
    searched = {column.name: column.type for column in further}
    schema = schema_of([*TRIAL_COLUMNS, *further])
    return schema.with_metadata({SEARCHED_KEY: json.dumps(searched)} if further else {})


def _row_of(further: Sequence[Column], trial: Trial) -> dict[str, Any]:
    """Return the values of further searched fields of a trial; texts where its column has that type."""
    values = {column.name: (column.type, value_at(trial.config, column.name)) for column in further}
    return {
        name: str(value) if kind == "str" and value is not None else value for name, (kind, value) in values.items()
    }


def table_of(trials: Sequence[Trial], further: Sequence[Column]) -> pa.Table:
    """Return the rows of trials, with the columns of further searched fields."""
    schema = schema_of_trials(further)
    tables = [schema.empty_table()]
    for start in range(0, len(trials), ROWS_AT_A_TIME):
        rows = [trial_row(trial) | _row_of(further, trial) for trial in trials[start : start + ROWS_AT_A_TIME]]
        tables.append(pa.Table.from_pylist(rows, schema))
    return pa.concat_tables(tables)


def trials_table(history: History, fields: Sequence[str] = ()) -> pa.Table:
    """Return the rows of trials.parquet at this moment, by number; `fields` are as in `TableWriter`."""
    trials = [trial for _, trial in sorted(history.trials.items())]
    return table_of(trials, searched_columns(fields, trials))
