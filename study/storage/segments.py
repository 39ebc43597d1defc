"""The ledger on an object store, which can't append: numbered segments, each a batch of facts and written once.

Each driver writes a generation of its own, whose first segment is the whole ledger so far. Readers take the latest
generation alone. So a driver that is cut off, and comes back after another has taken over, adds to what nobody reads.
"""

import re
import uuid
from concurrent.futures import ThreadPoolExecutor

from study.errors import StorageError
from study.storage.object_store import BucketFolder
from trainables.errors import DamagedFileError

FOLDER = "ledger"
FOLD = 100
"""So many segments are written once more as one, so that a reader opens a hundredth of what a long study writes."""
READINGS = 5
"""Attempts to read a ledger that changes meanwhile, or seems to lack a segment."""
READERS = 16
"""Segments that are fetched at a time."""

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
            # A list that is made while a driver writes may lack an object that is older than the last it shows.
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
        # A driver has begun, and swept the generation away: its own holds the same facts.
    raise damage or StorageError(f"{bucket} changes while it is read (last {generation}); try again")


def _chosen(names: list[str]) -> tuple[str, list[str], int | None]:
    """Choose what to read: the longest of the segments that begin at the same number, in order.

    Returns:
        The latest generation, the segments, and the number of the first one that is missing before others.
    """
    found = [match for match in map(_NAME.fullmatch, names) if match]
    latest = max((match["generation"] for match in found), default="")
    longest: dict[int, tuple[int, str]] = {}
    for match in found:
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

    def __init__(self, bucket: BucketFolder, ledger: bytes) -> None:
        """Begin a generation with the ledger so far, and remove the earlier ones.

        Args:
            bucket: folder of the study.
            ledger: as `read_ledger` has read it: nothing is removed that is not in it.

        Raises:
            StorageError: the store can't be reached, or the bucket holds facts that `ledger` lacks.
            DamagedFileError: a segment is missing.
        """
        if not ledger.startswith(read_ledger(bucket)):
            raise StorageError(f"{bucket} has changed since it was read; try again: qar resume {bucket}")
        generations = {match["generation"] for match in map(_NAME.fullmatch, bucket.names(FOLDER)) if match}
        number = max((int(name.partition("-")[0]) for name in generations), default=0) + 1
        # Two drivers that begin in one moment, though the lease is there to prevent it, must not mix their facts.
        self._name = f"{FOLDER}/{number:06}-{uuid.uuid4().hex[:8]}"
        self._bucket = bucket
        self._next = 0
        self._unfolded: list[bytes] = []
        self._waiting = b""
        self._write(ledger)
        for generation in generations:
            bucket.remove_folder(f"{FOLDER}/{generation}")

    def append(self, line: bytes, durable: bool) -> None:
        """Writes a fact, with those before it that could wait until now; a fact that isn't `durable` can wait.

        Raises:
            StorageError: the store can't be reached.
        """
        self._waiting += line
        if durable:
            self._write(self._waiting)
            self._waiting = b""

    def _write(self, content: bytes) -> None:
        self._bucket.write(f"{self._name}/{self._next:08}.jsonl", content)
        self._next += 1
        if self._next == 1:
            return  # the ledger so far is folded as it is
        self._unfolded.append(content)
        if len(self._unfolded) == FOLD:
            first, last = self._next - FOLD, self._next - 1
            self._bucket.write(f"{self._name}/{first:08}-{last:08}.jsonl", b"".join(self._unfolded))
            self._unfolded = []
