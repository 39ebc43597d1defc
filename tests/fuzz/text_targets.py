"""Fuzzing targets that are text: ledgers and study.yaml."""

import copy
from pathlib import Path
from typing import Any, ClassVar

from study.config import StudyConfig
from study.ledger.history import History
from study.ledger.ledger import read_history
from study.storage.folder import StudyFolder
from tests.fuzz.damage import BYTES, LINES
from tests.fuzz.target import Target
from tests.support.example_studies import make_explored_study, make_study
from trainables.errors import DamagedFileError


class LedgerTarget(Target):
    """`ledger.jsonl`, whose lines have no checksum: another sound value in a line is not noticed."""

    errors = (DamagedFileError,)
    damages: ClassVar = BYTES | LINES

    def __init__(self) -> None:
        self._prefixes: list[History] = []

    def write(self, folder: Path) -> Path:
        ledger = make_explored_study(folder).ledger
        content = ledger.read_bytes()
        lines = content.splitlines(keepends=True)
        for number in range(len(lines)):
            ledger.write_bytes(b"".join(lines[:number]))
            self._prefixes.append(_without_checkpoints(read_history(ledger)))
        ledger.write_bytes(content)
        return ledger

    def read(self, path: Path) -> History:
        return read_history(path)

    def accepts(self, damage: str, sound: Any, result: Any) -> bool:
        if damage in LINES:
            # The end of a ledger is only known to its tables; and no order asks for a checkpoint.
            result = _without_checkpoints(result)
            return result == _without_checkpoints(sound) or result in self._prefixes
        return isinstance(result, History)


def _without_checkpoints(history: History) -> History:
    history = copy.deepcopy(history)
    for trial in history.trials.values():
        trial.checkpoints = []
    for session in history.sessions:
        session.latest = session.seconds = 0.0
    return history


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
