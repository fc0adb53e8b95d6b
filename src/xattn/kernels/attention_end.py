"""`attention_end`: 64 rows of accumulators over their running sums, to int8 (see numerics: layers attention_end).

A loop of scalars finds each row's shift and reciprocal. The loop of vectors takes four rows at a time: since each has
its own shift, an accumulator is filled with four pieces of the same row, which lie in four 4×8 blocks. Shuffles put the
narrowed pieces back into 4×8 blocks.

Layouts: sums and state as `sound` leaves them; `out` in panels of rows, `[4, 8, 4]` 4×8 blocks, as products take it.
"""

from __future__ import annotations

from xattn.compiler.language import (
    Kernel,
    Vector,
    VectorType,
    View,
    int8,
    int16,
    int32,
    lane_product,
    leading_zeros,
)
from xattn.compiler.language.vector import HalfVector
from xattn.kernels.blocks import LEFT
from xattn.kernels.gelu import ROUND_TO_NEAREST
from xattn.numerics.layers.attention_end import ACCUMULATOR_ZEROS, INDEX_BITS, reciprocal_table

LANES, ROW = VectorType(int16, 32), VectorType(int32, 8)
GROUPS, ROWS, PAIRS, COLUMNS = 4, 4, 4, 2
TOKENS = 64
GROUP_ROWS = TOKENS // GROUPS


def attention_end(k: Kernel) -> None:
    """out = accumulators / running sums."""
    sums = [k.argument(f"sums{n}", ROW, (GROUPS, PAIRS, ROWS, ROWS), bank=2 + n) for n in range(COLUMNS)]
    state = k.argument("state", LANES, (GROUPS, 2), bank=1)
    out = k.argument("out", LEFT, (GROUPS, PAIRS, COLUMNS, ROWS), bank=0)
    narrow = k.shift_amount(k.scalar("narrow"))
    of_rows = k.scratch("of rows", int32, (GROUPS, GROUP_ROWS, 2), bank=1)
    _shifts_and_reciprocals(k, state, of_rows)
    k.set_control("crSat", 1)
    k.set_control("crRnd", ROUND_TO_NEAREST)
    numbers = of_rows.strided(int32, (GROUPS, ROWS, ROWS, 2), (8 * GROUP_ROWS, 8 * ROWS, 8, 4))
    for i, a in k.grid(GROUPS, ROWS, name="row blocks"):
        for n, half in enumerate(sums):
            narrowed = []
            for row in range(ROWS):
                total = k.accumulator()
                for j in range(PAIRS):
                    k.reload_row(total, j, half.element(i, j, a, row))
                down = k.shift_amount(numbers[i, a, row, 0])
                reciprocal = k.from_scalars([numbers[i, a, row, 1]])
                total.set(lane_product(k.widened(k.narrow(total, down, int16)), reciprocal))
                narrowed.append(k.narrow(total, narrow, int8))
            pairs = [k.side_by_side(*narrowed[row : row + 2]) for row in (0, 2)]
            for j, block in enumerate(_blocks(k, *pairs)):
                out[i, j, n, a] = block
    k.set_control("crSat", 0)
    k.set_control("crRnd", 0)


def _shifts_and_reciprocals(k: Kernel, state: View, of_rows: View) -> None:
    """By row: 24 less the leading zeros of its running sum, and the reciprocal of what follows them."""
    table = k.constant("reciprocals", reciprocal_table(), int16, bank=0)
    running = state.strided(int32, (GROUPS, 2 * GROUP_ROWS), (2 * LANES.bytes, int32.bytes))
    for i, row in k.grid(GROUPS, GROUP_ROWS, name="rows"):
        total = running[i, GROUP_ROWS + row]
        zeros = leading_zeros(total)
        # without the leading one
        rest = ((total << (zeros + 1)) >> (32 - INDEX_BITS)) & ((1 << INDEX_BITS) - 1)
        of_rows[i, row, 0] = ACCUMULATOR_ZEROS - zeros
        of_rows[i, row, 1] = table.at(rest)


def _blocks(k: Kernel, first: Vector, second: Vector) -> list[HalfVector]:
    """Rows 0 and 1, rows 2 and 3, of four pieces of eight bytes → for each piece the 4×8 block of the four rows."""
    for _ in range(2):  # even and odd pieces, twice: a transpose of 4×4 pieces
        first, second = (k.shuffle(f"T64_8x2_{half}", first, second) for half in ("lo", "hi"))
    return [*k.halves(first, LEFT), *k.halves(second, LEFT)]
