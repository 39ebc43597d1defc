"""A short table of the costs of levels, for layers in which a byte a level is more than 1% of all levels.

Costs are rounded to multiples of 1, 2, 4 or 8 sixteenths of a bit: coarser costs make the table shorter and the stream
longer. Levels that are neighbours mostly have similar costs. So the table holds the difference of each cost from the
one before, in steps; a level that does not occur counts as one step above the highest cost. Before them are 2 bits for
the step, 3 for the order of the words, and 1 for runs: where it is set, a word of order 0 after each difference of 0
says how many more zeros follow.

Words are exponential Golomb codes: with n + 2^order in b bits, n is written as b − 1 − order zeros and these b bits.
Signs are folded into the numbers: 0, −1, 1, −2, 2, … are 0, 1, 2, 3, 4, …

Source: Teuhola, "A compression method for clustered bit-vectors", Information Processing Letters 7(6), 1978.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby, product

from trainables.codebooks.asymmetric import ABSENT

STEPS = (1, 2, 4, 8)
"""Steps that costs may have, in sixteenths of a bit."""

_ORDERS = range(8)
_STEP_BITS, _ORDER_BITS, _RUNS_BITS = 2, 3, 1


def encode_table(costs: Sequence[int], step: int) -> bytes:
    """Return the table of K costs, with the order of words, with or without runs, that makes it the shortest.

    Args:
        costs: K costs in sixteenths of a bit, as `asymmetric.code_costs` returns them for this step.
        step: one of `STEPS`.
    """
    numbers = {runs: list(_numbers(costs, step, runs=runs)) for runs in (False, True)}
    sizes = {
        (order, runs): sum(_word_bits(number, 0 if is_run else order) for number, is_run in numbers[runs])
        for order, runs in product(_ORDERS, numbers)
    }
    order, runs = min(sizes, key=lambda choice: sizes[choice])
    words = "".join(_word(number, 0 if is_run else order) for number, is_run in numbers[runs])
    bits = f"{STEPS.index(step):0{_STEP_BITS}b}{order:0{_ORDER_BITS}b}{runs:0{_RUNS_BITS}b}{words}"
    num_bytes = -(-len(bits) // 8)
    return int(bits.ljust(8 * num_bytes, "0"), 2).to_bytes(num_bytes, "big")


def held_costs(costs: Sequence[int], step: int) -> list[int]:
    """Return costs rounded to multiples of `step`; a cost within 7/8 of a step of the previous result repeats it.

    If each cost were rounded by itself, costs near the middle between two multiples would alternate between these. That
    lengthens the table by more than it shortens the stream. A level that does not occur ends the repetition.

    Args:
        costs: K costs in sixteenths of a bit, as `asymmetric.code_costs` returns them for a step of 1.
        step: one of `STEPS`.
    """
    held: list[int] = []
    latest = None
    for cost in costs:
        if cost == ABSENT:
            held.append(ABSENT)
            latest = None
        elif latest is not None and 8 * abs(cost - latest) <= 7 * step:
            held.append(latest)
        else:
            latest = min((2 * cost + step) // (2 * step), (ABSENT - 1) // step) * step
            held.append(latest)
    return held


def decode_table(table: bytes, num_levels: int) -> list[int]:
    """Return the costs in a table: the inverse of `encode_table`.

    Args:
        table: a result of `encode_table`.
        num_levels: K.

    Returns:
        K costs in [0, 254], in sixteenths of a bit, or `ABSENT`.

    Raises:
        ValueError: the table does not hold K costs.
    """
    bits = _Bits(table)
    step, order, runs = STEPS[bits.read(_STEP_BITS)], bits.read(_ORDER_BITS), bits.read(_RUNS_BITS)
    absent = _absent(step)
    costs: list[int] = []
    previous = 0
    while len(costs) < num_levels:
        difference = bits.read_word(order)
        run = 1 + bits.read_word(0) if runs and difference == 0 else 1
        previous += -(difference + 1) // 2 if difference % 2 else difference // 2
        if not 0 <= previous <= absent or len(costs) + run > num_levels:
            raise bits.refusal(num_levels)
        costs += [ABSENT if previous == absent else previous * step] * run
    if not bits.is_at_end():
        raise bits.refusal(num_levels)
    return costs


def _absent(step: int) -> int:
    """Return the number of steps that stands for a level that does not occur."""
    return (ABSENT - 1) // step + 1


def _numbers(costs: Sequence[int], step: int, *, runs: bool) -> Iterator[tuple[int, bool]]:
    """Yield the numbers of a table, and whether each is the length of a run of zeros."""
    steps = [_absent(step) if cost == ABSENT else cost // step for cost in costs]
    differences = [after - before for before, after in zip([0, *steps], steps, strict=False)]
    for difference, group in groupby(differences):
        repeats = sum(1 for _ in group)
        if runs and difference == 0:
            yield 0, False
            yield repeats - 1, True
        else:
            folded = 2 * difference if difference >= 0 else -2 * difference - 1
            yield from ((folded, False) for _ in range(repeats))


def _word_bits(number: int, order: int) -> int:
    return 2 * (number + (1 << order)).bit_length() - 1 - order


def _word(number: int, order: int) -> str:
    return f"{number + (1 << order):b}".zfill(_word_bits(number, order))


class _Bits:
    """Bits of a table, read from its start."""

    def __init__(self, table: bytes) -> None:
        self._bits = "".join(f"{byte:08b}" for byte in table)
        self._place = 0

    def read(self, num_bits: int) -> int:
        """Return the next bits as a number. Raises ValueError where the table ends before."""
        bits = self._bits[self._place : self._place + num_bits]
        if len(bits) < num_bits:
            raise self.refusal(None)
        self._place += num_bits
        return int(bits, 2)

    def read_word(self, order: int) -> int:
        """Return the number in the next word. Raises ValueError where the table ends before."""
        one = self._bits.find("1", self._place)
        if one < 0:
            raise self.refusal(None)
        zeros, self._place = one - self._place, one
        return self.read(zeros + 1 + order) - (1 << order)

    def is_at_end(self) -> bool:
        """Whether nothing but the zeros that fill the last byte is left."""
        left = self._bits[self._place :]
        return len(left) < 8 and "1" not in left

    def refusal(self, num_levels: int | None) -> ValueError:
        """Return the error of a table that does not hold the costs of its levels."""
        expected = "the costs of its levels" if num_levels is None else f"{num_levels} costs"
        return ValueError(f"a table of {len(self._bits) // 8} bytes does not hold {expected}; export the file again")
