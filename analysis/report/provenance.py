"""provenance.json: of every point of every figure, which trial it is, where it comes from, and how to get it again."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.load import find_epochs, load_trials
from analysis.report.origin import SEARCHED, Named, Origin, names_of, read_origin
from analysis.statistics.confirmed import FOLDER, confirmation_named, load_confirmation

PROVENANCE = "provenance.json"
FORMAT = 2

Points = Mapping[str, list[str]]
"""Of a figure: by the name of a study or a confirmation, the trial_ids that its points are made of."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """A study that points of figures come from.

    Attributes:
        origin: of its folder.
        trials: rows of trials.parquet.
        sessions: by the trial's number, the sessions that trained it; empty for tables before schema 3.
    """

    origin: Origin
    trials: pd.DataFrame
    sessions: Mapping[int, list[int]]


def write_provenance(
    studies: Sequence[Path],
    out: Path,
    figures: Mapping[str, Points] | None = None,
    *,
    named: Named = str,
) -> Path:
    """Writes provenance.json of the studies in these folders, and of their confirmations, into the folder `out`.

    Args:
        studies: folders.
        out: the folder.
        figures: by the name of each, what its points are made of.
        named: names paths in the folders to readers.

    Returns:
        The file's path.

    Raises:
        ValueError: there is no study in a folder, or two can't be told apart.
        DamagedFileError: a study's files can't be read.
    """
    names = names_of(studies)
    sources = [
        source for folder, name in zip(studies, names, strict=True) for source in read_sources(folder, named, name)
    ]
    path = out / PROVENANCE
    text = json.dumps({"format": FORMAT, "studies": [study_of(source) for source in sources]}, indent=2)
    # A line a figure and a trial: a study of many stays readable, and can be searched line by line.
    encode = json.JSONEncoder(allow_nan=False).encode
    shown = ",\n    ".join(f"{encode(name)}: {encode(points)}" for name, points in (figures or {}).items())
    lines = ",\n    ".join(encode(point) for source in sources for point in points_of(source))
    parts = [text[:-2], f'  "figures": {{\n    {shown}\n  }}', f'  "trials": [\n    {lines}\n  ]\n}}\n']
    path.write_text(",\n".join(parts))
    return path


def read_sources(folder: Path, named: Named, name: str) -> list[Source]:
    """The study in a folder, and its confirmation if it has one; raises as `analysis.load.load_trials` does."""
    folders = [(folder, name, load_trials(folder))]
    confirmation = load_confirmation(folder)
    if confirmation is not None:
        folders.append((folder / FOLDER, confirmation_named(name), confirmation))
    return [
        Source(
            origin=read_origin(where, named, label),
            trials=trials,
            sessions=_sessions(find_epochs(where, ["number", "session"])),
        )
        for where, label, trials in folders
    ]


def _sessions(epochs: pd.DataFrame) -> dict[int, list[int]]:
    pairs = epochs.dropna().drop_duplicates().sort_values(["number", "session"])
    found: dict[int, list[int]] = {}
    for number, session in zip(pairs["number"], pairs["session"], strict=True):
        found.setdefault(int(number), []).append(int(session))
    return found


def study_of(source: Source) -> dict[str, Any]:
    """What all points of a study share: the configuration, and the sessions with their versions and commits."""
    origin = source.origin
    return {
        "study": origin.name,
        "folder": origin.address,
        "configuration": origin.common,
        "threads": (origin.settings.get("resources") or {}).get("cpus"),
        "sessions": [{"session": number} | session for number, session in enumerate(origin.sessions, start=1)],
    }


def points_of(source: Source) -> Iterable[dict[str, Any]]:
    """One entry a trial that has trained at least one epoch: all that is not common to its study.

    Its full configuration is the study's with that of the trial over it. A trial that was trained in several sessions
    has the commits and environments of all.
    """
    origin = source.origin
    columns = ("number", "trial_id", "state", "config_hash", "device", "hostname", "checkpoint", *SEARCHED)
    measured = source.trials[source.trials["epochs"] > 0]
    values = (_values(measured[name]) for name in columns)
    of_sessions: dict[tuple[int, ...], dict[str, Any]] = {}
    for row in zip(*values, strict=True):
        of = dict(zip(columns, row, strict=True))
        trained = tuple(source.sessions.get(of["number"], ()))
        if trained not in of_sessions:
            of_sessions[trained] = _told_of(origin, trained)
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


def _told_of(origin: Origin, trained: tuple[int, ...]) -> dict[str, Any]:
    """What the sessions that trained a trial tell; all of the study's where that is not known."""
    known = dict(enumerate(origin.sessions, start=1))
    numbers = [number for number in trained or known if number in known]
    told = [known[number] for number in numbers]
    return {
        "sessions": numbers,
        "commits": _distinct({name: session.get(name) for name in ("git_sha", "git_dirty")} for session in told),
        "environments": _distinct({name: session.get(name) for name in ("versions", "platform")} for session in told),
        "made_by": _distinct(session["command"] for session in told if session.get("command")),
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
