"""`fused`: the attention of the LUT softmax with everything on vectors, softmax included.

Three passes in four loops, each at the multiplier's rate of one product a cycle:

1. scores S = clamp(Q·Kᵀ >> shift) in 8 bits, a tile of 16×16 at a time, and each row's maximum;
2. weights, four rows at a time: exponentials by a quartic, their sum by a product with ones, and the weights by a
   product with the reciprocal of the sum (`exact_weights` says why all of this is exact);
3. O = clamp(W·V >> 7), a tile of 16×16 at a time.

What one pass gives in 4×8 blocks, the next one takes: no byte moves between them.

Layouts (made by DMA descriptors from row-major data, runs of 8 bytes): Q and K in panels of rows, V in panels of
columns, O in tiles of 16×16 (see `panels`). K's blocks are transposed on their way to the multiplier.
"""

from __future__ import annotations

import numpy as np

from xattn.compiler.language import (
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
    product,
    uint8,
)
from xattn.kernels.blocks import LEFT, RIGHT
from xattn.kernels.exact_weights import (
    EXPONENTIAL_BITS,
    FARTHEST,
    LINEAR_BITS,
    LINEAR_OFFSET,
    RECIPROCAL_BITS,
    SQUARE_OFFSET,
    reciprocals,
)
from xattn.kernels.products import COLUMN_BLOCKS, ROW_BLOCKS, product_tiles, sums_of_tile
from xattn.kernels.sound import maximum_of
from xattn.kernels.stages import OUTPUT, SCORES, SOFTMAX

BYTES = VectorType(int8, 64)  # two 4×8 blocks side by side
DISTANCES = VectorType(uint8, 64)
EXPONENTIALS = VectorType(uint8, 32)
SUMS = AccumulatorType()
TABLE_ENTRY = 2  # bytes


