"""Damage: small random changes of a file's bytes, as disks, crashes, transfers and editors make them."""

import random
from collections.abc import Callable

Damage = Callable[[bytes, random.Random], bytes]


def truncate(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def flip_a_bit(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]


def overwrite(content: bytes, rng: random.Random) -> bytes:
    begin, end = _span(content, rng)
    return content[:begin] + rng.randbytes(end - begin) + content[end:]


def zero(content: bytes, rng: random.Random) -> bytes:
    begin, end = _span(content, rng)
    return content[:begin] + bytes(end - begin) + content[end:]


def insert(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content) + 1)
    return content[:place] + rng.randbytes(rng.randint(1, 16)) + content[place:]


def remove(content: bytes, rng: random.Random) -> bytes:
    begin, end = _span(content, rng)
    return content[:begin] + content[end:]


def repeat(content: bytes, rng: random.Random) -> bytes:
    begin, end = _span(content, rng)
    return content[:end] + content[begin:]


def replace_by_noise(content: bytes, rng: random.Random) -> bytes:
    return rng.randbytes(rng.randint(0, 200))


def drop_a_line(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    del lines[rng.randrange(len(lines))]
    return b"".join(lines)


def double_a_line(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    place = rng.randrange(len(lines))
    return b"".join([*lines[: place + 1], *lines[place:]])


def move_a_line(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    line = lines.pop(rng.randrange(len(lines)))
    lines.insert(rng.randrange(len(lines) + 1), line)
    return b"".join(lines)


def cut_a_line(content: bytes, rng: random.Random) -> bytes:
    """Remove the end of a line, its newline included or not."""
    lines = content.splitlines(keepends=True)
    place = rng.randrange(len(lines))
    kept = lines[place][: rng.randrange(len(lines[place]))]
    lines[place] = kept + b"\n" * rng.randint(0, 1)
    return b"".join(lines)


def _span(content: bytes, rng: random.Random) -> tuple[int, int]:
    begin = rng.randrange(len(content))
    return begin, min(len(content), begin + rng.choice((1, 4, 64, 512, 4096)))


BYTES: dict[str, Damage] = {
    function.__name__: function
    for function in (truncate, flip_a_bit, overwrite, zero, insert, remove, repeat, replace_by_noise)
}
"""Damage to any file."""
LINES: dict[str, Damage] = {
    function.__name__: function for function in (drop_a_line, double_a_line, move_a_line, cut_a_line)
}
"""Damage to a file of lines."""
