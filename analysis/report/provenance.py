"""Writer of provenance.json: the trials behind every point of every figure, and commands to repeat them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.load import searched_columns
from analysis.origin import SEARCHED, Origin
from analysis.study import StudyResults

PROVENANCE = "provenance.json"
FORMAT = 2

Points = Mapping[str, list[str]]
"""Trial_ids behind the points of a figure, by the name of the study or confirmation."""


def write_provenance(studies: Sequence[StudyResults], out: Path, figures: Mapping[str, Points] | None = None) -> Path:
    """Write provenance.json for studies and their confirmations.

    Args:
        studies: contents of the studies' files.
        out: an existing folder.
        figures: trials behind the points of each figure, by the name of the figure.

    Returns:
        Path of the file.

    Raises:
        DamagedFileError: the epochs of a study cannot be read.
    """
    sources = [source for study in studies for source in (study, study.confirmation) if source is not None]
    path = out / PROVENANCE
    text = json.dumps({"format": FORMAT, "studies": [study_of(source.origin) for source in sources]}, indent=2)
    # One line for each figure and each trial, so that large files can be read and searched by line.
    encode = json.JSONEncoder(allow_nan=False).encode
    shown = ",\n    ".join(f"{encode(name)}: {encode(points)}" for name, points in (figures or {}).items())
    lines = ",\n    ".join(encode(point) for source in sources for point in points_of(source))
    parts = [text[:-2], f'  "figures": {{\n    {shown}\n  }}', f'  "trials": [\n    {lines}\n  ]\n}}\n']
    path.write_text(",\n".join(parts), encoding="utf-8")
    return path


def _sessions(epochs: pd.DataFrame) -> dict[int, list[int]]:
    """Return the sessions that trained each trial, by its number; empty for tables before schema 3."""
    pairs = epochs[["number", "session"]].dropna().drop_duplicates().sort_values(["number", "session"])
    sessions: dict[int, list[int]] = {}
    for number, session in zip(pairs["number"], pairs["session"], strict=True):
        sessions.setdefault(int(number), []).append(int(session))
    return sessions


def study_of(origin: Origin) -> dict[str, Any]:
    """Return the common part of all points of a study: configuration, and sessions with versions and commits."""
    return {
        "study": origin.name,
        "folder": origin.address,
        "configuration": origin.common,
        "threads": (origin.settings.get("resources") or {}).get("cpus"),
        "sessions": [{"session": number} | session for number, session in enumerate(origin.sessions, start=1)],
    }


def points_of(study: StudyResults) -> Iterable[dict[str, Any]]:
    """Yield one entry for each trial with at least one epoch, without what is common to the study.

    The full configuration of a trial is that of the study, overridden by the entry's. A trial that was trained in
    several sessions has the commits and environments of all of them.
    """
    origin, sessions = study.origin, _sessions(study.epochs)
    columns = ("number", "trial_id", "state", "config_hash", "device", "hostname", "checkpoint", *SEARCHED)
    further = searched_columns(study.trials)
    measured = study.trials[study.trials["epochs"] > 0]
    values = (_values(measured[name]) for name in (*columns, *further))
    of_sessions: dict[tuple[int, ...], dict[str, Any]] = {}
    for row in zip(*values, strict=True):
        trial = dict(zip((*columns, *further), row, strict=True))
        trained = tuple(sessions.get(trial["number"], ()))
        if trained not in of_sessions:
            of_sessions[trained] = _sessions_of(origin, trained)
        yield {
            "study": origin.name,
            "trial_id": trial["trial_id"],
            "number": trial["number"],
            "state": trial["state"],
            "configuration": {name: trial[name] for name in (*SEARCHED, *further)},
            "seed": trial["seed"],
            "config_hash": trial["config_hash"],
            **of_sessions[trained],
            "device": trial["device"],
            "host": trial["hostname"],
            "initial_weights": origin.initial_weights(trial["seed"]),
            "checkpoint": None if trial["checkpoint"] is None else origin.named(origin.folder / trial["checkpoint"]),
            "reproduce": origin.reproducing(trial["number"]),
            "export": origin.exporting(trial["number"]),
        }


def _sessions_of(origin: Origin, trained: tuple[int, ...]) -> dict[str, Any]:
    """Return commits and environments of a trial's sessions; of all the study's sessions if the trial's are unknown."""
    known = dict(enumerate(origin.sessions, start=1))
    numbers = [number for number in trained or known if number in known]
    those = [known[number] for number in numbers]
    return {
        "sessions": numbers,
        "commits": _distinct({name: session.get(name) for name in ("git_sha", "git_dirty")} for session in those),
        "environments": _distinct({name: session.get(name) for name in ("versions", "platform")} for session in those),
        "made_by": _distinct(session["command"] for session in those if session.get("command")),
    }


def _distinct(values: Iterable[Any]) -> list[Any]:
    """Return each value once, in order."""
    distinct: list[Any] = []
    for value in values:
        if value not in distinct:
            distinct.append(value)
    return distinct


def _values(column: pd.Series) -> list[Any]:
    """Return a column's values for JSON: None for nulls, and whole numbers as integers even if there are nulls."""
    present = column.notna()
    if pd.api.types.is_float_dtype(column) and (column[present] % 1 == 0).all():
        column = column.astype("Int64")
    return list(column.astype(object).where(present, None))
