"""The chain of a ledger: every changed byte is found and named by its line, in files of this version and of earlier."""

import json
from pathlib import Path
from typing import Any

import pytest

from study.ledger.chain import Chain, ChainError
from study.ledger.facts import ASKED, ENDED, EPOCH, SESSION_ENDED, SESSION_STARTED
from study.ledger.ledger import Ledger
from study.ledger.reading import read, read_history
from tests.support.example_studies import asked, metrics, start_session, study_config
from tests.support.ledgers import without_checksums
from trainables.errors import DamagedFileError
from trainables.result import TrialState


def write_small_ledger(path: Path) -> bytes:
    """One trial of one epoch, which fails; a session that ends."""
    ledger = Ledger(path)
    start_session(ledger)
    ledger.record(ASKED, **asked(0, study_config().trial_config({"family": "none", "num_levels": 2})))
    ledger.record(EPOCH, number=0, metrics=metrics(1))
    ledger.record(ENDED, number=0, state=TrialState.FAIL, failure="it broke")
    ledger.record(SESSION_ENDED, session=1, outcome="finished")
    ledger.close()
    return path.read_bytes()


def write_shortest_ledger(path: Path) -> bytes:
    """A session without trials."""
    ledger = Ledger(path)
    ledger.record(SESSION_STARTED, session=1, pid=1, hostname="head", provenance={})
    ledger.record(SESSION_ENDED, session=1, outcome="finished")
    ledger.close()
    return path.read_bytes()


@pytest.mark.parametrize(("write", "bits"), [(write_shortest_ledger, range(8)), (write_small_ledger, [None])])
def test_every_flip_is_found_and_named_by_its_line(write: Any, bits: list[int | None], tmp_path: Path) -> None:
    """All bits of each byte of a short ledger; one bit of each byte of one with all kinds of values."""
    content = write(tmp_path / "ledger.jsonl")
    for place in range(len(content)):
        for bit in (place % 8 if bit is None else bit for bit in bits):
            damaged = bytearray(content)
            damaged[place] ^= 1 << bit
            reading = read(bytes(damaged))
            number = content[:place].count(b"\n") + 1
            assert reading.damage is not None, (place, bit)
            assert reading.damage.startswith(f"line {number}: "), (place, bit, reading.damage)
            assert content[: reading.intact].count(b"\n") == number - 1


def test_every_other_value_of_a_byte_of_the_checksum_and_around_it_is_found(tmp_path: Path) -> None:
    content = write_small_ledger(tmp_path / "ledger.jsonl")
    end = content.index(b"\n", content.index(b'"epoch"'))
    for place in range(end - 40, end + 3):
        for value in set(range(256)) - {content[place]}:
            damaged = content[:place] + bytes([value]) + content[place + 1 :]
            assert read(damaged).damage is not None, (place, value)


def test_every_flipped_bit_below_resumed_lines_of_an_earlier_version_is_found(tmp_path: Path) -> None:
    """At the latest by the first line that has a checksum."""
    path = tmp_path / "ledger.jsonl"
    earlier = without_checksums(write_small_ledger(path))
    path.write_bytes(earlier)
    ledger = Ledger(path)
    start_session(ledger)
    ledger.close()
    content = path.read_bytes()
    assert content.startswith(earlier)
    assert read_history(path) == ledger.history
    first_sealed = earlier.count(b"\n") + 1
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        reading = read(bytes(damaged))
        assert reading.damage is not None, place
        own_line = content[:place].count(b"\n") + 1
        named = int(reading.damage.removeprefix("line ").partition(":")[0])
        assert own_line <= named <= max(own_line, first_sealed), (place, reading.damage)


def test_ledger_of_an_earlier_version_gives_the_same_history(tmp_path: Path) -> None:
    content = write_small_ledger(tmp_path / "ledger.jsonl")
    earlier = read(without_checksums(content))
    assert (earlier.damage, earlier.history.position) == (None, None)
    earlier.history.position = read(content).history.position
    assert earlier.history == read(content).history


def test_line_without_checksum_after_one_with_it_is_damage(tmp_path: Path) -> None:
    lines = write_small_ledger(tmp_path / "ledger.jsonl").splitlines(keepends=True)
    lines[3:] = without_checksums(b"".join(lines[3:])).splitlines(keepends=True)
    assert read(b"".join(lines)).damage == "line 4: it has no checksum, unlike the lines before it"


def test_any_two_lines_that_change_places_and_any_that_is_missing_or_doubled_are_found(tmp_path: Path) -> None:
    lines = write_small_ledger(tmp_path / "ledger.jsonl").splitlines(keepends=True)
    for first in range(len(lines)):
        doubled = read(b"".join([*lines[: first + 1], *lines[first:]]))
        missing = read(b"".join([*lines[:first], *lines[first + 1 :]]))
        assert doubled.damage is not None
        assert (missing.damage is None) == (first == len(lines) - 1), "the end is known to the tables alone"
        for second in range(first + 1, len(lines)):
            swapped = list(lines)
            swapped[first], swapped[second] = swapped[second], swapped[first]
            assert read(b"".join(swapped)).damage is not None


def test_lines_of_two_ledgers_do_not_mix(tmp_path: Path) -> None:
    one = write_small_ledger(tmp_path / "one.jsonl").splitlines(keepends=True)
    other = write_small_ledger(tmp_path / "other.jsonl").splitlines(keepends=True)
    for place in range(1, len(one)):
        assert read(b"".join([*one[:place], *other[place:]])).damage is not None


@pytest.mark.parametrize("kept", range(1, 60, 7))
def test_torn_last_line_is_dropped_and_is_no_damage(kept: int, tmp_path: Path) -> None:
    content = write_small_ledger(tmp_path / "ledger.jsonl")
    *whole, last = content.splitlines(keepends=True)
    for torn in (last[:-kept], last[:kept]):
        reading = read(b"".join(whole) + torn)
        assert (reading.damage, reading.intact) == (None, len(b"".join(whole)))


def test_message_names_file_line_and_remedy(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(write_small_ledger(path).replace(b'"val_accuracy": 0.5', b'"val_accuracy": 0.9'))
    with pytest.raises(DamagedFileError) as damage:
        read_history(path)
    assert str(damage.value) == (
        f"{path} is damaged in line 3: its checksum does not match: it was changed, or lines before it are missing; "
        f"restore the file from a copy, or keep what is sound with: qar repair {tmp_path}"
    )


def test_sealed_line_is_json_and_verifies_once() -> None:
    line = b'{"fact": "ended"}\n'
    sealed = Chain().seal(line)
    assert json.loads(sealed) == {"fact": "ended", "chain": json.loads(sealed)["chain"]}
    reader = Chain()
    assert reader.verify(sealed[:-1]) == line[:-1]
    with pytest.raises(ChainError):
        reader.verify(sealed[:-1])
