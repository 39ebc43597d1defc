"""The ledger on an object store, which can't append to objects: numbered segments that are written once.

Each driver writes its own generation of segments, the first of which holds all earlier facts. Readers read only the
latest generation. A segment is only ever created, never replaced. So a new driver ends the generation before its own
with a seal, an empty segment in the place of the next one: an earlier driver that still runs can't write there any
more, and no fact that it takes for written is missing in the new generation.
"""

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple

from study.errors import StorageError
from study.storage.object_store import BucketFolder, ConditionError
from trainables.errors import DamagedFileError

FOLDER = "ledger"
"""Folder of the generations within the study."""
FOLD = 100
"""Number of segments that are also written as one folded segment, so that readers fetch fewer objects."""
READINGS = 5
"""Attempts to read a ledger that changes while it is read, or seems to lack a segment."""
READERS = 16
"""Number of segments that are fetched at the same time."""

_NAME = re.compile(rf"{FOLDER}/(?P<generation>\d+(?:-\w+)?)/(?P<first>\d+)(-(?P<last>\d+))?\.jsonl")


class _Generation(NamedTuple):
    """Objects of a generation that the bucket holds.

    Attributes:
        name: of its folder; empty if there is none.
        chosen: sizes of the segments to read in bytes, by name in order.
        next: number of the next segment.
        gap: whether there are later ones than the next.
    """

    name: str
    chosen: dict[str, int]
    next: int
    gap: bool


def read_ledger(bucket: BucketFolder) -> bytes:
    """Return all facts of a study, as lines of `ledger.jsonl`; empty if there are none yet.

    Raises:
        StorageError: the store can't be reached.
        DamagedFileError: a segment is missing.
    """
    for _ in range(READINGS):
        latest = _latest(bucket)
        sizes = {name: size for name, size in latest.chosen.items() if size}
        with ThreadPoolExecutor(READERS) as readers:
            segments = [segment or b"" for segment in readers.map(bucket.read, sizes)]
        if [len(segment) for segment in segments] == list(sizes.values()):
            return b"".join(segments)
        # A new driver has removed this generation; its own generation holds the same facts.
    raise StorageError(f"{bucket} changes while it is read (last {latest.name}); try again")


def seal_ledger(bucket: BucketFolder) -> int:
    """End the latest generation, so that no driver that still writes to it can add a fact.

    Returns:
        Its number, 0 if there is none.

    Raises:
        StorageError: the store can't be reached, or the ledger grows all the time.
        DamagedFileError: a segment is missing.
    """
    for _ in range(READINGS):
        latest = _latest(bucket)
        number = int(latest.name.partition("-")[0] or 0)
        *earlier, last = latest.chosen.values() or [0]
        if not latest.name or (earlier and last == 0):
            return number
        with suppress(ConditionError):  # the other driver has written this segment since
            bucket.create(f"{FOLDER}/{latest.name}/{latest.next:08}.jsonl", b"")
            return number
    raise StorageError(f"{bucket} grows while it is taken over (last {latest.name}); try again: qar resume {bucket}")


def _latest(bucket: BucketFolder) -> _Generation:
    for _ in range(READINGS):
        latest = _chosen(bucket.sizes(FOLDER))
        if not latest.gap:
            return latest
        # A listing made while a driver writes may lack an object that is older than the newest one it shows.
    raise DamagedFileError(
        f"{bucket} is damaged: segment {latest.next} of its ledger is missing in {FOLDER}/{latest.name}, and later "
        "ones are there; restore it from a copy or an earlier version of the object"
    )


def _chosen(sizes: dict[str, int]) -> _Generation:
    """Choose the segments to read: of those that start at the same number, the one with the most folded segments."""
    matches = [match for match in map(_NAME.fullmatch, sizes) if match]
    generation = max((match["generation"] for match in matches), default="")
    longest: dict[int, tuple[int, str]] = {}
    for match in matches:
        if match["generation"] == generation:
            first, last = int(match["first"]), int(match["last"] or match["first"])
            longest[first] = max(longest.get(first, (-1, "")), (last, match[0]))
    chosen, number = {}, 0
    while number in longest:
        last, name = longest[number]
        chosen[name] = sizes[name]
        number = last + 1
    return _Generation(generation, chosen, number, gap=any(first >= number for first in longest))


class Segments:
    """A generation of segments, open for writing."""

    def __init__(self, bucket: BucketFolder, ledger: bytes, *, replaced: bytes | None = None) -> None:
        """Seal the earlier generation, start one with all facts so far, and clear the earlier ones.

        Of these, the first segment and the seal stay, both empty: a driver that was stopped while it started or
        continued a generation can't do so once it runs again.

        Args:
            bucket: folder of the study.
            ledger: content of the generation.
            replaced: result of `read_ledger`, which may be removed; `ledger` if None. Facts that it lacks never are.

        Raises:
            StorageError: the store can't be reached, the bucket holds facts that `ledger` lacks, or another driver has
                started a generation.
            DamagedFileError: a segment is missing.
        """
        number = seal_ledger(bucket) + 1  # if another driver takes it after this moment, we can't
        if not (ledger if replaced is None else replaced).startswith(read_ledger(bucket)):
            raise StorageError(f"{bucket} has changed since it was read; try again: qar resume {bucket}")
        self._name = f"{FOLDER}/{number:06}"
        self._bucket = bucket
        self._next = 0
        self._unfolded: list[bytes] = []
        self._write(ledger)
        _clear(bucket, number)

    def append(self, lines: bytes) -> None:
        """Write the lines of facts as one segment. Raises StorageError."""
        self._write(lines)

    def _write(self, content: bytes) -> None:
        self._create(f"{self._next:08}", content)
        self._next += 1
        if self._next == 1:
            return  # the first segment is never folded
        self._unfolded.append(content)
        if len(self._unfolded) == FOLD:
            self._create(f"{self._next - FOLD:08}-{self._next - 1:08}", b"".join(self._unfolded))
            self._unfolded = []

    def _create(self, name: str, content: bytes) -> None:
        try:
            self._bucket.create(f"{self._name}/{name}.jsonl", content)
        except ConditionError:
            raise StorageError(
                f"{self._bucket} is driven by another process now, so this driver has stopped; watch it with: "
                f"qar status {self._bucket}"
            ) from None


def _clear(bucket: BucketFolder, before: int) -> None:
    """Remove the segments of generations before a number, but for the first and the seal of each."""
    sizes = {name: size for name, size in bucket.sizes(FOLDER).items() if size}
    matches = [match for match in map(_NAME.fullmatch, sizes) if match]
    earlier = [match for match in matches if int(match["generation"].partition("-")[0]) < before]
    bucket.remove(*(match[0] for match in earlier if int(match["first"])))
    for match in earlier:
        if not int(match["first"]):
            bucket.write(match[0], b"")
