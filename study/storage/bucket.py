"""A study in a bucket of an object store, with a working copy in a temporary folder.

The bucket holds the study. A fact is written to it before the program acts on it; tables, database and report follow.
Ray writes its checkpoints to the bucket directly.
"""

import atexit
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from study.containment import inner_path
from study.storage.lease import NAME, Lease, read_driver, seems_alive
from study.storage.object_store import BucketFolder, ConditionError, above, below
from study.storage.segments import Segments, read_ledger, seal_ledger
from study.storage.study_storage import (
    CONFIRM,
    DERIVED_JSON,
    LEDGER,
    OPTUNA_DB,
    RAY,
    REQUESTS,
    RESULTS,
    SNAPSHOT,
    STUDY_YAML,
    study_exists,
)

_CHECKPOINT = re.compile(rf"{RAY}/[^/]+/[^/]+/checkpoint_[^/]+(?=/)")
"""Beginning of the name of an object in a checkpoint: the name of the checkpoint."""


class BucketStorage:
    """A study in a bucket; see `StudyStorage`.

    Attributes:
        bucket: folder of the study in the bucket.
        path: folder of the working copy, which holds the fetched part of the study.
    """

    has_working_copy = True

    def __init__(self, bucket: BucketFolder, path: Path | None = None) -> None:
        """Fetch study.yaml and the ledger, if they exist.

        Args:
            bucket: folder of the study.
            path: folder of the working copy; None for a temporary folder that is removed when the process ends.

        Raises:
            StorageError: the bucket can't be reached.
        """
        self.bucket = bucket
        if path is None:
            scratch = tempfile.mkdtemp(prefix="qar-")
            atexit.register(shutil.rmtree, scratch, ignore_errors=True)
            path = Path(scratch, bucket.path.rpartition("/")[2])
        self.path = path
        self._published: dict[str, tuple[int, int]] = {}  # size and time of change of each file that is there too
        self.fetch(STUDY_YAML)
        if (path / STUDY_YAML).exists():
            self.fetch_ledger()

    @classmethod
    def open(cls, uri: str) -> "BucketStorage":
        """Return the storage at a URI, where no study need exist yet; raises as `BucketFolder.open` does."""
        return cls(BucketFolder.open(uri))

    def __str__(self) -> str:
        """Return the URI, quoted for a shell."""
        return str(self.bucket)

    @property
    def parent(self) -> str:
        """URI of the folder that the study lies in."""
        return above(str(self))

    @property
    def confirmation(self) -> "BucketStorage":
        """The storage of the confirmation, with a working copy within the study's."""
        return BucketStorage(self.bucket / CONFIRM, self.path / CONFIRM)

    @property
    def confirmed(self) -> "BucketStorage | None":
        """The storage of the study that this one confirms."""
        return BucketStorage.open(above(self.bucket.uri)) if self.path.name == CONFIRM else None

    def names(self) -> set[str]:
        """Return the names at the top of the study's folder in the bucket, that of the lease left out."""
        return {name.partition("/")[0] for name in self.bucket.names()} - {NAME}

    def create(self, content: bytes) -> None:
        """Write study.yaml, unless it exists.

        Raises:
            ValueError: the bucket holds a study, or its store disregards the conditions of writes.
            StorageError: the store can't be reached.
        """
        try:
            version = self.bucket.create(STUDY_YAML, content)
        except ConditionError:
            raise study_exists(self) from None
        try:
            self.bucket.check_conditions(STUDY_YAML, version)
        except ValueError:
            self.bucket.remove(STUDY_YAML)
            raise
        self.fetch(STUDY_YAML)

    def discard(self, made: list[Path]) -> None:
        """Remove study.yaml; the folders `made` belong to the working copy, which is removed with the process."""
        (self.path / STUDY_YAML).unlink()
        self.bucket.remove(STUDY_YAML)

    def fetch(self, *names: str) -> None:
        """Fetch files into the working copy; missing files are skipped.

        Raises:
            ValueError: a name leads out of the working copy.
            StorageError: the store can't be reached.
        """
        for name in names:
            if (content := self.bucket.read(name)) is not None:
                file = inner_path(self.path, name)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
                self._published[name] = _stamp(file)

    def fetch_ledger(self) -> None:
        """Fetch the ledger into the working copy. Raises StorageError."""
        (self.path / LEDGER).write_bytes(read_ledger(self.bucket))

    def fetch_folder(self, name: str) -> None:
        """Fetch all files of a folder into the working copy. Raises StorageError."""
        self.fetch(*self.bucket.names(name))

    def fetch_results(self) -> None:
        """Fetch the tables of the study and of its confirmation into the working copy. Raises StorageError."""
        self.fetch(*RESULTS, *(f"{CONFIRM}/{name}" for name in (STUDY_YAML, *RESULTS)))

    def publish(self) -> None:
        """Write changed files of the working copy to the bucket, without the ledger and its snapshot.

        Raises:
            StorageError: the store cannot be reached.
        """
        for file in sorted(self.path.rglob("*")):
            name = file.relative_to(self.path).as_posix()
            ours = file.is_file() and name.partition("/")[0] not in (CONFIRM, LEDGER, SNAPSHOT)
            unfinished = file.name.startswith(".") or file.name.endswith(("-journal", "-wal", "-shm"))
            if ours and not unfinished and self._published.get(name) != (stamp := _stamp(file)):
                self.bucket.write(name, file.read_bytes())
                self._published[name] = stamp

    def is_driven(self) -> bool:
        """Whether a driver runs the study, on any machine. Raises StorageError."""
        return seems_alive(read_driver(self.bucket))

    def drive(self, say: Callable[[str], None]) -> "BucketLedger":
        """Claim the study for this process, and bring the working copy up to date; raises as `Lease` does."""
        lease = Lease(self.bucket, say)
        try:
            seal_ledger(self.bucket)
            self.fetch_ledger()
            self.fetch(STUDY_YAML, OPTUNA_DB, DERIVED_JSON, *RESULTS)
            return BucketLedger(lease, Segments(self.bucket, (self.path / LEDGER).read_bytes()))
        except BaseException:
            lease.release()
            raise

    def replace_ledger(self, damaged: bytes, sound: bytes, say: Callable[[str], None]) -> None:
        """Start a generation of segments with the sound beginning alone; raises as `Lease` does."""
        lease = Lease(self.bucket, say)
        try:
            Segments(self.bucket, sound, replaced=damaged)
            (self.path / LEDGER).write_bytes(sound)
        finally:
            lease.release()

    def prune_checkpoints(self, kept: Iterable[str]) -> None:
        """Remove Ray's state and checkpoints from the bucket. Raises StorageError."""
        names = set(kept)
        for name in self.bucket.names(RAY):
            if name.count("/") == 2:  # directly in the folder of a session
                self.bucket.remove(name)
        self.remove_checkpoints(name for name in self.checkpoints() if name not in names)

    def checkpoints(self) -> dict[str, int]:
        """Return the size of each checkpoint in bytes, by name relative to the study. Raises StorageError."""
        sizes: dict[str, int] = {}
        for name, size in self.bucket.sizes(RAY).items():
            if match := _CHECKPOINT.match(name):
                sizes[match[0]] = sizes.get(match[0], 0) + size
        return sizes

    def remove_checkpoints(self, names: Iterable[str]) -> None:
        """Remove checkpoints from the bucket. Raises StorageError."""
        for name in names:
            self.bucket.remove_folder(name)

    def requests(self) -> dict[str, bytes]:
        """Return the requests in the bucket. Raises StorageError."""
        contents = {name: self.bucket.read(name) for name in self.bucket.names(REQUESTS)}
        return {Path(name).stem: content for name, content in contents.items() if content is not None}

    def add_request(self, name: str, content: bytes) -> None:
        """Write a request as an object. Raises StorageError."""
        self.bucket.write(f"{REQUESTS}/{name}.json", content)

    def remove_request(self, name: str) -> None:
        """Remove a request. Raises StorageError."""
        self.bucket.remove(f"{REQUESTS}/{name}.json")

    def ray_options(self) -> dict[str, Any]:
        """Return the file system of the bucket and the folder of Ray's experiments there."""
        bucket = self.bucket / RAY
        return {"storage_path": bucket.path, "storage_filesystem": bucket.filesystem}

    def name_of(self, checkpoint: str) -> str:
        """Return the name of a checkpoint relative to the study."""
        return os.path.relpath(checkpoint, self.bucket.path)

    def may_hold(self, name: str) -> bool:
        """Return True: the trial that reads a checkpoint finds out whether it exists."""
        return True

    def address_of(self, name: str) -> str:
        """Return the URI."""
        return (self.bucket / name).full_uri

    def shown(self, path: Path) -> str:
        """Return the URI of a path in the working copy."""
        name = path.relative_to(self.path).as_posix()
        return self.bucket.uri if name == "." else below(self.bucket.uri, name)

    def as_shown(self, text: str) -> str:
        """Return a text with URIs in place of the paths of the working copy."""
        root = re.escape(str(self.path))
        text = re.sub(rf"{root}/([\w./-]*\w)", lambda match: self.shown(self.path / match[1]), text)
        return text.replace(str(self.path), str(self))


class BucketLedger:
    """The copy of a ledger in the bucket, which receives each fact before the program acts on it; see `LedgerCopy`."""

    def __init__(self, lease: Lease, segments: Segments) -> None:
        """Keep the facts in `segments` for as long as the driver holds `lease`."""
        self._lease = lease
        self._segments = segments

    def append(self, lines: bytes) -> None:
        """Write facts as one object; raises StorageError if that fails, or if another driver has taken over."""
        self._lease.check()
        self._segments.append(lines)

    def check(self) -> None:
        """Raise what `append` would raise."""
        self._lease.check()

    def close(self) -> None:
        """Release the lease, so that another driver can take over."""
        self._lease.release()


def _stamp(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns
