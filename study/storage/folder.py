"""The folder of a study, `<storage>/<name>/`, and the files in it."""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from study.config import StudyConfig, redacted
from study.containment import check_no_links
from study.errors import StorageError
from study.ledger.facts import CONFIGURED
from study.ledger.history import History, Trial
from study.ledger.ledger import Ledger
from study.ledger.reading import read_history
from study.storage.bucket import BucketStorage
from study.storage.ledger_check import check_ledger
from study.storage.local import LocalStorage, remove_empty
from study.storage.study_files import StudyFiles
from study.storage.study_storage import (
    CONFIRM,
    STUDY_YAML,
    StudyStorage,
    study_exists,
)
from study.storage.study_yaml import (
    as_yaml,
    check_recorded,
    digest_of,
    digest_of_study_yaml,
    read_study_yaml,
    write_atomically,
)
from study.user import user_name
from trainables.errors import DamagedFileError
from trainables.files.atomic import is_draft


class StudyFolder(StudyFiles):
    """The files of one study; `create` writes a new study.

    Attributes:
        storage: place where the study is kept.
        path: folder on this machine with the study's files: the study itself, or a working copy.
    """

    def __init__(self, place: Path | StudyStorage) -> None:
        """Name a study by its folder or its storage; it need not exist."""
        self.storage: StudyStorage = LocalStorage(place) if isinstance(place, Path) else place

    @classmethod
    def at(cls, address: str) -> "StudyFolder":
        """Return the study with a path, or with a URI on an object store, of which a working copy is fetched.

        Raises:
            ValueError: the URI names no bucket.
            StorageError: the object store can't be reached.
        """
        if "://" not in address:
            return cls(Path(address))
        return cls(BucketStorage.open(address))

    @property
    def address(self) -> str:
        """Absolute path or URI of the study, by which it is known elsewhere."""
        return self.storage.shown(self.path) if self.storage.has_working_copy else str(self.path.resolve())

    def __str__(self) -> str:
        """Return the path or URI, quoted for a shell."""
        return str(self.storage)

    def __eq__(self, other: object) -> bool:
        """Whether both have the same path or URI, and the same files on this machine."""
        return isinstance(other, StudyFolder) and (str(self), self.path) == (str(other), other.path)

    def __hash__(self) -> int:
        """Return a hash of the path or URI."""
        return hash(str(self))

    @property
    def path(self) -> Path:
        """Folder on this machine with the study's files."""
        return self.storage.path

    @property
    def confirmation(self) -> "StudyFolder":
        """The study that confirms this one."""
        return StudyFolder(self.storage.confirmation)

    @property
    def confirmed(self) -> "StudyFolder | None":
        """The study that this one confirms; None if it is no confirmation. Raises as `StudyFolder.at` does."""
        confirmed = self.storage.confirmed
        return None if confirmed is None else StudyFolder(confirmed)

    def exists(self) -> bool:
        """Whether the folder holds a study."""
        return self.study_yaml.exists()

    def check_no_links(self) -> None:
        """Check that writing or removing the study's files touches nothing outside of it.

        Raises:
            ValueError: the folder holds a symbolic link, or anything else but files and folders.
        """
        if self.path.name == CONFIRM and (self.path.parent / self.study_yaml.name).exists():
            check_no_links(self.path.parent)  # a confirmation is part of the study that it confirms
        else:
            check_no_links(self.path)

    def check_free(self) -> None:
        """Raise ValueError if the folder is not empty or can't be read."""
        try:
            taken = {STUDY_YAML} if self.exists() else self.storage.names()
        except OSError as error:
            raise self._unusable(error) from None
        if STUDY_YAML in taken:
            raise study_exists(self)
        if taken:
            raise ValueError(f"{self} is not empty and holds no study; choose another --name or --storage")

    def create(self, config: StudyConfig) -> list[Path]:
        """Create the folder and write study.yaml; if several processes try, one succeeds.

        Args:
            config: configuration of the study.

        Returns:
            The folders that were created, innermost first.

        Raises:
            ValueError: the folder can't be written or is not empty; nothing was changed.
        """
        self.check_free()
        content = as_yaml(config)
        made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.check_no_links()
            self.storage.create(content)
        except FileExistsError as error:
            if not self.exists():  # a file is in the folder's place
                raise self._unusable(NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))) from error
            raise study_exists(self) from None
        except OSError as error:
            remove_empty(made)
            raise self._unusable(error) from None
        except StorageError as error:
            raise ValueError(str(error)) from None
        return made

    @contextmanager
    def created(self, config: StudyConfig) -> Iterator[None]:
        """Create a study as `create` does, and remove it again if the block raises an exception."""
        made = self.create(config)
        try:
            yield
        except BaseException:
            self.storage.discard(made)
            raise

    def _unusable(self, error: OSError) -> ValueError:
        return ValueError(f"storage {self} can't be written: {error.strerror}; choose another --storage")

    def record_config(self, config: StudyConfig, ledger: Ledger, changes: Sequence[str] = ()) -> None:
        """Record in the ledger that study.yaml changes, then replace it; raises as `replace_config` does.

        Args:
            config: the new configuration.
            ledger: ledger of the study, open for writing.
            changes: the change, each part as KEY=VALUE.
        """
        content = as_yaml(config)
        ledger.record(
            CONFIGURED,
            study_yaml=digest_of(content),
            replaces=self.config_digest(),
            version=config.version if config.version != self.parse_config().version else None,
            user=user_name(),
            changes=[redacted(change) for change in changes] or None,
        )
        self._replace_config(content)

    def replace_config(self, config: StudyConfig) -> None:
        """Replace study.yaml atomically. Raises ValueError if the study holds a symbolic link."""
        self._replace_config(as_yaml(config))

    def _replace_config(self, content: bytes) -> None:
        self.check_no_links()
        write_atomically(self.study_yaml, content.decode())
        self.publish()

    def change_config(
        self, change: Callable[[StudyConfig, History], StudyConfig], say: Callable[[str], None]
    ) -> StudyConfig:
        """Write study.yaml anew while holding the ledger's lock, so that no driver runs meanwhile.

        Args:
            change: returns the new configuration for the present one and the history.
            say: called with a line where the lock takes a while.

        Returns:
            The new configuration.

        Raises:
            Exception: as `open_ledger` and `change` raise; then nothing is changed.
        """
        with closing(self.open_ledger(say)) as ledger:
            config = change(self.read_config(), ledger.history)
            self.record_config(config, ledger)
        return config

    def read_config(self) -> StudyConfig:
        """Read study.yaml.

        Raises:
            ValueError: the folder holds no study.
            DamagedFileError: the file can't be read, is invalid, or is not the one that the ledger has recorded.
        """
        config = self.parse_config()
        self.check_recorded()
        return config

    def parse_config(self) -> StudyConfig:
        """Read study.yaml, which may have been edited. Raises as `read_config` does otherwise."""
        if not self.exists():
            raise ValueError(f"{self} is no study folder (it has no study.yaml); give the folder of a study")
        return read_study_yaml(self.study_yaml)

    def check_recorded(self) -> None:
        """Check that study.yaml is the file that the ledger has recorded, if it has recorded any.

        Raises:
            DamagedFileError: it is another.
            OSError: it can't be read.
        """
        check_recorded(self.study_yaml, self.ledger, str(self))

    def config_digest(self) -> str:
        """Return the SHA-256 sum of study.yaml, as facts hold it. Raises OSError."""
        return digest_of_study_yaml(self.study_yaml)

    def open_ledger(self, say: Callable[[str], None]) -> Ledger:
        """Open the ledger for writing, which only one driver at a time can do.

        Args:
            say: function that shows a line to the user if this takes a while.

        Raises:
            ValueError: the study holds a symbolic link.
            Exception: as `Ledger` and `StudyStorage.drive` raise.
        """
        self.check_no_links()
        self.storage.fetch_results()
        self.storage.fetch_ledger()  # after the tables, which are never ahead of it
        check_ledger(self)
        ledger = Ledger(self.ledger, self.storage.drive(say))
        for path in self.path.iterdir():
            if is_draft(path.name) and path.is_file():  # left by a killed process
                path.unlink()
        return ledger

    def read_history(self) -> History:
        """Return the history that the ledger holds.

        Raises:
            DamagedFileError: the ledger can't be read, is missing though the study has run, or lacks trials that the
                tables have.
            StorageError: the bucket can't be reached.
        """
        check_ledger(self)
        return read_history(self.ledger)

    def is_driven(self) -> bool:
        """Whether a driver runs the study. Raises StorageError."""
        return self.storage.is_driven()

    def publish(self) -> None:
        """Bring the place where the study is kept up to date with `path`. Raises StorageError."""
        self.storage.publish()

    def has_baseline(self, seed: int, sha256: str | None) -> bool:
        """Whether the float network of a seed exists and is whole. Raises StorageError.

        Args:
            seed: seed of the float network.
            sha256: checksum that the ledger holds of its file; None if it holds none.
        """
        from trainables.files.checkpoint import read_checkpoint

        try:
            read_checkpoint(self.fetched_baseline(seed), expected=sha256)
        except DamagedFileError:
            return False
        return True

    def baseline_address(self, seed: int) -> str:
        """Return the path or URI by which every node finds the float network of a seed."""
        return self.storage.address_of(self.inner(self.baseline(seed)))

    def fetched_baseline(self, seed: int) -> Path:
        """Fetch the float network of a seed and return its path on this machine. Raises StorageError."""
        self.storage.fetch_folder(self.inner(self.baseline(seed)))
        return self.baseline(seed)

    def checkpoint_sums(self, trial: Trial) -> dict[str, str]:
        """Return the checksums of a trial's checkpoints by their addresses, as far as the ledger holds them."""
        records = [checkpoint for checkpoint in trial.checkpoints if checkpoint.sha256 is not None]
        return {self.storage.address_of(record.path): str(record.sha256) for record in records}

    def checkpoints_of(self, trial: Trial) -> list[str]:
        """Return the addresses of a trial's checkpoints, newest first; without any, the trial starts from epoch 0."""
        paths = [checkpoint.path for checkpoint in reversed(trial.checkpoints)]
        return [self.storage.address_of(path) for path in paths if self.storage.may_hold(path)]
