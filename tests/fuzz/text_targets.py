"""Fuzzing targets that the ledger or its facts protect: ledgers, their snapshots and study.yaml."""

import hashlib
from pathlib import Path
from typing import Any, ClassVar

from study.ledger.history import History
from study.ledger.reading import read
from study.ledger.snapshot import snapshot_of, write_snapshot
from study.storage.folder import StudyFolder
from tests.fuzz.damage import BYTES, LINES
from tests.fuzz.target import Target
from tests.support.example_studies import make_explored_study, make_study
from tests.support.ledgers import without_checksums
from trainables.errors import DamagedFileError


class LedgerTarget(Target):
    """`ledger.jsonl` of a finished study: its chain shows changed lines, its tables show that lines are missing."""

    errors = (DamagedFileError,)
    damages: ClassVar = BYTES | LINES

    def write(self, folder: Path) -> Path:
        return make_explored_study(folder).ledger

    def read(self, path: Path) -> History:
        return StudyFolder(path.parent).read_history()


class EarlierLedgerTarget(LedgerTarget):
    """The same as versions without checksums wrote it: a value that is valid there can't be told from the right one.

    No program can know that an accuracy of 0.5 was 0.4 if nothing else holds it. The first session of this version
    protects it.
    """

    def write(self, folder: Path) -> Path:
        ledger = super().write(folder)
        ledger.write_bytes(without_checksums(ledger.read_bytes()))
        for table in folder.glob("*.parquet"):
            table.unlink()
        return ledger

    def accepts(self, damage: str, sound: Any, result: Any) -> bool:
        return isinstance(result, History)


class StudyYamlTarget(Target):
    """`study.yaml` of a study that has begun, whose ledger holds its checksum."""

    errors = (DamagedFileError,)
    damages: ClassVar = BYTES | LINES

    def write(self, folder: Path) -> Path:
        return make_study(folder).study_yaml

    def read(self, path: Path) -> Any:
        return StudyFolder(path.parent).read_config()


class SnapshotTarget(Target):
    """`ledger.snapshot` beside a sound ledger: the history is the same whatever it holds."""

    errors = ()

    def write(self, folder: Path) -> Path:
        ledger = make_explored_study(folder).ledger
        reading = read(ledger.read_bytes())
        write_snapshot(snapshot_of(ledger), reading.history, reading.lines, reading.content.hexdigest())
        return snapshot_of(ledger)

    def read(self, path: Path) -> History:
        return StudyFolder(path.parent).read_history()


class SealedSnapshotTarget(SnapshotTarget):
    """The same with a checksum that was made anew after the damage, as no accident does: it must be harmless."""

    def read(self, path: Path) -> History:
        content = path.read_bytes()[:-32]
        path.write_bytes(content + hashlib.sha256(content).digest())
        return super().read(path)

    def accepts(self, damage: str, sound: Any, result: Any) -> bool:
        return isinstance(result, History)
