"""`qar repair`: keeps the sound beginning of a damaged ledger, or the edits that a user has made in study.yaml."""

import re
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from io import BytesIO
from itertools import count
from pathlib import Path

from study.ledger.completeness import TableWitness
from study.ledger.facts import CONFIGURED
from study.ledger.reading import read
from study.records.tables import write_tables
from study.storage.folder import StudyFolder
from study.user import user_name
from trainables.errors import DamagedFileError
from trainables.files.atomic import create

_KIND = re.compile(rb'"fact": ?"(\w+)"')


@dataclass(frozen=True, kw_only=True)
class Repair:
    """Result of a repair: the facts that were kept, and those that are lost.

    Attributes:
        kept: number of lines that were kept.
        damage: first line that was not, and the reason; None if only the end of the ledger is missing.
        lost: number of lost facts by kind, as far as their lines show it.
        originals: files in which the files as they were are kept.
    """

    kept: int
    damage: str | None
    lost: Counter[str]
    originals: tuple[Path, ...]

    def lines(self) -> list[str]:
        """Return what was done, in lines for the user."""
        lost = ", ".join(f"{number} {kind}" for kind, number in self.lost.items()) or "no whole line"
        found = f"damaged in {self.damage}; lost with what follows: {lost}" if self.damage else "the end is missing"
        return [
            f"ledger: {found}",
            f"kept: the {self.kept} lines before",
            f"the files as they were: {', '.join(path.name for path in self.originals)}",
        ]


def repair_ledger(folder: StudyFolder, say: Callable[[str], None]) -> Repair | None:
    """Replace a damaged ledger by its longest sound beginning, and the tables by those that follow from it.

    The damaged ledger and tables that hold more than is left are kept under other names.

    Args:
        folder: the study.
        say: called with a line where claiming the study takes a while.

    Returns:
        What was done; None if the ledger is sound and holds all that the tables come from.

    Raises:
        ValueError: the study holds a symbolic link, or another process runs it.
        DamagedFileError: not even the first line is sound, or study.yaml is invalid.
        StorageError: the study can't be written.
    """
    folder.check_no_links()
    fields = folder.parse_config().searched_fields
    folder.storage.fetch_results()
    content = folder.ledger.read_bytes()
    reading = read(content)
    complete = TableWitness(folder.trials).contradiction(BytesIO(content[: reading.intact])) is None
    if reading.damage is None and complete:
        return None
    if not reading.intact:
        raise DamagedFileError(f"{folder.ledger} holds no sound line; restore it from a copy, or launch the study anew")
    rest = content[reading.intact :]
    originals = [folder.ledger] if reading.damage else []
    originals += [] if complete else [path for path in (folder.trials, folder.epochs) if path.exists()]
    copies = tuple(_keep(path) for path in originals)
    folder.publish()
    if reading.damage:
        folder.storage.replace_ledger(content, content[: reading.intact], say)
    write_tables(folder, reading.history, fields)
    folder.publish()
    lost = Counter(match[1].decode() for match in _KIND.finditer(rest))
    return Repair(kept=reading.lines, damage=reading.damage, lost=lost, originals=copies)


def keep_config(folder: StudyFolder, say: Callable[[str], None]) -> None:
    """Record the present study.yaml, which the user has edited, in the ledger.

    Raises:
        ValueError: the folder holds no study, or another process runs it.
        DamagedFileError: study.yaml is invalid, or the ledger is damaged.
    """
    config = folder.parse_config()
    with closing(folder.open_ledger(say)) as ledger:
        digest = folder.config_digest()
        begun = ledger.history.version_changes
        lost: list[int | None] = [version for version in range(2, config.version + 1) if version not in begun]
        for version in lost or [None]:
            ledger.record(CONFIGURED, study_yaml=digest, replaces=digest, version=version, user=user_name())


def _keep(path: Path) -> Path:
    """Copy a file to a name that no file has, and return its path."""
    content = path.read_bytes()
    for number in count(1):
        copy = path.with_name(f"{path.stem}.damaged-{number}{path.suffix}")
        try:
            create(copy, content)
        except FileExistsError:
            continue
        return copy
    raise AssertionError
