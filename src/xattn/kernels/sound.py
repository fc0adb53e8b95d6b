"""`sound`: one 64×64×64 block of flash attention in the sound integer form, state kept between blocks.

Per query row the state is a reference (the running max, in whole octaves), the running sum of the weights and the
int32 accumulators of weights times V. The kernel has four parts:

1. scores S = Q·Kᵀ in 1/128 octave (16 bits) and each row's largest, a tile of 16×16 at a time;
2. new references;
3. weights P = 2^(S − reference) in 8 bits, by reading fixed-point octaves as bfloat16;
4. sums += P·V and running sums += P·1, a tile of 16×16 at a time.

Where any reference rises, another version of 3 and 4 also shifts old sums down, in slots that are idle otherwise:
running sums beside the weights, the others as they are loaded.

Layouts (all made by DMA descriptors from row-major data, runs of 8 bytes): Q `[4, 8, 4]` 4×8 blocks, by group of
sixteen rows, depth and row block; K and V `[4, 8, 2]` 8×8 blocks, by pair of block columns (of keys, of V's columns),
depth or keys, and block; sums in two arrays of even and odd block columns, `[4, 4, 4]` 4×8 int32 each, by group, pair
and row block; state, for each group, sixteen references less one octave, int16, the sixteen before the block (on entry
anything), and sixteen running sums, int32. A kernel with a mask of keys has, behind each pair of K, a 4×8 block of
limits for each of its two, int16; one with a causal mask has as many again as there are distances, behind all pairs.
"""

from __future__ import annotations

import numpy as np

from xattn.compiler.ir import VirtualRegister
from xattn.compiler.language import (
    Accumulator,
    AccumulatorType,
    Index,
    Kernel,
    Scalar,
    Vector,
    VectorType,
    View,
    int8,
    int16,
    int32,
    minimum,
    product,
    uint8,
)
from xattn.kernels.stages import OUTPUT, SCORES, SOFTMAX
from xattn.numerics.sound import DEFAULT_OPTIONS, dither_pattern
from xattn.numerics.sound.steps import BIAS, MAX_RESCALE, OCTAVE

LEFT = VectorType(int8, 32)
RIGHT = VectorType(int8, 64)
LANES = VectorType(int16, 32)
WEIGHTS = VectorType(uint8, 32)
TWO_WEIGHTS = VectorType(uint8, 64)
REFERENCES = VectorType(int16, 16)
ROW = VectorType(int32, 8)
SUMS = AccumulatorType()

GROUPS, ROWS = 4, 4  # groups of four row blocks
PAIRS, COLUMNS = 4, 2  # pairs of block columns
DEPTH = 8  # 8-wide pieces of 64
# Pieces of the depth summed up row block by row block: where there are several, accumulators are done one after
# another, not all at once. Then the store port keeps up, and accumulators of the next tile can be loaded meanwhile.
SCORE_RUNS = (*((c,) for c in range(6)), (6, 7))
SUM_RUNS = ((0, 1, 2, 3), (4, 5, 6, 7))
KEPT = 3  # pieces of V that stay in registers from two row blocks to the other two
ROW_SUMS_AFTER = (1, 5)  # steps; soon, since the next iteration waits for the pointer into the state
DISTANCES_BEFORE = 14  # distances of row blocks from block columns that are below zero
OCTAVE_BITS = OCTAVE.bit_length() - 1
WEIGHT_BITS = 16  # p16 = floor(2^16 · 2^x)


