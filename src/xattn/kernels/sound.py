"""`sound`: one 64×64×64 block of flash attention in the sound integer form, state kept between blocks.

Per query row the state is a reference (the running max, in whole octaves), the running sum of the weights and the
int32 accumulators of weights times V. Two loops over pairs of row blocks, both bound by the multiplier:

1. scores S = Q·Kᵀ in 1/128 octave (16 bits), row maxima, new references;
2. weights P = 2^(S − reference) in 8 bits, by reading fixed-point octaves as bfloat16; sums += P·V, running += P·1.

Layouts (all made by DMA descriptors from row-major data, runs of 8 bytes): Q `[8, 8, 2]` 4×8 blocks, by pair of row
blocks and depth; K in two arrays of even and odd block columns, `[2, 8, 2]` 8×8 blocks, V `[2, 8, 4]`, by half, depth
(K) or keys (V), and block; sums `[8, 2, 4, 2]` 4×8 int32, by pair, half, column block and row block; references
`[8, 2]` vectors, each row's value less 128 in eight lanes; running sums `[8, 2]` 4×8 int32, eight equal columns.
"""

from __future__ import annotations

import numpy as np

from xattn.compiler.ir import VirtualRegister
from xattn.compiler.language import (
    Accumulator,
    AccumulatorType,
    Kernel,
    Vector,
    VectorType,
    View,
    int8,
    int16,
    product,
    uint8,
)
from xattn.numerics.sound import dither_pattern
from xattn.numerics.sound.steps import BIAS, OCTAVE

LEFT = VectorType(int8, 32)
RIGHT = VectorType(int8, 64)
SCORES = VectorType(int16, 32)
WEIGHTS = VectorType(uint8, 32)
SUMS = AccumulatorType()

PAIRS, ROWS = 8, 2  # pairs of row blocks
HALVES, COLUMNS = 2, 4  # halves of keys or of columns, in 8×8 blocks
KEY_BLOCKS = HALVES * COLUMNS
DEPTH = 8  # 8-wide pieces of 64
WEIGHT_BITS = 16  # p16 = floor(2^16 · 2^x)


