"""Where a study's numbers come from: what study.yaml and study.json tell, and the commands that made them."""

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from trainables.result import DamagedFileError

SEARCHED = ("family", "num_levels", "lam", "placement", "seed")
"""Columns of trials.parquet that, with what is common to all trials, are the configuration of a trial."""

BASELINE = "baseline"
"""Where a study keeps its float baselines, one a seed."""

Named = Callable[[Path], str]
"""From a path in a study to what readers know it by: the path itself, or its URI if the path is of a working copy."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What the folder of a study tells beside its tables.

    Attributes:
        folder: of the study.
        settings: study.yaml.
        told: study.json; empty if there is none.
        named: names the folder, and what is in it, to readers.
        label: what the study is called, if not by its own name.
    """

    folder: Path
    settings: Mapping[str, Any]
    told: Mapping[str, Any]
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
        return list(self.told.get("sessions") or [])

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


def names_of(folders: Sequence[Path]) -> list[str]:
    """Names that tell studies apart: their own, or those of their folders where two have the same.

    Raises:
        ValueError: the folders have the same name too.
        DamagedFileError: as `read_origin`.
    """
    for names in ([read_origin(folder).name for folder in folders], [folder.resolve().name for folder in folders]):
        if len(set(names)) == len(folders):
            return names
    got = [str(folder) for folder in folders]
    raise ValueError(f"studies to compare must have different names, got {got}; rename the folder of one")


def read_origin(folder: Path, named: Named = str, label: str | None = None) -> Origin:
    """Reads study.yaml and study.json of a folder, which readers know as it is `named`, and as `label` if it has one.

    Raises:
        DamagedFileError: one of them can't be understood.
    """
    settings = _mapping(folder / "study.yaml", yaml.safe_load)
    told = _mapping(folder / "study.json", json.loads) if (folder / "study.json").exists() else {}
    return Origin(folder=folder, settings=settings, told=told, named=named, label=label)


def _mapping(path: Path, parse: Any) -> Mapping[str, Any]:
    try:
        values = parse(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DamagedFileError(f"{path} is damaged: {' '.join(str(error).split())}; restore it from a copy") from None
    if not isinstance(values, dict):
        raise DamagedFileError(f"{path} is damaged: it holds no mapping of keys to values; restore it from a copy")
    return values
