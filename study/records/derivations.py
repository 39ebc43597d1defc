"""The file derived.json: from which beginning of the ledger the other files of a study were derived, and by which code.

It saves a resumed study the work of making files anew that already hold all that the ledger says. It is never believed
without a look: a statement counts only if the files have the checksums that it names, if the same code wrote them, and
if the ledger holds the line up to which they were made. Otherwise they are made anew.
"""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from study.ledger.chain import LedgerPosition
from study.records.provenance import code_checksum
from study.storage.folder import StudyFolder
from study.storage.study_yaml import write_atomically
from trainables.errors import IrregularFileError
from trainables.files.regular import open_regular, read_regular

MOST_BYTES = 1 << 16
"""Size up to which derived.json is read; it has some hundred bytes for each file."""


@dataclass(frozen=True, kw_only=True)
class Derivation:
    """Statement about a derived file.

    Attributes:
        position: end of the last line of the ledger that the file follows from.
        code: checksum of the code that has written it.
        settings: all else that its content depends on.
        sha256: SHA-256 of the file.
    """

    position: LedgerPosition
    code: str
    settings: str
    sha256: str


_DERIVATIONS = TypeAdapter(dict[str, Derivation])


class Derivations:
    """Statements about the derived files of one study, kept in derived.json."""

    def __init__(self, folder: StudyFolder) -> None:
        """Name the study without reading anything."""
        self._folder = folder

    def position(self, files: Sequence[Path], settings: str) -> LedgerPosition | None:
        """Return the position in the ledger that all these files were derived from, if that is beyond doubt.

        Args:
            files: files in the folder of the study.
            settings: all that their content depends on, besides the ledger and the code.

        Returns:
            The end of a line that the ledger holds; None if a file is missing, was changed since, or was written by
            other code, with other settings, from another line than the rest, or from another ledger.
        """
        known = self._read()
        expected = [known.get(file.name) for file in files]
        first = expected[0]
        if first is None or first.code != _own_code() or first.settings != settings:
            return None
        try:
            for file, derivation in zip(files, expected, strict=True):
                # The statements about all files must agree in everything but the file's own checksum.
                if derivation != replace(first, sha256=_sha256(file)):
                    return None
            with open_regular(self._folder.ledger) as ledger:
                return first.position if first.position.is_in(ledger) else None
        except (OSError, IrregularFileError):
            return None

    def note(self, files: Sequence[Path], position: LedgerPosition | None, settings: str) -> None:
        """Note that files were derived from the ledger up to a position; `settings` are as in `position`.

        If derived.json can't be written, nothing is lost but time: the files are made anew by the next session.
        """
        known = {name: derivation for name, derivation in self._read().items() if name not in {f.name for f in files}}
        with suppress(OSError, IrregularFileError):
            if position is not None:
                known |= {
                    file.name: Derivation(position=position, code=_own_code(), settings=settings, sha256=_sha256(file))
                    for file in files
                }
            write_atomically(self._folder.derived_json, _DERIVATIONS.dump_json(known, indent=2).decode() + "\n")

    def _read(self) -> dict[str, Derivation]:
        try:
            return _DERIVATIONS.validate_json(read_regular(self._folder.derived_json, MOST_BYTES))
        except (OSError, IrregularFileError, ValueError):
            return {}


@cache
def _own_code() -> str:
    """Return the checksum of the code that this process runs, though its files may change meanwhile."""
    return code_checksum()


def _sha256(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