def sound(k: Kernel, tokens: int, width: int, *, masked: bool = False, causal: bool = False) -> None:
    """Scores and references, then weights and sums.

    `masked`: each key has a limit that none of its scores exceeds, which is the lowest score where it is masked.
    `causal`, a `masked` one: so has each 4×8 block of scores, by its distance from the diagonal.
    """
    assert (tokens, width) == (64, 64)
    q = k.argument("q", LEFT, (GROUPS, DEPTH, ROWS), bank=2)
    # behind a pair's keys lies a limit for each, once for every row of a row block; behind all pairs those of distances
    keys = k.argument("k", RIGHT, (PAIRS + 2 * causal, DEPTH + masked, COLUMNS), bank=0)
    values = k.argument("v", RIGHT, (PAIRS, DEPTH, COLUMNS), bank=1)
    sums = [k.argument(f"sums{i}", SUMS, (GROUPS, PAIRS, ROWS), bank=2 + i) for i in range(COLUMNS)]
    state = k.argument("state", LANES, (GROUPS, 2), bank=2)
    shift = k.scalar("shift")
    # behind a tile's scores lies the maximum of each of its rows
    scores = k.scratch("scores", LANES, (GROUPS, PAIRS, ROWS * COLUMNS + 1), bank=1)
    subtrahends = k.scratch("subtrahends", LANES, (GROUPS, ROWS), bank=3)
    weights = k.scratch("weights", WEIGHTS, (GROUPS, DEPTH, ROWS), bank=0)
    k.set_control("crSat", 1)
    with k.stage(SCORES):
        score_tiles(k, q, keys, scores, k.shift_amount(shift), masked=masked, causal=causal)
    k.set_control("crSat", 0)
    pattern = np.repeat(dither_pattern(DEFAULT_OPTIONS.dither).reshape(DEPTH, 1, 8), 4, axis=1).reshape(DEPTH, 32)
    dithers = k.constant("dither", pattern, int16, bank=3).blocks(LANES, DEPTH)
    with k.stage(SOFTMAX, "references"):
        rise = raise_references(k, scores, state, subtrahends)
    with k.when(rise):
        with k.stage(SOFTMAX, "weights"):
            weigh(k, scores, subtrahends, dithers, weights, rescaling=state)
        with k.stage(OUTPUT):
            rescaled_sums(k, weights, values, sums, state)
    with k.otherwise():
        with k.stage(SOFTMAX, "weights"):
            weigh(k, scores, subtrahends, dithers, weights)
        with k.stage(OUTPUT):
            weighted_sums(k, weights, values, sums, state)


def score_tiles(
    k: Kernel, q: View, keys: View, scores: View, shift: VirtualRegister, *, masked: bool, causal: bool
) -> None:
    """S = sat16(Q·Kᵀ >> shift), at most the limits where there are some, and the maximum of each row of a tile."""
    diagonals = limits_of_distances(keys) if causal else None
    for i, j in k.grid(GROUPS, PAIRS, name="score tiles"):
        dots = [[k.accumulator() for _ in range(COLUMNS)] for _ in range(ROWS)]
        for pieces in SCORE_RUNS:
            left = [[q[i, c, a] for a in range(ROWS)] for c in pieces]
            right = [[k.shuffle("T8_8x8", keys[j, c, b]) for b in range(COLUMNS)] for c in pieces]
            for a in range(ROWS):
                for d, c in enumerate(pieces):
                    for b in range(COLUMNS):
                        if c == 0:
                            dots[a][b].set(product(left[d][a], right[d][b]))
                        else:
                            dots[a][b] += product(left[d][a], right[d][b])
        best = []
        limits = [keys[j, DEPTH, b].read_as(LANES) for b in range(COLUMNS)] if masked else []
        for a in range(ROWS):
            blocks = [k.widened(k.narrow(dots[a][b], shift, int16)) for b in range(COLUMNS)]
            for b, limit in enumerate(limits):
                if diagonals is not None:
                    limit = k.minimum(limit, diagonals[i, a, j, b])
                blocks[b] = k.minimum(blocks[b], limit)
            for b in range(COLUMNS):
                scores[i, j, COLUMNS * a + b] = blocks[b]
            with k.stage(SOFTMAX, "max"):
                best.append(k.maximum(*blocks))
        with k.stage(SOFTMAX, "max"):
            scores[i, j, ROWS * COLUMNS] = row_maxima(k, best)


