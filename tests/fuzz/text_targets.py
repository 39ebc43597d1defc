"""Fuzzing targets that are text: ledgers and study.yaml."""

from pathlib import Path
from typing import Any, ClassVar

from study.config import StudyConfig
from study.ledger.ledger import History, read_history
from study.storage.folder import StudyFolder
from tests.fuzz.damage import BYTES, LINES
from tests.fuzz.target import Target
from tests.support.example_studies import make_explored_study, make_study
from trainables.result import DamagedFileError


class LedgerTarget(Target):
    """`ledger.jsonl`."""

    errors = (DamagedFileError,)
    damages: ClassVar = BYTES | LINES

    def write(self, folder: Path) -> Path:
        return make_explored_study(folder).ledger

    def read(self, path: Path) -> History:
        return read_history(path)


class StudyYamlTarget(Target):
    """`study.yaml`, which is also written by hand: another valid value is no damage."""

    errors = (DamagedFileError,)
    damages: ClassVar = BYTES | LINES

    def write(self, folder: Path) -> Path:
        return make_study(folder).study_yaml

    def read(self, path: Path) -> StudyConfig:
        return StudyFolder(path.parent).read_config()

    def accepts(self, damage: str, sound: Any, result: Any) -> bool:
        return isinstance(result, StudyConfig)
