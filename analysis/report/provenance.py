"""provenance.json: the trial of every point of every figure, where it comes from, and how to get it again."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.origin import SEARCHED, Origin
from analysis.study import StudyResults

PROVENANCE = "provenance.json"
FORMAT = 2

Points = Mapping[str, list[str]]
"""Trial_ids that the points of a figure are made of, by the name of a study or a confirmation."""


def write_provenance(studies: Sequence[StudyResults], out: Path, figures: Mapping[str, Points] | None = None) -> Path:
    """Write provenance.json of some studies, and of their confirmations, into the folder `out`.

    Args:
        studies: their files.
        out: the folder.
        figures: the trials that the points of each figure are made of, by its name.

    Returns:
        The file's path.

    Raises:
        DamagedFileError: a study's epochs can't be read.
    """
    sources = [source for study in studies for source in (study, study.confirmation) if source is not None]
    path = out / PROVENANCE
    text = json.dumps({"format": FORMAT, "studies": [study_of(source.origin) for source in sources]}, indent=2)
    # A line a figure and a trial: a study of many stays readable, and can be searched line by line.
    encode = json.JSONEncoder(allow_nan=False).encode
    shown = ",\n    ".join(f"{encode(name)}: {encode(points)}" for name, points in (figures or {}).items())
    lines = ",\n    ".join(encode(point) for source in sources for point in points_of(source))
    parts = [text[:-2], f'  "figures": {{\n    {shown}\n  }}', f'  "trials": [\n    {lines}\n  ]\n}}\n']
    path.write_text(",\n".join(parts), encoding="utf-8")
    return path


def _sessions(epochs: pd.DataFrame) -> dict[int, list[int]]:
    """Return the sessions that trained each trial, by its number; empty for tables before schema 3."""
    pairs = epochs[["number", "session"]].dropna().drop_duplicates().sort_values(["number", "session"])
    found: dict[int, list[int]] = {}
    for number, session in zip(pairs["number"], pairs["session"], strict=True):
        found.setdefault(int(number), []).append(int(session))
    return found


def study_of(origin: Origin) -> dict[str, Any]:
    """Return what all points of a study share: the configuration, and the sessions with versions and commits."""
    return {
        "study": origin.name,
        "folder": origin.address,
        "configuration": origin.common,
        "threads": (origin.settings.get("resources") or {}).get("cpus"),
        "sessions": [{"session": number} | session for number, session in enumerate(origin.sessions, start=1)],
    }


def points_of(study: StudyResults) -> Iterable[dict[str, Any]]:
    """Yield one entry for each trial that has trained at least one epoch: all that is not common to its study.

    Its full configuration is the study's with that of the trial over it. A trial that was trained in several sessions
    has the commits and environments of all.
    """
    origin, sessions = study.origin, _sessions(study.epochs)
    columns = ("number", "trial_id", "state", "config_hash", "device", "hostname", "checkpoint", *SEARCHED)
    measured = study.trials[study.trials["epochs"] > 0]
    values = (_values(measured[name]) for name in columns)
    of_sessions: dict[tuple[int, ...], dict[str, Any]] = {}
    for row in zip(*values, strict=True):
        of = dict(zip(columns, row, strict=True))
        trained = tuple(sessions.get(of["number"], ()))
        if trained not in of_sessions:
            of_sessions[trained] = _sessions_of(origin, trained)
        yield {
            "study": origin.name,
            "trial_id": of["trial_id"],
            "number": of["number"],
            "state": of["state"],
            "configuration": {name: of[name] for name in SEARCHED},
            "seed": of["seed"],
            "config_hash": of["config_hash"],
            **of_sessions[trained],
            "device": of["device"],
            "host": of["hostname"],
            "initial_weights": origin.initial_weights(of["seed"]),
            "checkpoint": None if of["checkpoint"] is None else origin.named(origin.folder / of["checkpoint"]),
            "reproduce": origin.reproducing(of["number"]),
            "export": origin.exporting(of["number"]),
        }


def _sessions_of(origin: Origin, trained: tuple[int, ...]) -> dict[str, Any]:
    """Return what is known of the sessions that trained a trial; of all of the study's where these are not known."""
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
    """Each value once, in order."""
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def _values(column: pd.Series) -> list[Any]:
    """As JSON has them: null where there is none, and whole numbers whole, also in a column that has nulls."""
    present = column.notna()
    if pd.api.types.is_float_dtype(column) and (column[present] % 1 == 0).all():
        column = column.astype("Int64")
    return list(column.astype(object).where(present, None))
