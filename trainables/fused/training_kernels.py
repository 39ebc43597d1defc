"""The training of a layer's representatives, by the last of its programs, in the kernels of Triton."""

import triton
import triton.language as tl

from trainables.fused.layout import LEARNING_RATE, REPRESENTATIVE_SHARE
from trainables.fused.places import chunks_of_layer, constants_of_layer, is_last_of_layer, size_of_layer
from trainables.fused.slopes import adam_step

_LEARNING_RATE, _REPRESENTATIVE_SHARE = tl.constexpr(LEARNING_RATE), tl.constexpr(REPRESENTATIVE_SHARE)


@triton.jit
def sums_of_levels(partial, begin, end, k, inside, WIDTH, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Return the sums over chunks `begin` to `end` of the levels k, (BLOCK,), float64."""
    total = tl.zeros([BLOCK], tl.float64)
    for row in range(begin, end, ROWS):
        rows = row + tl.arange(0, ROWS)
        mask = (rows < end)[:, None] & inside[None, :]
        total += tl.sum(tl.load(partial + rows[:, None] * WIDTH + k[None, :], mask=mask, other=0.0), 0)
    return total


@triton.jit
def train_levels(state, moved, gradient, inside, grad, rate, step, COLUMNS):
    """Take Adam's step number `step` with representatives.

    Args:
        state: where the representatives are, (BLOCK,); their moments follow in rows of length `COLUMNS`.
        moved: where the results are written, likewise.
        gradient: where their gradient is written, (BLOCK,).
        inside: (BLOCK,), which of them are real.
        grad: (BLOCK,), float32: the gradient.
        rate: the learning rate, float64.
        step: float64.
        COLUMNS: row length of `state` and `moved`.
    """
    value = tl.load(state, mask=inside, other=0.0)
    mean = tl.load(state + COLUMNS, mask=inside, other=0.0)
    square = tl.load(state + 2 * COLUMNS, mask=inside, other=0.0)
    value, mean, square = adam_step(value, mean, square, grad, rate, step)
    tl.store(gradient, grad, mask=inside)
    tl.store(moved, value, mask=inside)
    tl.store(moved + COLUMNS, mean, mask=inside)
    tl.store(moved + 2 * COLUMNS, square, mask=inside)


@triton.jit
def place_levels(moved, state, count, COLUMNS, SORT: tl.constexpr, BLOCK: tl.constexpr):
    """Write the representatives of a layer, and their moments, back to the state; with SORT, in increasing order.

    Args:
        moved: where the first of them is after its step.
        state: where the first of them belongs.
        count: number of them.
        COLUMNS: row length of `state` and `moved`.
        SORT: whether they are put in order.
        BLOCK: levels handled at once.
    """
    for start in range(0, count, BLOCK):
        k = start + tl.arange(0, BLOCK)
        inside = k < count
        value = tl.load(moved + k, mask=inside, other=0.0)
        to = k
        if SORT:
            to = tl.zeros([BLOCK], tl.int32)
            for j in range(count):
                other = tl.load(moved + j)
                to += ((other < value) | ((other == value) & (j < k))).to(tl.int32)
        tl.store(state + to, value, mask=inside)
        tl.store(state + COLUMNS + to, tl.load(moved + COLUMNS + k, mask=inside, other=0.0), mask=inside)
        tl.store(state + 2 * COLUMNS + to, tl.load(moved + 2 * COLUMNS + k, mask=inside, other=0.0), mask=inside)


@triton.jit
def gradient_of_step(
    partial, begin, end, multiples, count, WIDTH, BY_STEP: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr
):
    """Return the gradient of the step s > 0 of a layer's grid, float64; see `train_if_last`.

    Args:
        partial: as for `train_if_last`.
        begin: the first chunk of the layer.
        end: the first one of the next layer.
        multiples: where those of s are that the representatives are, (K,), float32.
        count: K.
        WIDTH: as for `train_if_last`.
        BY_STEP: whether the first column of `partial` holds the gradient of s; otherwise there is one for each level.
        ROWS: as for `train_if_last`.
        BLOCK: as for `train_if_last`.
    """
    if BY_STEP:
        k = tl.arange(0, BLOCK)
        by_step = sums_of_levels(partial, begin, end, k, k < 1, WIDTH, ROWS, BLOCK)
    else:
        by_step = tl.zeros([BLOCK], tl.float64)
        for start in range(0, count, BLOCK):
            k = start + tl.arange(0, BLOCK)
            inside = k < count
            multiple = tl.load(multiples + k, mask=inside, other=0.0).to(tl.float64)
            by_step += multiple * sums_of_levels(partial, begin, end, k, inside, WIDTH, ROWS, BLOCK)
    return tl.sum(by_step, 0)


@triton.jit
def train_grid(state, gradient, grad, rate, step, COLUMNS):
    """Take Adam's step number `step` with the step s of a layer's grid, and return it.

    Args:
        state: where s is; its moments follow in rows of length `COLUMNS`.
        gradient: where the gradient of s is written.
        grad: the gradient of |s|, float64: representatives do not depend on the sign of s.
        rate: the learning rate, float64.
        step: float64.
        COLUMNS: row length of `state`.
    """
    value = tl.load(state)
    mean = tl.load(state + COLUMNS)
    square = tl.load(state + 2 * COLUMNS)
    grad = grad.to(tl.float32) * tl.where(value > 0, 1.0, tl.where(value < 0, -1.0, 0.0))
    value, mean, square = adam_step(value, mean, square, grad, rate, step)
    # All threads of the program have read the old numbers.
    tl.debug_barrier()
    tl.store(gradient, grad)
    tl.store(state, value)
    tl.store(state + COLUMNS, mean)
    tl.store(state + 2 * COLUMNS, square)
    return value


@triton.jit
def place_grid(value, multiples, values, count, BLOCK: tl.constexpr):
    """Write the representatives of a layer's grid.

    Args:
        value: its step, a scalar.
        multiples: where those of the step are that the representatives are, (K,), float32.
        values: where the representatives are written, (K,), float32.
        count: K.
        BLOCK: levels handled at once.
    """
    for start in range(0, count, BLOCK):
        k = start + tl.arange(0, BLOCK)
        inside = k < count
        tl.store(values + k, tl.abs(value) * tl.load(multiples + k, mask=inside, other=0.0), mask=inside)


@triton.jit
def train_if_last(
    training,
    partial,
    tables,
    controls,
    layer,
    COLUMNS,
    WIDTH,
    TRAIN: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Train the representatives of a layer, if this program is the last of the layer to have stored its sums.

    Args:
        training: a result of `FusedRepresentatives.training`.
        partial: (chunks, WIDTH), float64: gradients of the representatives from each chunk, or of a grid's step.
        tables: those of `Layout`.
        controls: (CONTROLS,), float32.
        layer: of the program.
        COLUMNS: row length of the state.
        WIDTH: row length of `partial`.
        TRAIN: "nothing"; "levels" or "sorted levels" for representatives that are trained one by one, and then put in
            order; "grid" for the step of a grid, along the gradients of its representatives; "step" likewise, along its
            own gradient in the first column.
        ROWS: chunks added at once.
        BLOCK: levels handled at once.
    """
    if TRAIN != "nothing":
        arrived, steps, state, moved, gradient, counts, multiples, values = training
        if is_last_of_layer(arrived, tables, layer):
            _, first, count = size_of_layer(tables, layer)
            begin, end = chunks_of_layer(tables, layer)
            step = tl.load(steps + layer).to(tl.float64) + 1
            own = constants_of_layer(tables, layer)
            rate = tl.load(own + _LEARNING_RATE) * tl.load(controls + _REPRESENTATIVE_SHARE)
            if TRAIN == "grid" or TRAIN == "step":
                grad = gradient_of_step(
                    partial, begin, end, multiples + first, count, WIDTH, TRAIN == "step", ROWS, BLOCK
                )
                value = train_grid(state + layer, gradient + layer, grad, rate, step, COLUMNS)
                place_grid(value, multiples + first, values + first, count, BLOCK)
            else:
                for start in range(0, count, BLOCK):
                    k = start + tl.arange(0, BLOCK)
                    inside = k < count
                    grad = sums_of_levels(partial, begin, end, k, inside, WIDTH, ROWS, BLOCK).to(tl.float32)
                    at = first + k
                    train_levels(state + at, moved + at, gradient + at, inside, grad, rate, step, COLUMNS)
                # All threads of the program have read the old numbers and see the new ones.
                tl.debug_barrier()
                place_levels(moved + first, state + first, count, COLUMNS, TRAIN == "sorted levels", BLOCK)
            for start in range(0, count, BLOCK):
                k = start + tl.arange(0, BLOCK)
                tl.store(counts + first + k, tl.zeros([BLOCK], tl.int32), mask=k < count)
            tl.store(steps + layer, step.to(tl.float32))
