"""`sound`: one 64×64×64 block of flash attention in the sound integer form, state kept between blocks.

Per query row the state is a reference (the running max, in whole octaves), the running sum of the weights and the
int32 accumulators of weights times V. The kernel goes through four loops:

1. scores S = Q·Kᵀ in 1/128 octave (16 bits) and the largest of each row, a tile of 16×16 at a time;
2. new references;
3. weights P = 2^(S − reference) in 8 bits, by reading fixed-point octaves as bfloat16;
4. sums += P·V, a tile of 16×16 at a time.

Layouts (all made by DMA descriptors from row-major data, runs of 8 bytes): Q `[4, 8, 4]` 4×8 blocks, by group of
sixteen rows, depth and row block; K and V `[4, 8, 2]` 8×8 blocks, by pair of block columns (of keys, of V's columns),
depth or keys, and block; sums in two arrays of even and odd block columns, `[4, 4, 4]` 4×8 int32 each, by group, pair
and row block; state: `[4, 32]` int16, a group's sixteen references less 128, twice, then `[16]` 4×8 int32 running sums,
eight equal columns.
"""

from __future__ import annotations

import numpy as np

from xattn.compiler.ir import Affine, VirtualRegister
from xattn.compiler.language import AccumulatorType, Kernel, Vector, VectorType, View, int8, int16, product, uint8
from xattn.compiler.language.memory import view
from xattn.numerics.sound import DEFAULT_OPTIONS, dither_pattern
from xattn.numerics.sound.steps import BIAS, OCTAVE

LEFT = VectorType(int8, 32)
RIGHT = VectorType(int8, 64)
LANES = VectorType(int16, 32)
WEIGHTS = VectorType(uint8, 32)
SUMS = AccumulatorType()

GROUPS, ROWS = 4, 4  # groups of four row blocks
PAIRS, COLUMNS = 4, 2  # pairs of block columns
DEPTH = 8  # 8-wide pieces of 64
WEIGHT_BITS = 16  # p16 = floor(2^16 · 2^x)


def sound(k: Kernel, tokens: int, width: int) -> None:
    """Scores and references, then weights and sums."""
    assert (tokens, width) == (64, 64)
    q = k.argument("q", LEFT, (GROUPS, DEPTH, ROWS), bank=2)
    keys = k.argument("k", RIGHT, (PAIRS, DEPTH, COLUMNS), bank=0)
    values = k.argument("v", RIGHT, (PAIRS, DEPTH, COLUMNS), bank=1)
    sums = [k.argument(f"sums{i}", SUMS, (GROUPS, PAIRS, ROWS), bank=2 + i) for i in range(COLUMNS)]
    state = k.argument("state", LANES, (GROUPS + 2 * GROUPS * ROWS,), bank=3)
    shift = k.scalar("shift")
    references = state.reshape(GROUPS + 2 * GROUPS * ROWS)
    running = view(k, state.array, SUMS, (GROUPS, ROWS), Affine(GROUPS * LANES.bytes))
    scores = k.scratch("scores", LANES, (GROUPS, PAIRS, ROWS, COLUMNS), bank=1)
    tops = k.scratch("tops", LANES, (GROUPS, PAIRS), bank=0)
    subtrahends = k.scratch("subtrahends", LANES, (GROUPS, ROWS), bank=3)
    weights = k.scratch("weights", WEIGHTS, (GROUPS, DEPTH, ROWS), bank=0)
    k.set_control("crSat", 1)
    score_tiles(k, q, keys, scores, tops, k.shift_amount(shift))
    k.set_control("crSat", 0)
    raise_references(k, tops, references, subtrahends)
    weigh(k, scores, subtrahends, weights, running)
    weighted_sums(k, weights, values, sums)


def score_tiles(k: Kernel, q: View, keys: View, scores: View, tops: View, shift: VirtualRegister) -> None:
    """S = sat16(Q·Kᵀ >> shift), and the maximum of each row of a tile."""
    for i, j in k.grid(GROUPS, PAIRS, name="score tiles"):
        dots = [[k.accumulator() for _ in range(COLUMNS)] for _ in range(ROWS)]
        for c in range(DEPTH):
            left = [q[i, c, a] for a in range(ROWS)]
            right = [k.shuffle("T8_8x8", keys[j, c, b]) for b in range(COLUMNS)]
            for a in range(ROWS):
                for b in range(COLUMNS):
                    if c == 0:
                        dots[a][b].set(product(left[a], right[b]))
                    else:
                        dots[a][b] += product(left[a], right[b])
        best = []
        for a in range(ROWS):
            blocks = [k.widened(k.narrow(dots[a][b], shift, int16)) for b in range(COLUMNS)]
            for b in range(COLUMNS):
                scores[i, j, a, b] = blocks[b]
            best.append(k.maximum(*blocks))
        tops[i, j] = row_maxima(k, best)