def sound(k: Kernel, tokens: int, width: int) -> None:
    """Scores and references, then weights and sums."""
    assert (tokens, width) == (64, 64)
    q = k.argument("q", LEFT, (PAIRS, DEPTH, ROWS), bank=1)
    keys = [k.argument(f"k{i}", RIGHT, (HALVES, DEPTH, COLUMNS // 2), bank=2 - i) for i in (0, 1)]
    values = k.argument("v", RIGHT, (HALVES, KEY_BLOCKS, COLUMNS), bank=2)
    sums = k.argument("sums", SUMS, (PAIRS, HALVES, COLUMNS, ROWS), bank=3)
    references = k.argument("references", SCORES, (PAIRS, ROWS), bank=1)
    running = k.argument("running", SUMS, (PAIRS, ROWS), bank=1)
    shift = k.scalar("shift")
    # after a row block's scores lies what they are reduced by
    scores = k.scratch("scores", SCORES, (PAIRS, ROWS, KEY_BLOCKS + 1), bank=0)
    k.set_control("crSat", 1)
    score_rows(k, q, keys, scores, references, k.shift_amount(shift))
    weighted_sums(k, scores, values, sums, running)
    k.set_control("crSat", 0)


def score_rows(k: Kernel, q: View, keys: list[View], scores: View, references: View, shift: VirtualRegister) -> None:
    """S = sat16(Q·Kᵀ >> shift), and each row's reference raised to its max in whole octaves."""
    octaves = k.vector_constant("whole octaves", np.full(32, -OCTAVE), int16)
    unbias = k.vector_constant("unbias", np.full(32, OCTAVE - BIAS), int16)
    dots = [[k.accumulator() for _ in range(COLUMNS)] for _ in range(ROWS)]
    for (r,) in k.grid(PAIRS, name="score rows"):
        best: list[Vector | None] = [None] * ROWS
        for h in range(HALVES):
            for c in range(DEPTH):
                left = [q[r, c, a] for a in range(ROWS)]
                right = [k.shuffle("T8_8x8", keys[b % 2][h, c, b // 2]) for b in range(COLUMNS)]
                accumulate(dots, left, right, first=c == 0)
            drain(k, dots, shift, scores[r], h, best)
        for a in range(ROWS):
            top = best[a]
            assert top is not None
            reference = k.maximum(references[r, a], k.bit_and(row_maximum(k, top), octaves))
            references[r, a] = reference
            scores[r, a, KEY_BLOCKS] = k.add(reference, unbias)


def drain(
    k: Kernel, dots: list[list[Accumulator]], shift: VirtualRegister, scores: View, h: int, best: list[Vector | None]
) -> None:
    """Narrow, keep the maximum, store. Two accumulators are freed for every vector stored: they are wanted at once."""
    narrowed: list[tuple[int, int, Vector]] = []
    for b in range(COLUMNS):
        for a in range(ROWS):
            narrowed += [(a, b, k.widened(k.narrow(dots[a][b], shift, int16)))]
        keep_one(k, scores, h, best, *narrowed.pop(0))
    while narrowed:
        keep_one(k, scores, h, best, *narrowed.pop(0))


def keep_one(k: Kernel, scores: View, h: int, best: list[Vector | None], a: int, b: int, block: Vector) -> None:
    """Store a 4×8 block of scores and raise the running maximum of its rows."""
    scores[a, h * COLUMNS + b] = block
    known = best[a]
    best[a] = block if known is None else k.maximum(known, block)


def row_maximum(k: Kernel, block: Vector) -> Vector:
    """Each row's maximum of a 4×8 block of 16-bit lanes, in all eight lanes of the row."""
    columns = k.shuffle("T16_4x8", block)
    for distance in (32, 16, 8):
        columns = k.maximum(columns, k.rotate(columns, distance))
    return k.shuffle("T16_8x4", columns)


def weighted_sums(k: Kernel, scores: View, values: View, sums: View, running: View) -> None:
    """P = 2^(S − reference), 8 bits; sums += P·V, running += P·1."""
    weights = k.scratch("weights", WEIGHTS, (PAIRS, ROWS, KEY_BLOCKS), bank=0)
    pattern = dither_pattern("dither16", 16)
    dither = [k.vector_constant(f"dither {i}", np.tile(pattern[8 * i : 8 * i + 8], 4), int16) for i in (0, 1)]
    ones = k.vector_constant("ones", np.ones(64), int8)
    scale = k.shift_amount(WEIGHT_BITS)
    totals = [[k.accumulator() for _ in range(COLUMNS)] for _ in range(ROWS)]
    running_sum = k.accumulator()
    for (r,) in k.grid(PAIRS, name="weighted sums"):
        subtrahends = [scores[r, a, KEY_BLOCKS] for a in range(ROWS)]
        for j in range(KEY_BLOCKS):
            for a in range(ROWS):
                exponents = k.excess(scores[r, a, j], subtrahends[a])
                low, high = k.floor_of_bfloat(exponents, scale)
                weights[r, a, j] = k.high_bytes(k.add(k.low_words(low, high), dither[j % 2]))
        for h in range(HALVES):
            for b in range(COLUMNS):
                for a in range(ROWS):
                    k.reload(totals[a][b], sums.element(r, h, b, a))
            k.reload(running_sum, running.element(r, h))  # row block h's, along with half h
            for j in range(KEY_BLOCKS):
                left = [weights[r, a, j] for a in range(ROWS)]
                right = [values[h, j, b] for b in range(COLUMNS)]
                accumulate(totals, left, right)
                running_sum += product(left[h], ones)
            for b in range(COLUMNS):
                for a in range(ROWS):
                    sums[r, h, b, a] = totals[a][b]
            running[r, h] = running_sum


def accumulate(totals: list[list[Accumulator]], left: list[Vector], right: list[Vector], first: bool = False) -> None:
    """totals[a][b] += left[a] × right[b], or = for the first product; each right block is used up before the next."""
    for b, block in enumerate(right):
        for a, row in enumerate(left):
            if first:
                totals[a][b].set(product(row, block))
            else:
                totals[a][b] += product(row, block)
