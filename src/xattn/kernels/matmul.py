"""Linear layers: 64×64×64 products whose int32 sums are kept between calls (see numerics: layers linear).

    matmul_start       sums = bias + A·B
    matmul_accumulate  sums += A·B
    matmul_narrow      out = sat8(sat16((sums + A·B) >> first) · multiplier >> second)
    add_residual       x = sat16(((x << lift) + sat16(sums >> first) · multiplier) >> second)

The bias costs nothing: it is what the first call loads instead of sums. The call that narrows stores no sums.

Layouts: A in panels of rows, `[4, 8, 4]` 4×8 blocks; B in panels of columns, `[4, 8, 2]` 8×8 blocks; `out` and `x` in
panels of rows again, so that what one layer gives the next one takes; sums in two arrays, of even and odd block
columns, `[4, 4, 4]` 4×8 int32 each; multipliers `[4, 2]` by column block, eight of them four times over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from xattn.compiler.ir import VirtualRegister
from xattn.compiler.language import (
    Accumulator,
    AccumulatorType,
    Index,
    Kernel,
    Vector,
    VectorType,
    View,
    int8,
    int16,
    int32,
    lane_product,
    product,
)
from xattn.compiler.language.vector import Product
from xattn.kernels.blocks import LEFT, RIGHT
from xattn.kernels.gelu import ROUND_TO_NEAREST

LANES, ROW, SUMS = VectorType(int16, 32), VectorType(int32, 8), AccumulatorType()
GROUPS, ROWS = 4, 4  # groups of four row blocks
PAIRS, COLUMNS = 4, 2  # pairs of block columns
DEPTH = 8  # 8-wide pieces of 64
# Pieces of the depth summed up row block by row block, so that sums are done one after another, not all at once.
RUNS = ((0, 1, 2, 3), (4, 5, 6, 7))

Tile = list[list[Accumulator]]


def matmul_start(k: Kernel) -> None:
    """sums = bias + A·B."""
    a, b = _operands(k)
    bias = k.argument("bias", ROW, (PAIRS, COLUMNS), bank=3)
    sums = _sums(k)

    def begin(_i: Index, j: Index, _row: int, column: int) -> Accumulator:
        total = k.accumulator()
        for row in range(4):
            k.reload_row(total, row, bias.element(j, column))
        return total

    for i, j, totals in _tiles(k, a, b, begin):
        _keep(sums, i, j, totals)


def matmul_accumulate(k: Kernel) -> None:
    """sums += A·B."""
    a, b = _operands(k)
    sums = _sums(k)
    for i, j, totals in _tiles(k, a, b, _kept(k, sums)):
        _keep(sums, i, j, totals)


def matmul_narrow(k: Kernel) -> None:
    """out = the sums, with A·B, in the output's steps: 8 bits."""
    a, b = _operands(k)
    sums = _sums(k)
    multiplier = k.argument("multiplier", LANES, (PAIRS, COLUMNS), bank=1)
    out = k.argument("out", LEFT, (GROUPS, PAIRS * COLUMNS, ROWS), bank=0)
    first, second = _shifts(k)
    _round(k, True)
    for i, j, totals in _tiles(k, a, b, _kept(k, sums)):
        factors = [multiplier[j, column] for column in range(COLUMNS)]
        for row in range(ROWS):
            for column in range(COLUMNS):
                total = totals[row][column]
                total.set(_scaled(k, total, first, factors[column]))
                out[i, 2 * j + column, row] = k.narrow(total, second, int8)
    _round(k, False)


def add_residual(k: Kernel) -> None:
    """x = x and the sums, in its steps: 16 bits."""
    sums = _sums(k)
    multiplier = k.argument("multiplier", LANES, (PAIRS, COLUMNS), bank=1)
    x = k.argument("x", LANES, (GROUPS, PAIRS, COLUMNS, ROWS), bank=0)
    first, second = _shifts(k)
    lift = k.shift_amount(k.scalar("lift"))
    _round(k, True)
    for i, j in k.grid(GROUPS, PAIRS, name="tiles"):
        for column in range(COLUMNS):
            factor = multiplier[j, column]
            for row in range(ROWS):
                total = k.load_accumulator(sums[column].element(i, j, row))
                scaled = _scaled(k, total, first, factor)
                k.raise_words(total, x[i, j, column, row], lift)
                total += scaled
                x[i, j, column, row] = k.widened(k.narrow(total, second, int16))
    _round(k, False)


def _operands(k: Kernel) -> tuple[View, View]:
    a = k.argument("a", LEFT, (GROUPS, DEPTH, ROWS), bank=0)
    return a, k.argument("b", RIGHT, (PAIRS, DEPTH, COLUMNS), bank=1)


def _sums(k: Kernel) -> list[View]:
    return [k.argument(f"sums{n}", SUMS, (GROUPS, PAIRS, ROWS), bank=2 + n) for n in range(COLUMNS)]


def _shifts(k: Kernel) -> tuple[VirtualRegister, VirtualRegister]:
    return k.shift_amount(k.scalar("first")), k.shift_amount(k.scalar("second"))


def _round(k: Kernel, nearest: bool) -> None:
    k.set_control("crSat", int(nearest))
    k.set_control("crRnd", ROUND_TO_NEAREST if nearest else 0)


def _kept(k: Kernel, sums: list[View]) -> Callable[[Index, Index, int, int], Accumulator]:
    return lambda i, j, row, column: k.load_accumulator(sums[column].element(i, j, row))


def _keep(sums: list[View], i: Index, j: Index, totals: Tile) -> None:
    for row in range(ROWS):
        for column in range(COLUMNS):
            sums[column][i, j, row] = totals[row][column]


def _tiles(
    k: Kernel, a: View, b: View, begin: Callable[[Index, Index, int, int], Accumulator]
) -> Iterator[tuple[Index, Index, Tile]]:
    """Tiles of 16×16, in one loop: what `begin` gives for each 4×8 block, plus A·B."""
    for i, j in k.grid(GROUPS, PAIRS, name="tiles"):
        totals = [[begin(i, j, row, column) for column in range(COLUMNS)] for row in range(ROWS)]
        for pieces in RUNS:
            left = [[a[i, c, row] for c in pieces] for row in range(ROWS)]
            right = [[b[j, c, column] for column in range(COLUMNS)] for c in pieces]
            for row in range(ROWS):
                for column in range(COLUMNS):
                    for d in range(len(pieces)):
                        totals[row][column] += product(left[row][d], right[d][column])
        yield i, j, totals


def _scaled(k: Kernel, total: Accumulator, first: VirtualRegister, factor: Vector) -> Product:
    return lane_product(k.widened(k.narrow(total, first, int16)), factor)


def multiplier_lanes(multiplier: NDArray[np.int16]) -> NDArray[np.int16]:
    """int16 `[64]`, one a column → the kernels' array `multiplier`."""
    return np.tile(multiplier.reshape(PAIRS, COLUMNS, 1, 8), (1, 1, 4, 1))