def row_maxima(k: Kernel, blocks: list[Vector]) -> Vector:
    """Each row's maximum of four 4×8 blocks of 16-bit lanes: sixteen lanes, twice."""
    halves = [maximum_of(k, "T64_8x2", *blocks[i : i + 2]) for i in (0, 2)]
    quarters = maximum_of(k, "T32_16x2", *halves)
    return maximum_of(k, "T16_32x2", quarters, quarters)


def maximum_of(k: Kernel, mode: str, low: Vector, high: Vector) -> Vector:
    """Of the even and the odd pieces of two vectors."""
    return k.maximum(k.shuffle(f"{mode}_lo", low, high), k.shuffle(f"{mode}_hi", low, high))


def raise_references(k: Kernel, tops: View, references: View, subtrahends: View) -> None:
    """Each row's reference raised to its maximum in whole octaves; what its scores are reduced by, for row blocks."""
    octaves = k.vector_constant("whole octaves", np.full(32, -OCTAVE), int16)
    unbias = k.vector_constant("unbias", np.full(32, OCTAVE - BIAS), int16)
    for i in range(GROUPS):
        top = k.maximum(k.maximum(tops[i, 0], tops[i, 1]), k.maximum(tops[i, 2], tops[i, 3]))
        reference = k.maximum(references[i], k.bit_and(top, octaves))
        references[i] = reference
        for a, rows in enumerate(row_blocks(k, k.add(reference, unbias))):
            subtrahends[i, a] = rows


def row_blocks(k: Kernel, rows: Vector) -> list[Vector]:
    """Sixteen lanes, given twice, as four 4×8 blocks of equal columns."""
    twice = k.shuffle("T16_2x32_lo", rows)
    blocks = []
    for half in ("lo", "hi"):
        eight = k.shuffle(f"T32_2x16_{half}", twice, twice)
        blocks += [k.shuffle("T64_2x8_lo", eight, eight), k.shuffle("T64_2x8_hi", eight, eight)]
    return blocks


def weigh(k: Kernel, scores: View, subtrahends: View, weights: View, running: View) -> None:
    """P = 2^(S − reference), 8 bits; running += P·1."""
    pattern = dither_pattern(DEFAULT_OPTIONS.dither).reshape(DEPTH, 1, 8)
    dither = k.constant("dither", np.repeat(pattern, 4, axis=1).reshape(DEPTH, 32), int16, bank=2)
    dither = dither.blocks(LANES, DEPTH)
    ones = k.vector_constant("ones", np.ones(64), int8)
    scale = k.shift_amount(WEIGHT_BITS)
    for i, a in k.grid(GROUPS, ROWS, name="weights"):
        subtrahend = subtrahends[i, a]
        for j in range(PAIRS):
            words = []
            for b in range(COLUMNS):
                low, high = k.floor_of_bfloat(k.excess(scores[i, j, a, b], subtrahend), scale)
                words.append(k.add(k.low_words(low, high), dither[2 * j + b]))
            for b, half in enumerate(k.halves(k.high_bytes(*words), WEIGHTS)):
                weights[i, 2 * j + b, a] = half
        total = k.load_accumulator(running.element(i, a))
        for j in range(DEPTH):
            total += product(weights[i, j, a], ones)
        running[i, a] = total


def weighted_sums(k: Kernel, weights: View, values: View, sums: list[View]) -> None:
    """sums += P·V."""
    for i, j in k.grid(GROUPS, PAIRS, name="weighted sums"):
        totals = [[k.load_accumulator(sums[b].element(i, j, a)) for b in range(COLUMNS)] for a in range(ROWS)]
        for c in range(0, DEPTH, 2):
            left = [[weights[i, c + d, a] for d in (0, 1)] for a in range(ROWS)]
            right = [[values[j, c + d, b] for b in range(COLUMNS)] for d in (0, 1)]
            for a in range(ROWS):
                for d in (0, 1):
                    for b in range(COLUMNS):
                        totals[a][b] += product(left[a][d], right[d][b])
        for a in range(ROWS):
            for b in range(COLUMNS):
                sums[b][i, j, a] = totals[a][b]
