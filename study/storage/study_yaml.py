"""The file study.yaml: writing, reading, and the check that it is the one that the ledger has recorded."""

import hashlib
from pathlib import Path

from study.config import StudyConfig, parse_written_study
from study.config.yaml_loading import MOST_CHARACTERS, dump_yaml, load_written_yaml
from study.ledger.completeness import config_digests
from study.storage.study_storage import STUDY_YAML
from trainables.errors import DamagedFileError, IrregularFileError, message_of
from trainables.files.atomic import replacing
from trainables.files.regular import open_regular, read_regular


def write_atomically(path: Path, text: str) -> None:
    """Write a text file atomically: readers see either the old or the new content. Raises OSError."""
    with replacing(path) as file:
        file.write(text.encode())


def digest_of(content: bytes) -> str:
    """Return the SHA-256 sum of a file's content, as facts hold it."""
    return hashlib.sha256(content).hexdigest()


def as_yaml(config: StudyConfig) -> bytes:
    """Return a configuration as the content of study.yaml; raise ValueError if that could not be read again."""
    content = dump_yaml(config.model_dump()).encode()
    try:
        parse_written_study(load_written_yaml(content, STUDY_YAML), STUDY_YAML)
    except ValueError as error:
        raise ValueError(f"the configuration can't be kept, for its file could not be read again: {error}") from None
    return content


def read_study_yaml(path: Path) -> StudyConfig:
    """Read study.yaml, which may have been edited.

    Raises:
        DamagedFileError: the file can't be read, or is invalid.
    """
    try:
        return parse_written_study(load_written_yaml(read_regular(path, MOST_CHARACTERS), str(path)), str(path))
    except (ValueError, OSError) as error:
        text = message_of(error).removeprefix(f"{path}: ")
        raise DamagedFileError(f"{path} is damaged: {text}") from None


def digest_of_study_yaml(path: Path) -> str:
    """Return the SHA-256 sum of study.yaml, as facts hold it. Raises OSError."""
    return digest_of(read_regular(path, MOST_CHARACTERS))


def check_recorded(path: Path, ledger: Path, study: str) -> None:
    """Check that study.yaml is the file that the ledger has recorded, if it has recorded any.

    Args:
        path: path of study.yaml.
        ledger: path of the ledger.
        study: path or URI of the study, quoted for a shell.

    Raises:
        DamagedFileError: it is another.
        OSError: it can't be read.
    """
    try:
        with open_regular(ledger) as file:
            recorded = config_digests(file)
    except (OSError, IrregularFileError):
        return  # reading the ledger will raise the error
    if recorded and digest_of_study_yaml(path) not in recorded:
        raise DamagedFileError(
            f"{path} is damaged or was edited: it is not the file that {ledger.name} has recorded; "
            f"restore it from a copy, or keep what it says now with: qar repair {study} --keep-config"
        )