def fused(k: Kernel, tokens: int, width: int) -> None:
    """Scores and maxima, weights, outputs."""
    groups, pairs, depth = tokens // 16, tokens // 16, width // 8
    rows, pieces = tokens // 4, tokens // 8
    q = k.argument("q", LEFT, (groups, depth, ROW_BLOCKS), bank=1)
    keys = k.argument("k", RIGHT, (pairs, depth, COLUMN_BLOCKS), bank=2)
    values = k.argument("v", RIGHT, (width // 16, pieces, COLUMN_BLOCKS), bank=3)
    out = k.argument("out", LEFT, (groups, width // 16, ROW_BLOCKS, COLUMN_BLOCKS), bank=1)
    shift = k.scalar("shift")
    scores = k.scratch("scores", BYTES, (pairs, rows), bank=3)
    maxima = k.scratch("maxima", BYTES, (pairs, rows), bank=0)
    exponentials = k.scratch("exponentials", LEFT, (rows, pieces), bank=1)
    sums = k.scratch("sums", SUMS, (rows,), bank=3)
    weights = k.scratch("weights", LEFT, (rows, pieces), bank=2)

    k.set_control("crSat", 1)
    with k.stage(SCORES):
        scores_and_maxima(k, q, keys, scores, maxima, shift)
    with k.stage(SOFTMAX, "exp"):
        exponentials_and_sums(k, scores, maxima[pairs - 1], exponentials, sums)
    with k.stage(SOFTMAX, "normalise"):
        normalise(k, exponentials, sums, weights)
    row, piece = weights.strides
    left = weights.strided(LEFT, (groups, pieces, ROW_BLOCKS), (ROW_BLOCKS * row, piece, row))
    with k.stage(OUTPUT):
        product_tiles(k, left, values, out)


def scores_and_maxima(k: Kernel, q: View, keys: View, scores: View, maxima: View, shift: Scalar) -> None:
    """S = clamp(Q·Kᵀ >> shift), and the maximum of each row in all 16 bytes that stand for the row.

    All panels of Q for one panel of keys, then for the next: so far as they have been seen, row maxima only rise, and
    the last ones count.
    """
    groups, depth, pairs = *q.shape[:2], keys.shape[0]
    # the last two pieces row block by row block: then the maxima of the first rows are found while the last are summed
    runs = [*((c,) for c in range(depth - 2)), (depth - 2, depth - 1)]
    tiles = scores.blocks(BYTES, pairs, groups, ROW_BLOCKS)
    blocks = maxima.blocks(BYTES, pairs, groups, ROW_BLOCKS)
    lowest = np.full((pairs + 1) * groups * BYTES.bytes, -128)
    running = k.constant("running maxima", lowest, int8, bank=0).blocks(BYTES, pairs + 1, groups)
    amount = k.shift_amount(shift)
    for j, i in k.grid(pairs, groups, name="score tiles"):
        dots = sums_of_tile(k, q[i], keys[j], lambda block: k.shuffle("T8_8x8", block), runs)
        rows = []
        for a in range(ROW_BLOCKS):
            rows.append(k.side_by_side(*(k.narrow(dot, amount, int8) for dot in dots[a])))
            tiles[j, i, a] = rows[a]
        with k.stage(SOFTMAX, "max"):
            best = k.maximum(running[j, i], maxima_of_rows(k, rows))
            running[j + 1, i] = best
            for a, block in enumerate(row_blocks(k, best)):
                blocks[j, i, a] = block


def maxima_of_rows(k: Kernel, blocks: list[Vector]) -> Vector:
    """Four bytes for each of 16 rows, the largest of which is the row's largest."""
    halves = [maximum_of(k, "T256_2x2", *blocks[i : i + 2]) for i in (0, 2)]
    return maximum_of(k, "T32_16x2", *halves)


def row_blocks(k: Kernel, best: Vector) -> list[Vector]:
    """From four bytes for each of 16 rows: the maximum of each row in two 4×8 blocks of equal columns."""
    for mode in ("T16_32x2", "T8_64x2"):
        best = maximum_of(k, mode, best, best)  # 16 rows, again and again
    for mode in ("T8_2x64_lo", "T16_2x32_lo"):
        best = k.shuffle(mode, best)
    blocks = []
    for half in ("lo", "hi"):
        eight = k.shuffle(f"T32_2x16_{half}", best)
        blocks += [k.shuffle("T256_2x2_lo", eight), k.shuffle("T256_2x2_hi", eight)]
    return blocks


def exponentials_and_sums(k: Kernel, scores: View, maxima: View, exponentials: View, sums: View) -> None:
    """The exponentials of all scores, and of each row twice their sum: the place of its reciprocal in bytes."""
    pairs, rows = scores.shape
    square_offset = k.constant("square offset", np.full(32, SQUARE_OFFSET), int32, bank=3).blocks(SUMS, 1)[0]
    numbers = np.repeat([FARTHEST, LINEAR_OFFSET, TABLE_ENTRY], 64)
    constants = k.constant("constants", numbers, uint8, bank=0).blocks(DISTANCES, 3)
    farthest, linear_offset, entry = constants[0], constants[1], constants[2].read_as(BYTES)
    none, linear, done = (k.shift_amount(bits) for bits in (0, LINEAR_BITS, EXPONENTIAL_BITS))
    for r in k.loop(rows, name="exponentials"):
        best = maxima[r]
        for pair in range(pairs):
            distance = k.subtract(best, scores[pair, r]).read_as(DISTANCES)
            near = k.excess(farthest, distance)
            terms = k.raised(k.add(near, linear_offset), linear)
            for half, (n, value) in enumerate(zip(k.unpacked(near), terms, strict=True)):
                square = k.widened(k.narrow(k.plus(square_offset, lane_product(n, n)), none, int16))
                value += lane_product(square, square)
                exponentials[r, 2 * pair + half] = k.narrow(value, done, int8)
        with k.stage(SOFTMAX, "sum"):
            total = k.accumulator()
            total.set(product(exponentials[r, 0], entry))
            for c in range(1, 2 * pairs):
                total += product(exponentials[r, c], entry)
            sums[r] = total


def normalise(k: Kernel, exponentials: View, sums: View, weights: View) -> None:
    """weights = floor(127·exponential / sum of its row)."""
    rows, pieces = exponentials.shape
    table = k.constant("reciprocals", reciprocals(8 * pieces), int16, bank=0)
    unsigned = exponentials.blocks(EXPONENTIALS, rows, pieces)
    first_lanes = sums.strided(int32, (rows, 4), (SUMS.bytes, 32))
    bits = k.shift_amount(RECIPROCAL_BITS)
    for r in k.loop(rows, unroll=2, name="weights"):
        factors = k.from_scalars([table.at(k.load_offset(first_lanes.element(r, row))) for row in range(4)])
        for mode in ("T16_2x32_lo", "T32_2x16_lo", "T64_2x8_lo"):
            factors = k.shuffle(mode, factors)  # each twice as often
        for c in range(pieces):
            quotients = k.accumulator()
            quotients.set(lane_product(k.load_widened(unsigned.element(r, c)), factors))
            weights[r, c] = k.narrow(quotients, bits, int8)
