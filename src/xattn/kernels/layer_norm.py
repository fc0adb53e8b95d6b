"""`layer_norm`: sixteen tokens of int16 to int8 (see numerics: layers layer_norm).

Three passes over the tokens, a 4×8 block at a time, 32 lanes of 16 bits, and between them two short loops of scalars,
one turn a token:

1. sums by products with ones, then each row's mean;
2. distances from the mean and the sums of their squares, then each row's reciprocal root from a table;
3. x·R − mean·R, the normalised number, then gain and offset of its channel.

Numbers of a row lie in eight lanes of many vectors. What belongs to a row is spread to its lanes by shuffles, once.

Layouts: x in one panel of rows, the residual stream as `add_residual` leaves it, but in two arrays of two row blocks
each, `[width / 8, 2]` 4×8 blocks of int16, for two banks; y `[width / 8, 4]` of int8, as matrix products take it; gain
and offset by pieces of eight channels, each four times over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from xattn.compiler.ir import VirtualRegister
from xattn.compiler.language import (
    Accumulator,
    AccumulatorType,
    Kernel,
    Scalar,
    Vector,
    VectorType,
    View,
    int8,
    int16,
    int32,
    lane_product,
    leading_zeros,
    maximum,
    uint16,
)
from xattn.kernels.blocks import LEFT
from xattn.kernels.gelu import ROUND_TO_NEAREST
from xattn.kernels.panels import PIECE, to_panels
from xattn.numerics.layers import NormConstants
from xattn.numerics.layers.layer_norm import (
    FIRST_INDEX,
    INDEX_SHIFT,
    RECIPROCAL_BITS,
    SQUARE_SHIFT,
    mean_factor,
    root_shift,
    root_table,
)

LANES, WORDS, SUMS = VectorType(int16, 32), VectorType(int32, 16), AccumulatorType()
TOKENS, ROWS = 16, 4  # four row blocks
ONE, MINUS_ONE, ZERO = range(3)
# Row blocks at a time, so that what belongs to their rows stays in registers; each pair from two banks.
TOGETHER = ((0, 2), (1, 3))


def layer_norm(k: Kernel, width: int) -> None:
    """y = LayerNorm(x)."""
    pieces = width // 8
    halves = [k.argument(f"x{n}", LANES, (pieces, ROWS // 2), bank=1 + n) for n in range(2)]
    # by row block, each a piece after the other
    x = [h.element(0, a).strided(LANES, (pieces,), h.strides[:1]) for h in halves for a in range(ROWS // 2)]
    channels = k.argument("channels", LANES, (pieces, 2), bank=3)
    y = k.argument("y", LEFT, (pieces, ROWS), bank=0)
    least, scale, narrow, lift = (k.scalar(name) for name in ("least", "scale", "narrow", "lift"))
    k.set_control("crSat", 1)
    k.set_control("crRnd", ROUND_TO_NEAREST)
    reduction = _Reduction(k)
    numbers = k.constant("numbers", np.repeat([1, -1, 0], LANES.lanes), int16, bank=0).blocks(LANES, 3)
    with k.stage("statistics", "mean"):
        means = reduction.of_rows("mean", _sums(k, x, numbers), _mean_of(width))
    with k.stage("statistics", "variance"):
        roots = reduction.of_rows("root", _squares(k, x, means, numbers), _root_of(k, width, least, scale))
    with k.stage("normalise"):
        _normalise(k, x, channels, y, (means, roots, numbers), [k.shift_amount(s) for s in (scale, narrow, lift)])
    k.set_control("crSat", 0)
    k.set_control("crRnd", 0)


def _sums(k: Kernel, x: list[View], numbers: View) -> list[Accumulator]:
    """By row block: eight lanes a row, whose sum is the row's."""
    one = numbers[ONE]
    sums = _zeros(k, numbers, ROWS)
    for c in k.loop(x[0].shape[0], unroll=2, name="sums"):
        for a in range(ROWS):
            sums[a] += lane_product(x[a][c], one)
    return sums


def _squares(k: Kernel, x: list[View], means: View, numbers: View) -> list[Accumulator]:
    """The same of the squared distances from the mean."""
    one, less = numbers[ONE], numbers[MINUS_ONE]
    down = k.shift_amount(SQUARE_SHIFT)
    squares: dict[int, Accumulator] = {}
    for blocks in TOGETHER:
        centre = [_product(k, means[block], less) for block in blocks]
        sums = _zeros(k, numbers, len(blocks))
        for c in k.loop(x[0].shape[0], unroll=2, name="squares"):
            for a, block in enumerate(blocks):
                distance = k.widened(k.narrow(k.plus(centre[a], lane_product(x[block][c], one)), down, int16))
                sums[a] += lane_product(distance, distance)
        squares |= dict(zip(blocks, sums, strict=True))
    return [squares[block] for block in range(ROWS)]


