"""A study on an object store, and the working copy of it that a command has, in a temporary folder.

The bucket holds all that counts. Facts are there before they are acted on; tables, database and report follow. What
Ray writes (checkpoints) goes there by itself.
"""

import atexit
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from study.containment import inner_path
from study.storage.lease import Lease, read_driver, seems_alive
from study.storage.object_store import BucketFolder, below
from study.storage.segments import Segments, read_ledger

RAY, CONFIRM = "ray", "confirm"
"""Folders that are not part of a working copy: Ray writes the one; the other is a study with a copy of its own."""
RESULTS = ("study.json", "trials.parquet", "epochs.parquet")


class RemoteStudy:
    """A study in a bucket.

    Attributes:
        bucket: its folder there.
        path: of the working copy: as little of it as was asked for.
    """

    def __init__(self, bucket: BucketFolder, path: Path | None = None) -> None:
        """Fetches study.yaml and the ledger, if there are any.

        Args:
            bucket: folder of the study.
            path: of the working copy; in a temporary folder that goes with this process if None.

        Raises:
            StorageError: the store can't be reached.
        """
        self.bucket = bucket
        if path is None:
            scratch = tempfile.mkdtemp(prefix="qar-")
            atexit.register(shutil.rmtree, scratch, ignore_errors=True)
            path = Path(scratch, bucket.path.rpartition("/")[2])
        self.path = path
        self._published: dict[str, tuple[int, int]] = {}  # size and time of change of each file that is there too
        self.fetch("study.yaml")
        if (path / "study.yaml").exists():
            self.fetch_ledger()

    @classmethod
    def open(cls, uri: str) -> "RemoteStudy":
        """The study at a URI, which need not exist yet; raises as `BucketFolder.open` does."""
        return cls(BucketFolder.open(uri))

    def __str__(self) -> str:
        """The URI as a shell takes it."""
        return str(self.bucket)

    def fetch(self, *names: str) -> None:
        """Bring files into the working copy, as far as they exist.

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

    def fetch_ledger(self) -> bytes:
        """Brings the ledger into the working copy, as it is now, and returns it. Raises StorageError."""
        ledger = read_ledger(self.bucket)
        (self.path / "ledger.jsonl").write_bytes(ledger)
        return ledger

    def fetch_folder(self, name: str) -> None:
        """Brings all files of a folder into the working copy. Raises StorageError."""
        self.fetch(*self.bucket.names(name))

    def fetch_results(self) -> None:
        """Brings what a report is made of: the tables, and those of the confirmation. Raises StorageError."""
        self.fetch(*RESULTS, *(f"{CONFIRM}/{name}" for name in ("study.yaml", *RESULTS)))

    def publish(self) -> None:
        """Writes what has changed in the working copy to the bucket, but for the ledger. Raises StorageError."""
        for file in sorted(self.path.rglob("*")):
            name = file.relative_to(self.path).as_posix()
            ours = file.is_file() and name.partition("/")[0] not in (CONFIRM, "ledger.jsonl")
            unfinished = file.name.startswith(".") or file.name.endswith(("-journal", "-wal", "-shm"))
            if ours and not unfinished and self._published.get(name) != (stamp := _stamp(file)):
                self.bucket.write(name, file.read_bytes())
                self._published[name] = stamp

    def is_driven(self) -> bool:
        """Whether a driver runs it, here or elsewhere. Raises StorageError."""
        return seems_alive(read_driver(self.bucket))

    def drive(self, say: Callable[[str], None]) -> "RemoteLedger":
        """Claims the study for this process, and brings the working copy up to date; raises as `Lease` does."""
        lease = Lease(self.bucket, say)
        try:
            ledger = self.fetch_ledger()
            self.fetch("optuna.db", *RESULTS)
            return RemoteLedger(lease, Segments(self.bucket, ledger))
        except BaseException:
            lease.release()
            raise

    def sweep(self, kept: Iterable[str]) -> None:
        """Removes what earlier sessions of Ray have left, but for these checkpoints. Raises StorageError."""
        goes_on = set(kept)
        removed: set[str] = set()
        for name in self.bucket.names(RAY):
            parts = name.split("/")
            checkpoint = "/".join(parts[:4])
            if len(parts) == 3:
                self.bucket.remove(name)
            elif checkpoint not in goes_on | removed and parts[3].startswith("checkpoint_"):
                removed.add(checkpoint)
                self.bucket.remove_folder(checkpoint)

    def named(self, path: Path) -> str:
        """The URI of what has a path in the working copy."""
        name = path.relative_to(self.path).as_posix()
        return self.bucket.uri if name == "." else below(self.bucket.uri, name)

    def as_told(self, text: str) -> str:
        """A text in which paths of the working copy have become URIs."""
        root = re.escape(str(self.path))
        text = re.sub(rf"{root}/([\w./-]*\w)", lambda match: self.named(self.path / match[1]), text)
        return text.replace(str(self.path), str(self))


class RemoteLedger:
    """What a `Ledger` tells its facts to, so that they are in the bucket before they are acted on."""

    def __init__(self, lease: Lease, segments: Segments) -> None:
        self._lease = lease
        self._segments = segments

    def append(self, line: bytes, durable: bool) -> None:
        """Writes a fact; raises StorageError if it can't be written, or another driver has taken over."""
        self._lease.check()
        self._segments.append(line, durable)

    def check(self) -> None:
        """Raises what `append` would."""
        self._lease.check()

    def close(self) -> None:
        """Lets another driver take over."""
        self._lease.release()


def _stamp(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns
