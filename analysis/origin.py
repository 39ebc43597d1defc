"""Configuration and provenance of a study, from study.yaml and study.json, and commands that repeat its trials."""

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from trainables.errors import DamagedFileError
from trainables.files.regular import read_regular

SEARCHED = ("family", "num_levels", "lam", "placement", "seed")
"""Columns of trials.parquet that, together with the common settings, are the configuration of a trial."""

BASELINE = "baseline"
"""Name of the folder in a study that holds its float networks, one for each seed."""

MOST_YAML_BYTES = 10**6
MOST_JSON_BYTES = 2**26

Named = Callable[[Path], str]
"""Function that returns the address to show for a path in a study: the path, or its URI for a working copy."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Configuration and provenance of a study.

    Attributes:
        folder: folder of the study.
        settings: content of study.yaml.
        provenance: content of study.json; empty if there is none.
        named: returns the address to show for the folder and for paths in it.
        label: name of the study in a comparison; None for its own name.
    """

    folder: Path
    settings: Mapping[str, Any]
    provenance: Mapping[str, Any]
    named: Named
    label: str | None = None

    @property
    def name(self) -> str:
        """Label of the study, or its name in study.yaml, or the name of its folder."""
        return self.label or str(self.settings.get("name") or self.folder.resolve().name)

    @property
    def address(self) -> str:
        """Address of the study's folder to show: a path or a URI."""
        return self.named(self.folder)

    @property
    def num_trials(self) -> int | None:
        """Number of trials that the study is configured to run; None if study.yaml does not state it."""
        trials = self.settings.get("trials")
        return trials if isinstance(trials, int) else None

    @property
    def is_plan(self) -> bool:
        """Whether the study runs a plan of given configurations instead of a search."""
        return bool(self.settings.get("plan"))

    @property
    def common(self) -> dict[str, Any]:
        """Settings that all trials share: the section `trial` of study.yaml."""
        return dict(self.settings.get("trial") or {})

    def initial_weights(self, seed: int) -> str | None:
        """Return the address of the float network from which trials of a seed start; None if there is none."""
        if self.common.get("init") != "pretrained":
            return None
        return self.named(self.folder / BASELINE / f"seed-{seed}")

    @property
    def sessions(self) -> list[dict[str, Any]]:
        """Sessions of the study's driver, in order from session 1: time, host, versions and commit of each."""
        return list(self.provenance.get("sessions") or [])

    @property
    def budget(self) -> tuple[int, int] | None:
        """Epochs of the regularize and of the finetune phase; None if study.yaml does not state them."""
        regularize, finetune = (self.common.get(f"{phase}_epochs") for phase in ("regularize", "finetune"))
        return (regularize, finetune) if isinstance(regularize, int) and isinstance(finetune, int) else None

    def reproducing(self, number: int) -> str:
        """Return the command that trains a trial again and compares the results."""
        return f"qar reproduce {self._quoted} --trial {number}"

    def exporting(self, number: int) -> str:
        """Return the command that writes a trial's network to a compressed file."""
        return f"qar export {self._quoted} --trial {number} --out {self._quoted_name}-{number}.qar"

    def confirming(self) -> str:
        """Return the command that confirms the study."""
        return f"qar confirm {self._quoted}"

    @cached_property
    def _quoted(self) -> str:
        return shlex.quote(self.address)

    @cached_property
    def _quoted_name(self) -> str:
        return shlex.quote(self.name)


def names_of(origins: Sequence[Origin]) -> list[str]:
    """Return a distinct name for each study: its own, that of its folder, or as much of its path as is needed.

    Raises:
        ValueError: a study is given twice.
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
    """Read study.yaml and study.json of a study's folder.

    Args:
        folder: folder of the study.
        named: as in `Origin`.
        label: as in `Origin`.

    Raises:
        DamagedFileError: one of the files cannot be read or parsed.
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
