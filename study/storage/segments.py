"""The ledger on an object store, which can't append to objects: numbered segments that are written once.

Each driver writes its own generation of segments, the first of which holds all earlier facts. Readers read only the
latest generation. So facts of a driver that lost its connection and was replaced are never read.
"""

import re
import uuid
from concurrent.futures import ThreadPoolExecutor

from study.errors import StorageError
from study.storage.object_store import BucketFolder
from trainables.errors import DamagedFileError

FOLDER = "ledger"
"""Folder of the generations within the study."""
FOLD = 100
"""Number of segments that are also written as one folded segment, so that readers fetch fewer objects."""
READINGS = 5
"""Attempts to read a ledger that changes while it is read, or seems to lack a segment."""
READERS = 16
"""Number of segments that are fetched at the same time."""

_NAME = re.compile(rf"{FOLDER}/(?P<generation>\d+-\w+)/(?P<first>\d+)(-(?P<last>\d+))?\.jsonl")


def read_ledger(bucket: BucketFolder) -> bytes:
    """Return all facts of a study, as lines of `ledger.jsonl`; empty if there are none yet.

    Raises:
        StorageError: the store can't be reached.
        DamagedFileError: a segment is missing.
    """
    damage = None
    for _ in range(READINGS):
        generation, names, missing = _chosen(bucket.names(FOLDER))
        if missing is not None:
            # A listing made while a driver writes may lack an object that is older than the newest one it shows.
            damage = DamagedFileError(
                f"{bucket} is damaged: segment {missing} of its ledger is missing in {FOLDER}/{generation}, and later "
                "ones are there; restore it from a copy or an earlier version of the object"
            )
            continue
        damage = None
        with ThreadPoolExecutor(READERS) as readers:
            segments = list(readers.map(bucket.read, names))
        if None not in segments:
            return b"".join(segment for segment in segments if segment is not None)
        # A new driver has removed this generation; its own generation holds the same facts.
    raise damage or StorageError(f"{bucket} changes while it is read (last {generation}); try again")


def _chosen(names: list[str]) -> tuple[str, list[str], int | None]:
    """Choose the segments to read: of those that start at the same number, the one with the most folded segments.

    Returns:
        The latest generation, its chosen segments in order, and the number of the first missing segment; None if none
        is missing.
    """
    matches = [match for match in map(_NAME.fullmatch, names) if match]
    latest = max((match["generation"] for match in matches), default="")
    longest: dict[int, tuple[int, str]] = {}
    for match in matches:
        if match["generation"] == latest:
            first, last = int(match["first"]), int(match["last"] or match["first"])
            longest[first] = max(longest.get(first, (-1, "")), (last, match[0]))
    chosen, number = [], 0
    while number in longest:
        last, name = longest[number]
        chosen.append(name)
        number = last + 1
    return latest, chosen, number if any(first >= number for first in longest) else None


class Segments:
    """A generation of segments, open for writing."""

    def __init__(self, bucket: BucketFolder, ledger: bytes, *, replaced: bytes | None = None) -> None:
        """Start a generation with all facts so far, and remove earlier generations.

        Args:
            bucket: folder of the study.
            ledger: content of the generation.
            replaced: result of `read_ledger`, which may be removed; `ledger` if None. Facts that it lacks never are.

        Raises:
            StorageError: the store can't be reached, or the bucket holds facts that `ledger` lacks.
            DamagedFileError: a segment is missing.
        """
        if not (ledger if replaced is None else replaced).startswith(read_ledger(bucket)):
            raise StorageError(f"{bucket} has changed since it was read; try again: qar resume {bucket}")
        generations = {match["generation"] for match in map(_NAME.fullmatch, bucket.names(FOLDER)) if match}
        number = max((int(name.partition("-")[0]) for name in generations), default=0) + 1
        # Two drivers must not mix their facts, even if both start at the same moment in spite of the lease.
        self._name = f"{FOLDER}/{number:06}-{uuid.uuid4().hex[:8]}"
        self._bucket = bucket
        self._next = 0
        self._unfolded: list[bytes] = []
        self._write(ledger)
        for generation in generations:
            bucket.remove_folder(f"{FOLDER}/{generation}")

    def append(self, lines: bytes) -> None:
        """Write the lines of facts as one segment. Raises StorageError."""
        self._write(lines)

    def _write(self, content: bytes) -> None:
        self._bucket.write(f"{self._name}/{self._next:08}.jsonl", content)
        self._next += 1
        if self._next == 1:
            return  # the first segment is never folded
        self._unfolded.append(content)
        if len(self._unfolded) == FOLD:
            first, last = self._next - FOLD, self._next - 1
            self._bucket.write(f"{self._name}/{first:08}-{last:08}.jsonl", b"".join(self._unfolded))
            self._unfolded = []