def _normalise(
    k: Kernel, x: list[View], channels: View, y: View, rows: tuple[View, View, View], shifts: Sequence[VirtualRegister]
) -> None:
    (means, roots, numbers), (scale, narrow, lift) = rows, shifts
    zero = numbers[ZERO]
    for blocks in TOGETHER:
        root = [roots[block] for block in blocks]
        centre = [_product(k, means[block], k.subtract(zero, root[a])) for a, block in enumerate(blocks)]
        for c in k.loop(x[0].shape[0], unroll=2, name="normalise"):
            gain, offset = channels[c, 0], channels[c, 1]
            for a, block in enumerate(blocks):
                scaled = k.plus(centre[a], lane_product(x[block][c], root[a]))
                normal = k.widened(k.narrow(scaled, scale, int16))
                result = k.accumulator()
                k.raise_words(result, offset, lift)
                result += lane_product(normal, gain)
                y[c, block] = k.narrow(result, narrow, int8)


class _Reduction:
    """From eight lanes a row to one number a row, to what is made of it, and back to the row's eight lanes."""

    def __init__(self, k: Kernel) -> None:
        self.k = k
        # one array, since each takes a pointer: sums of lanes, totals, numbers, numbers in lanes
        self.work = k.scratch("of rows", WORDS, (2 * ROWS + 1 + 1 + 2 * ROWS,), bank=0)
        self.made = 0

    def of_rows(self, name: str, sums: list[Accumulator], make: Callable[[Scalar], Scalar]) -> View:
        """`make` of each row's sum, by row block, in 32 lanes of int16."""
        k = self.k
        partial = self.work.blocks(SUMS, ROWS)
        for a in range(ROWS):
            partial[a] = sums[a]
        vectors = [self.work[i] for i in range(2 * ROWS)]
        while len(vectors) > 1:  # even and odd lanes of two vectors, until there is one lane a row
            vectors = [_sum_of_pairs(k, *vectors[i : i + 2]) for i in range(0, len(vectors), 2)]
        self.work[2 * ROWS] = vectors[0]
        totals, numbers = (self.work.element(2 * ROWS + i).blocks(int32, TOKENS) for i in range(2))
        for row in k.loop(TOKENS, name=f"{name} of rows"):
            numbers[row] = make(totals[row])
        lanes = self.work.element(2 * ROWS + 2 + ROWS * self.made).blocks(LANES, ROWS)
        self.made += 1
        for a in range(ROWS):
            spread = k.from_scalars([numbers[ROWS * a + i] for i in range(ROWS)])
            for mode in ("T16_2x32_lo", "T32_2x16_lo", "T64_2x8_lo"):
                spread = k.shuffle(mode, spread)  # each twice as often
            lanes[a] = spread
        return lanes


def _sum_of_pairs(k: Kernel, low: Vector, high: Vector) -> Vector:
    return k.add(k.shuffle("T32_16x2_lo", low, high), k.shuffle("T32_16x2_hi", low, high))


def _mean_of(width: int) -> Callable[[Scalar], Scalar]:
    shift, divisor, factor = mean_factor(width)

    def rounded(total: Scalar) -> Scalar:
        return (total * factor + (1 << (RECIPROCAL_BITS - 1))) >> RECIPROCAL_BITS

    def mean(total: Scalar) -> Scalar:
        scaled = total >> shift
        nearly = rounded(scaled)
        if divisor * factor == 1 << RECIPROCAL_BITS:
            return nearly
        return nearly + rounded(scaled - nearly * divisor)

    return mean


def _root_of(k: Kernel, width: int, least: Scalar, scale: Scalar) -> Callable[[Scalar], Scalar]:
    """2^(scale + 5) · √(width / V): the table at V's leading bits, shifted by half of what V was."""
    table = k.constant("reciprocal roots", root_table(width), uint16, bank=3)
    without_scale = root_shift(width, 0)

    def root(total: Scalar) -> Scalar:
        variance = maximum(total, least)
        even = (leading_zeros(variance) - 1) & -2
        entry: Scalar = table.at(((variance << even) >> INDEX_SHIFT) - FIRST_INDEX)
        shifted: Scalar = entry << ((even >> 1) + scale - without_scale)  # a negative shift goes to the right
        return shifted

    return root


def _product(k: Kernel, a: Vector, b: Vector) -> Accumulator:
    result = k.accumulator()
    result.set(lane_product(a, b))
    return result


def _zeros(k: Kernel, numbers: View, count: int) -> list[Accumulator]:
    zero = numbers[ZERO]
    return [_product(k, zero, zero) for _ in range(count)]


def norm_arrays(constants: NormConstants) -> dict[str, NDArray[np.int16]]:
    """The kernel's array of channels."""
    both = np.stack([constants.gain.reshape(-1, 8), constants.offset.reshape(-1, 8)], axis=1)
    return {"channels": np.tile(both, (1, 1, 4)).astype(np.int16)}


def norm_tokens(x: NDArray[np.int16]) -> dict[str, NDArray[np.int16]]:
    """int16 `[16, width]` as the kernel's arrays."""
    panel = to_panels(x)[0].reshape(-1, ROWS, ROWS, PIECE)
    return {f"x{n}": np.ascontiguousarray(half) for n, half in enumerate(np.split(panel, 2, axis=1))}
