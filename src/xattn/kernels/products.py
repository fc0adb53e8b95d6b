"""`qkt` and `matmul_int8`: one int8 matrix product at the multiplier's rate, narrowed to int8 on its way out.

Both take panels (see `panels`) and give tiles of 16×16 in 4×8 blocks. One loop runs over all tiles: four row blocks
times two column blocks, eight accumulators, a new product every cycle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xattn.compiler.ir import VirtualRegister
from xattn.compiler.language import Accumulator, Kernel, Scalar, Vector, View, int8, product
from xattn.kernels.blocks import LEFT, RIGHT
from xattn.kernels.stages import SCORES

ROW_BLOCKS, COLUMN_BLOCKS = 4, 2
MATMUL_SHIFT = 7


def qkt(k: Kernel, tokens: int, width: int) -> None:
    """S = clamp(Q·Kᵀ >> shift). Q and K in panels of rows; K's blocks are transposed on their way to the multiplier."""
    q = k.argument("q", LEFT, (tokens // 16, width // 8, ROW_BLOCKS), bank=1)
    keys = k.argument("k", RIGHT, (tokens // 16, width // 8, COLUMN_BLOCKS), bank=2)
    out = k.argument("out", LEFT, (tokens // 16, tokens // 16, ROW_BLOCKS, COLUMN_BLOCKS), bank=3)
    score_tiles(k, q, keys, out, k.scalar("shift"))


def matmul_int8(k: Kernel, tokens: int, width: int) -> None:
    """C = clamp(A·B >> 7) for square matrices. A in panels of rows, B in panels of columns."""
    a = k.argument("a", LEFT, (tokens // 16, width // 8, ROW_BLOCKS), bank=1)
    b = k.argument("b", RIGHT, (tokens // 16, width // 8, COLUMN_BLOCKS), bank=2)
    out = k.argument("out", LEFT, (tokens // 16, tokens // 16, ROW_BLOCKS, COLUMN_BLOCKS), bank=3)
    with k.stage("A·B"):
        product_tiles(k, a, b, out)


def score_tiles(k: Kernel, q: View, keys: View, out: View, shift: Scalar) -> None:
    """Tiles of clamp(Q·Kᵀ >> shift). Panels of rows: Q in 4×8 blocks, K in 8×8 blocks."""
    with k.stage(SCORES, "products"):
        tiles(k, q, keys, out, k.shift_amount(shift), lambda block: k.shuffle("T8_8x8", block))


def product_tiles(k: Kernel, left: View, right: View, out: View) -> None:
    """Tiles of clamp(left·right >> 7): panels of rows in 4×8 blocks, panels of columns in 8×8 blocks."""
    tiles(k, left, right, out, k.shift_amount(MATMUL_SHIFT), lambda block: block)


def tiles(
    k: Kernel, left: View, right: View, out: View, shift: VirtualRegister, prepare: Callable[[Vector], Vector]
) -> None:
    """out[i, j] = clamp(sum over c of left[i, c] × prepare(right[j, c]) >> shift), a tile of 16×16 each."""
    k.set_control("crSat", 1)
    for i, j in k.grid(left.shape[0], right.shape[0], name="tiles"):
        sums = sums_of_tile(k, left[i], right[j], prepare)
        for a in range(ROW_BLOCKS):
            for b in range(COLUMN_BLOCKS):
                out[i, j, a, b] = k.narrow(sums[a][b], shift, int8)
    k.set_control("crSat", 0)


def sums_of_tile(
    k: Kernel, left: View, right: View, prepare: Callable[[Vector], Vector], runs: Sequence[Sequence[int]] = ()
) -> list[list[Accumulator]]:
    """A panel of rows times the panel `prepare(right)`: sums by row block and column block.

    `runs` cuts the depth into pieces that are summed up row block by row block, one at a time if not given. Where the
    last run is longer, sums are done one after another instead of all at once.
    """
    sums = [[k.accumulator() for _ in range(COLUMN_BLOCKS)] for _ in range(ROW_BLOCKS)]
    for run in runs or [(c,) for c in range(left.shape[0])]:
        lefts = [[left[c, a] for a in range(ROW_BLOCKS)] for c in run]
        rights = [[prepare(right[c, b]) for b in range(COLUMN_BLOCKS)] for c in run]
        for a in range(ROW_BLOCKS):
            for at, c in enumerate(run):
                for b in range(COLUMN_BLOCKS):
                    if c == 0:
                        sums[a][b].set(product(lefts[at][a], rights[at][b]))
                    else:
                        sums[a][b] += product(lefts[at][a], rights[at][b])
    return sums
