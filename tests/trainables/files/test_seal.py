"""The checksum within a zip archive: any archive in any pieces, and no byte that could change unnoticed."""

import hashlib
import io
import itertools
from pathlib import Path
from zipfile import ZipFile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.files.seal import SealingWriter, sealed_sum


def archive(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with ZipFile(buffer, "w") as file:
        file.writestr("content", content)
    return buffer.getvalue()


def sealed(pieces: list[bytes]) -> tuple[bytes, str]:
    sink = io.BytesIO()
    writer = SealingWriter(sink)
    for piece in pieces:
        assert writer.write(piece) == len(piece)
    digest = writer.seal()
    return sink.getvalue(), digest


@given(st.binary(max_size=200), st.lists(st.integers(0, 350), max_size=8))
def test_archive_in_any_pieces_keeps_its_content_and_states_its_checksum(content: bytes, cuts: list[int]) -> None:
    whole = archive(content)
    places = [0, *sorted(cuts), len(whole)]
    file, digest = sealed([whole[start:end] for start, end in itertools.pairwise(places)])
    assert digest == hashlib.sha256(file).hexdigest()
    with ZipFile(io.BytesIO(file)) as opened:
        assert opened.read("content") == content
        assert opened.comment == b"sha256 " + hashlib.sha256(whole[:-2]).hexdigest().encode()


def test_every_changed_missing_or_further_byte_is_found(tmp_path: Path) -> None:
    path = tmp_path / "file.zip"
    file, digest = sealed([archive(b"abc")])
    path.write_bytes(file)
    assert sealed_sum(path) == digest
    damaged = [file[:place] + bytes([byte ^ 1]) + file[place + 1 :] for place, byte in enumerate(file)]
    damaged += [file[:end] for end in range(len(file))] + [file + b"\0", b"\0" + file]
    for content in damaged:
        path.write_bytes(content)
        assert sealed_sum(path) is None


def test_archive_with_a_comment_is_refused() -> None:
    writer = SealingWriter(io.BytesIO())
    writer.write(b"PK no archive")
    with pytest.raises(ValueError, match="comment"):
        writer.seal()