def limits_of_distances(keys: View) -> View:
    """Limits of 4×8 blocks by group, row block, pair and block column: behind the keys, one for each distance.

    That of row block r (of all sixteen) from block column c (of eight) is r − 2c, from −14 to 15.
    """
    row, column = LANES.bytes, -2 * LANES.bytes
    first = keys.element(PAIRS, DISTANCES_BEFORE // COLUMNS, DISTANCES_BEFORE % COLUMNS)  # of distance 0
    return first.strided(LANES, (GROUPS, ROWS, PAIRS, COLUMNS), (ROWS * row, row, COLUMNS * column, column))


def row_maxima(k: Kernel, blocks: list[Vector]) -> Vector:
    """Each row's maximum of four 4×8 blocks of 16-bit lanes: sixteen lanes, twice."""
    halves = [maximum_of(k, "T64_8x2", *blocks[i : i + 2]) for i in (0, 2)]
    quarters = maximum_of(k, "T32_16x2", *halves)
    return maximum_of(k, "T16_32x2", quarters, quarters)


def maximum_of(k: Kernel, mode: str, low: Vector, high: Vector) -> Vector:
    """Of the even and the odd pieces of two vectors."""
    return k.maximum(k.shuffle(f"{mode}_lo", low, high), k.shuffle(f"{mode}_hi", low, high))


def raise_references(k: Kernel, scores: View, state: View, subtrahends: View) -> Scalar:
    """Each row's reference raised to its maximum in whole octaves; what its scores are reduced by, for row blocks.

    Gives a scalar that is zero where none rises. The reference before stays behind the new one.
    """
    rise: Scalar | None = None
    octaves = k.vector_constant("whole octaves", np.full(32, -OCTAVE), int16)
    unbias = k.vector_constant("unbias", np.full(32, OCTAVE - BIAS), int16)
    references = state.blocks(REFERENCES, GROUPS, 4)
    for i in range(GROUPS):
        tops = [scores[i, j, ROWS * COLUMNS] for j in range(PAIRS)]
        top = k.maximum(k.maximum(*tops[:2]), k.maximum(*tops[2:]))
        # the old one is at least the lowest there may be; that less the bias still fits 16 bits
        known = k.load_halves(references.element(i, 0), references.element(i, 0))
        reference, rows = k.maximum_and_rise(known, k.bit_and(top, octaves))
        rise = Scalar(k, rows) if rise is None else rise | Scalar(k, rows)
        references[i, 0], _ = k.halves(reference, REFERENCES)
        references[i, 1], _ = k.halves(known, REFERENCES)
        for a, block in enumerate(row_blocks(k, k.add(reference, unbias))):
            subtrahends[i, a] = block
    assert rise is not None
    return rise


def row_blocks(k: Kernel, rows: Vector) -> list[Vector]:
    """Sixteen lanes, given twice, as four 4×8 blocks of equal columns."""
    twice = k.shuffle("T16_2x32_lo", rows)
    blocks = []
    for half in ("lo", "hi"):
        eight = k.shuffle(f"T32_2x16_{half}", twice)
        blocks += [k.shuffle("T64_2x8_lo", eight), k.shuffle("T64_2x8_hi", eight)]
    return blocks


def weigh(
    k: Kernel, scores: View, subtrahends: View, dithers: View, weights: View, rescaling: View | None = None
) -> None:
    """P = 2^(S − reference), 8 bits, dithered. Beside that `rescaling`: the state, whose running sums are shifted."""
    pairs_of_rows = weights.blocks(TWO_WEIGHTS, GROUPS, DEPTH, ROWS // 2)
    scale = k.shift_amount(WEIGHT_BITS)
    for i, j in k.grid(GROUPS, PAIRS, name="weights" if rescaling is None else "weights, rescaling"):
        if rescaling is not None:
            with k.stage(SOFTMAX, "rescale"):
                shift_running_sums(rescaling, i, j)
        for half in range(ROWS // 2):
            reduce_by = [subtrahends[i, 2 * half + a] for a in (0, 1)]
            for b in range(COLUMNS):
                dither = dithers[2 * j + b]
                words = []
                for a in (0, 1):
                    exponents = k.excess(scores[i, j, COLUMNS * (2 * half + a) + b], reduce_by[a])
                    words.append(k.add(k.low_words(*k.floor_of_bfloat(exponents, scale)), dither))
                pairs_of_rows[i, 2 * j + b, half] = k.high_bytes(*words)


def shift_running_sums(state: View, i: Index, part: Index) -> None:
    """Divide the running sums of a quarter of a group's rows by two to the octaves by which their references rose.

    Like all sums, rounded down. One at a time: the core shifts all lanes of a vector by the same amount.
    """
    group, row = 2 * LANES.bytes, (PAIRS, 4)
    references = state.strided(int16, (GROUPS, 2, *row), (group, REFERENCES.bytes, 4 * int16.bytes, int16.bytes))
    running = state.strided(int32, (GROUPS, 2, *row), (group, LANES.bytes, 4 * int32.bytes, int32.bytes))
    for r in range(4):
        octaves = (references[i, 0, part, r] - references[i, 1, part, r]) >> OCTAVE_BITS
        running[i, 1, part, r] = running[i, 1, part, r] >> minimum(octaves, MAX_RESCALE)


def weighted_sums(k: Kernel, weights: View, values: View, sums: list[View], state: View) -> None:
    """sums += P·V, running sums += P·1."""
    first_row = k.vector_constant("first row", np.repeat([1, 0], [8, 56]), int8)
    row_sums = RowSums(k, first_row, weights, state)
    for i, j in k.grid(GROUPS, PAIRS, name="weighted sums"):
        totals = [[k.load_accumulator(sums[b].element(i, j, a)) for b in range(COLUMNS)] for a in range(ROWS)]
        for n, keys in enumerate(SUM_RUNS):
            left = [[weights[i, c, a] for c in keys] for a in range(ROWS)]
            right = [[values[j, c, b] for b in range(COLUMNS)] for c in keys]
            for a in range(ROWS):
                for b in range(COLUMNS):
                    for d in range(len(keys)):
                        totals[a][b] += product(left[a][d], right[d][b])
            row_sums.add(i, j, n)
        for a in range(ROWS):
            for b in range(COLUMNS):
                sums[b][i, j, a] = totals[a][b]


def rescaled_sums(k: Kernel, weights: View, values: View, sums: list[View], state: View) -> None:
    """As `weighted_sums`, with the sums shifted as they are loaded.

    Two row blocks after the other two: then half of the accumulators are stored, and loaded again, while the others
    are at work. The second two take V's blocks in the opposite order, so that some are still there.
    """
    most = np.full(16, MAX_RESCALE * OCTAVE, np.int16).view(np.int8)
    constants = k.vector_constant("first row, most octaves", np.concatenate([np.repeat([1, 0], [8, 24]), most]), int8)
    row_sums = RowSums(k, constants, weights, state)
    references = state.blocks(REFERENCES, GROUPS, 4)
    zero = k.shift_amount(0)
    for i, j in k.grid(GROUPS, PAIRS, name="weighted sums, rescaling"):
        totals: list[tuple[Accumulator, Accumulator]] = []
        with k.stage(SOFTMAX, "rescale"):
            now = k.load_halves(references.element(i, 0), references.element(i, 0))
            before = k.load_halves(references.element(i, 0), references.element(i, 1))
            # only the high halves count; unsigned, since a rise may be above the largest signed number of 16 bits
            rise = k.lesser(k.subtract(now, before), constants.read_as(LANES))
            octaves = k.add(rise, rise)  # in the high bytes
            for a in range(ROWS):
                lanes = range(ROWS * 4 + 4 * a, ROWS * 4 + 4 * (a + 1))
                amounts = (k.byte_amount(octaves, 2 * lane + 1) for lane in lanes)
                totals.append(k.load_shifted((sums[0].element(i, j, a), sums[1].element(i, j, a)), zero, amounts))
        right: dict[int, list[Vector]] = {}
        for step, c in enumerate((*range(DEPTH), *reversed(range(DEPTH)))):
            rows = (0, 1) if step < DEPTH else (2, 3)
            if step < DEPTH or c < DEPTH - KEPT:
                right[c] = [values[j, c, b] for b in range(COLUMNS)]
            for a in rows:
                left = weights[i, c, a]
                for b in range(COLUMNS):
                    k.accumulate(totals[a][b], product(left, right[c][b]))
            if step in ROW_SUMS_AFTER:
                row_sums.add(i, j, ROW_SUMS_AFTER.index(step))
        for a in range(ROWS):
            for b in range(COLUMNS):
                sums[b][i, j, a] = totals[a][b]


class RowSums:
    """Running sums += P·1, in one accumulator: eight rows at a time, in its first row; nobody reads the others.

    `constants` starts with a 4×8 block whose first row is ones, the others zero.
    """

    def __init__(self, k: Kernel, constants: Vector, weights: View, state: View) -> None:
        self.k, self.first_row = k, Vector(constants.register, LEFT)
        self.weights = weights.blocks(TWO_WEIGHTS, GROUPS, DEPTH, ROWS // 2)
        self.running = state.blocks(ROW, GROUPS, 4)
        self.sums = k.accumulator()
        with k.stage(SOFTMAX, "sum"):
            self.sums.set(product(self.first_row, constants))

    def add(self, i: Index, j: Index, n: int) -> None:
        """For half a group's rows, number `n`, and one pair of blocks of keys."""
        k, of_rows = self.k, self.running.element(i, 2 + n)
        with k.stage(SOFTMAX, "sum"):
            k.reload_row(self.sums, 0, of_rows)
            for b in range(COLUMNS):
                transposed = k.shuffle("T8_8x8", self.weights[i, 2 * j + b, n])
                self.sums += product(self.first_row, transposed)
            k.store_row(of_rows, self.sums, 0)
