"""`vectorized`: Q·Kᵀ on the multiplier in 4×8×8 block products; softmax and P·V still scalar.

What the seed's first optimisation asks for, done with the instruction that does it: 256 multiply-accumulates a cycle.
Input: Q, K, V row-major in one buffer; the kernel cuts Q and K into panels itself. Output: O row-major.
"""

from __future__ import annotations

from collections.abc import Callable

from xattn.compiler.language import Kernel, Scalar, View, int8, int32
from xattn.kernels.blocks import LEFT, RIGHT, row_panels
from xattn.kernels.products import score_tiles
from xattn.kernels.scalar_attention import GROUP, parabola, softmax_row, weighted_sum_row
from xattn.kernels.stages import SCORES


def vectorized(k: Kernel, tokens: int, width: int, exponential: Callable[[Scalar], Scalar] = parabola) -> None:
    """Panels, scores by block products, then row by row softmax and weighted sum."""
    q, keys, values = k.arguments("qkv", int8, (3, tokens, width))
    out = k.argument("out", int8, (tokens, width))
    rows = panel_rows(vector_scores(k, q, keys, k.scalar("shift")))
    weights = k.scratch("weights", int8, (tokens // GROUP, GROUP))
    exponentials = k.scratch("exponentials", int32, (tokens // GROUP, GROUP))
    for i in k.loop(tokens // 16, name="panels"):
        for r in k.loop(16, name="rows"):
            softmax_row(k, rows[i, r], weights, exponentials, exponential)
            weighted_sum_row(k, weights, values, out[i * 16 + r])


def vector_scores(k: Kernel, q: View, keys: View, shift: Scalar) -> View:
    """Row-major Q and K, both [tokens, width] → panels of scores, 4×8 blocks [tokens / 16, tokens / 8, 4]."""
    tokens, width = q.shape
    q_panels = k.scratch("q panels", RIGHT, (tokens // 16, width // 8, 2))
    key_panels = k.scratch("key panels", RIGHT, (tokens // 16, width // 8, 2))
    scores = k.scratch("score panels", LEFT, (tokens // 16, tokens // 8, 4))
    with k.stage(SCORES, "panels"):
        row_panels(k, q, q_panels)
        row_panels(k, keys, key_panels)
    score_tiles(k, q_panels.blocks(LEFT, tokens // 16, width // 8, 4), key_panels, tiles_of_panels(scores), shift)
    return scores


def tiles_of_panels(panels: View) -> View:
    """Panels of rows, 4×8 blocks [rows / 16, columns / 8, 4], as tiles of 16×16: [rows / 16, columns / 16, 4, 2]."""
    rows, pieces, blocks = panels.shape
    panel, piece, block = panels.strides
    return panels.strided(LEFT, (rows, pieces // 2, blocks, 2), (panel, 2 * piece, block, piece))


def panel_rows(panels: View) -> View:
    """Panels of rows, 4×8 blocks [rows / 16, columns / 8, 4], row by row in eights: [rows / 16, 16, columns / 8, 8]."""
    panel, piece, _ = panels.strides
    return panels.strided(int8, (panels.shape[0], 16, panels.shape[1], 8), (panel, 8, piece, 1))
