"""Configuration and provenance of a study, from study.yaml and study.json, and the commands that repeat its trials."""

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from trainables.errors import DamagedFileError
from trainables.files import read_regular

SEARCHED = ("family", "num_levels", "lam", "placement", "seed")
"""Columns of trials.parquet that, with what is common to all trials, are the configuration of a trial."""

BASELINE = "baseline"
"""Where a study keeps its float baselines, one a seed."""

MOST_YAML_BYTES = 10**6
MOST_JSON_BYTES = 2**26

Named = Callable[[Path], str]
"""From a path in a study to what readers know it by: the path itself, or its URI if the path is of a working copy."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Configuration and provenance of a study.

    Attributes:
        folder: of the study.
        settings: study.yaml.
        provenance: study.json; empty if there is none.
        named: names the folder, and what is in it, to readers.
        label: name of the study where it is compared with others; None for its own.
    """

    folder: Path
    settings: Mapping[str, Any]
    provenance: Mapping[str, Any]
    named: Named
    label: str | None = None

    @property
    def name(self) -> str:
        """Its label, or the study's own name; that of its folder if study.yaml has none."""
        return self.label or str(self.settings.get("name") or self.folder.resolve().name)

    @property
    def address(self) -> str:
        """The folder as readers know it."""
        return self.named(self.folder)

    @property
    def num_trials(self) -> int | None:
        """Trials that the study asks for; None if study.yaml doesn't say."""
        trials = self.settings.get("trials")
        return trials if isinstance(trials, int) else None

    @property
    def is_plan(self) -> bool:
        """Whether the study runs a plan of configurations in place of a search."""
        return bool(self.settings.get("plan"))

    @property
    def common(self) -> dict[str, Any]:
        """What all trials have in common, as study.yaml has it under `trial`."""
        return dict(self.settings.get("trial") or {})

    def initial_weights(self, seed: int) -> str | None:
        """The checkpoint of the float baseline that trials of a seed begin from; None if they begin from scratch."""
        if self.common.get("init") != "pretrained":
            return None
        return self.named(self.folder / BASELINE / f"seed-{seed}")

    @property
    def sessions(self) -> list[dict[str, Any]]:
        """One of each run of a driver, the first is session 1: when, where, versions, commit."""
        return list(self.provenance.get("sessions") or [])

    @property
    def budget(self) -> tuple[int, int] | None:
        """Epochs of the regularize and of the finetune phase; None if study.yaml doesn't say."""
        regularize, finetune = (self.common.get(f"{phase}_epochs") for phase in ("regularize", "finetune"))
        return (regularize, finetune) if isinstance(regularize, int) and isinstance(finetune, int) else None

    def reproducing(self, number: int) -> str:
        """The command that trains a trial again and compares."""
        return f"qar reproduce {self._quoted} --trial {number}"

    def exporting(self, number: int) -> str:
        """The command that writes a trial's network to a compressed file."""
        return f"qar export {self._quoted} --trial {number} --out {self._quoted_name}-{number}.qar"

    def confirming(self) -> str:
        """The command that confirms the study."""
        return f"qar confirm {self._quoted}"

    @cached_property
    def _quoted(self) -> str:
        return shlex.quote(self.address)

    @cached_property
    def _quoted_name(self) -> str:
        return shlex.quote(self.name)


def names_of(origins: Sequence[Origin]) -> list[str]:
    """Return names that tell studies apart: their own, those of their folders, or as much of their paths as it takes.

    Raises:
        ValueError: a study is there twice.
    """
    own = [origin.name for origin in origins]
    paths = [_path_of(origin).split("/") for origin in origins]
    depth = max(map(len, paths))
    for names in (own, *(["/".join(path[-parts:]) for path in paths] for parts in range(1, depth + 1))):
        if len(set(names)) == len(origins):
            return names
    got = [origin.address for origin in origins]
    raise ValueError(f"studies to compare must be different ones, got {got}; give each once")


def _path_of(origin: Origin) -> str:
    """Return the absolute path of a study, or its URI without the scheme."""
    _, is_uri, path = origin.address.partition("://")
    return path.strip("/") if is_uri else str(origin.folder.resolve()).strip("/")


def read_origin(folder: Path, named: Named = str, label: str | None = None) -> Origin:
    """Read study.yaml and study.json of a folder; `named` and `label` are as in `Origin`.

    Raises:
        DamagedFileError: one of them can't be understood.
    """
    settings = _mapping(folder / "study.yaml", yaml.safe_load, MOST_YAML_BYTES)
    provenance = (
        _mapping(folder / "study.json", json.loads, MOST_JSON_BYTES) if (folder / "study.json").exists() else {}
    )
    return Origin(folder=folder, settings=settings, provenance=provenance, named=named, label=label)


def _mapping(path: Path, parse: Any, limit: int) -> Mapping[str, Any]:
    try:
        values = parse(read_regular(path, limit).decode())
    except RecursionError:
        raise DamagedFileError(f"{path} is damaged: it is nested too deeply; restore it from a copy") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DamagedFileError(f"{path} is damaged: {' '.join(str(error).split())}; restore it from a copy") from None
    if not isinstance(values, dict):
        raise DamagedFileError(f"{path} is damaged: it holds no mapping of keys to values; restore it from a copy")
    return values
