"""The training of a layer's representatives, by the last of its programs, in the kernels of Triton."""

import triton
import triton.language as tl

from trainables.fused.layout import LEARNING_RATE, REPRESENTATIVE_SHARE
from trainables.fused.places import chunks_of_layer, constants_of_layer, is_last_of_layer, size_of_layer
from trainables.fused.slopes import adam_step, sign_of

_LEARNING_RATE, _REPRESENTATIVE_SHARE = tl.constexpr(LEARNING_RATE), tl.constexpr(REPRESENTATIVE_SHARE)


@triton.jit
def sums_of_levels(partial, begin, end, k, inside, width, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Return the sums over chunks `begin` to `end` of the levels k, (BLOCK,), float64."""
    total = tl.zeros([BLOCK], tl.float64)
    for row in range(begin, end, ROWS):
        rows = row + tl.arange(0, ROWS)
        mask = (rows < end)[:, None] & inside[None, :]
        total += tl.sum(tl.load(partial + rows[:, None] * width + k[None, :], mask=mask, other=0.0), 0)
    return total


@triton.jit
def train_levels(state, moved, gradient, inside, grad, rate, step, columns):
    """Update a block of representatives, and their moments, by Adam.

    Args:
        state: where the representatives are, (BLOCK,); their moments follow in rows of length `columns`.
        moved: where the results are written, likewise.
        gradient: where their gradient is written, (BLOCK,).
        inside: (BLOCK,), mask of the representatives that exist.
        grad: (BLOCK,), float32: the gradient.
        rate: the learning rate, float64.
        step: number of this update, from 1, float64.
        columns: row length of `state` and `moved`.
    """
    value = tl.load(state, mask=inside, other=0.0)
    mean = tl.load(state + columns, mask=inside, other=0.0)
    square = tl.load(state + 2 * columns, mask=inside, other=0.0)
    value, mean, square = adam_step(value, mean, square, grad, rate, step)
    tl.store(gradient, grad, mask=inside)
    tl.store(moved, value, mask=inside)
    tl.store(moved + columns, mean, mask=inside)
    tl.store(moved + 2 * columns, square, mask=inside)


@triton.jit
def ranks_of(values, value, k, count):
    """Return the places, int32, that `value` at index k takes when `count` values are sorted; equal ones keep order."""
    rank = tl.zeros(value.shape, tl.int32)
    for j in range(count):
        other = tl.load(values + j)
        rank += ((other < value) | ((other == value) & (j < k))).to(tl.int32)
    return rank


@triton.jit
def place_levels(moved, state, count, columns, SORT: tl.constexpr, BLOCK: tl.constexpr):
    """Write the representatives of a layer, and their moments, back to the state; with SORT, in increasing order.

    Args:
        moved: where the first of them is after its step.
        state: where the first of them belongs.
        count: number of them.
        columns: row length of `state` and `moved`.
        SORT: whether they are put in order.
        BLOCK: levels handled at once.
    """
    for start in range(0, count, BLOCK):
        k = start + tl.arange(0, BLOCK)
        inside = k < count
        value = tl.load(moved + k, mask=inside, other=0.0)
        to = ranks_of(moved, value, k, count) if SORT else k
        tl.store(state + to, value, mask=inside)
        tl.store(state + columns + to, tl.load(moved + columns + k, mask=inside, other=0.0), mask=inside)
        tl.store(state + 2 * columns + to, tl.load(moved + 2 * columns + k, mask=inside, other=0.0), mask=inside)


@triton.jit
def gradient_of_step(
    partial, begin, end, multiples, count, width, BY_STEP: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr
):
    """Return the gradient of the step s > 0 of a layer's grid, float64; see `train_if_last`.

    Args:
        partial: as for `train_if_last`.
        begin: the first chunk of the layer.
        end: the first one of the next layer.
        multiples: pointer to the representatives as multiples of s, (K,), float32.
        count: K.
        width: as for `train_if_last`.
        BY_STEP: whether the first column of `partial` holds the gradient of s; otherwise there is one for each level.
        ROWS: as for `train_if_last`.
        BLOCK: as for `train_if_last`.
    """
    if BY_STEP:
        k = tl.arange(0, BLOCK)
        by_step = sums_of_levels(partial, begin, end, k, k < 1, width, ROWS, BLOCK)
    else:
        by_step = tl.zeros([BLOCK], tl.float64)
        for start in range(0, count, BLOCK):
            k = start + tl.arange(0, BLOCK)
            inside = k < count
            multiple = tl.load(multiples + k, mask=inside, other=0.0).to(tl.float64)
            by_step += multiple * sums_of_levels(partial, begin, end, k, inside, width, ROWS, BLOCK)
    return tl.sum(by_step, 0)


@triton.jit
def train_grid(state, gradient, grad, rate, step, columns):
    """Update the step size s of a layer's grid by Adam, and return the new s.

    Args:
        state: where s is; its moments follow in rows of length `columns`.
        gradient: where the gradient of s is written.
        grad: the gradient of |s|, float64: representatives do not depend on the sign of s.
        rate: the learning rate, float64.
        step: number of this update, from 1, float64.
        columns: row length of `state`.
    """
    value = tl.load(state)
    mean = tl.load(state + columns)
    square = tl.load(state + 2 * columns)
    grad = grad.to(tl.float32) * sign_of(value)
    value, mean, square = adam_step(value, mean, square, grad, rate, step)
    # All threads of the program have read the old numbers.
    tl.debug_barrier()
    tl.store(gradient, grad)
    tl.store(state, value)
    tl.store(state + columns, mean)
    tl.store(state + 2 * columns, square)
    return value


@triton.jit
def place_grid(value, multiples, values, count, BLOCK: tl.constexpr):
    """Write the representatives of a layer's grid.

    Args:
        value: its step, a scalar.
        multiples: pointer to the representatives as multiples of the step, (K,), float32.
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
    columns,
    width,
    TRAIN: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Train the representatives of a layer, if this program is the last of the layer to have stored its sums.

    Args:
        training: a result of `FusedRepresentatives.training`.
        partial: (chunks, width), float64: gradients of the representatives from each chunk, or of a grid's step.
        tables: those of `Layout`.
        controls: (CONTROLS,), float32.
        layer: of the program.
        columns: row length of the state.
        width: row length of `partial`.
        TRAIN: "nothing"; "levels" trains each representative by itself; "sorted levels" does so and then sorts them;
            "grid" trains the step of a grid, from the gradients of its representatives; "step" does so from the
            gradient of the step, in the first column of `partial`.
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
                    partial, begin, end, multiples + first, count, width, TRAIN == "step", ROWS, BLOCK
                )
                value = train_grid(state + layer, gradient + layer, grad, rate, step, columns)
                place_grid(value, multiples + first, values + first, count, BLOCK)
            else:
                for start in range(0, count, BLOCK):
                    k = start + tl.arange(0, BLOCK)
                    inside = k < count
                    grad = sums_of_levels(partial, begin, end, k, inside, width, ROWS, BLOCK).to(tl.float32)
                    at = first + k
                    train_levels(state + at, moved + at, gradient + at, inside, grad, rate, step, columns)
                # All threads of the program have read the old numbers and see the new ones.
                tl.debug_barrier()
                place_levels(moved + first, state + first, count, columns, TRAIN == "sorted levels", BLOCK)
            for start in range(0, count, BLOCK):
                k = start + tl.arange(0, BLOCK)
                tl.store(counts + first + k, tl.zeros([BLOCK], tl.int32), mask=k < count)
            tl.store(steps + layer, step.to(tl.float32))
