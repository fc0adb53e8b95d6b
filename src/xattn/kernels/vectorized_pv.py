"""`vectorized_pv`: both matrix products on the multiplier, only the softmax still scalar.

The softmax reads scores from panels and writes weights into panels: what one product gives, the next one takes, and no
byte has to move between them. V needs no transpose either, for a product runs down its columns.
Input: Q, K, V row-major in one buffer; the kernel cuts all three into panels itself. Output: O row-major.
"""

from __future__ import annotations

from xattn.compiler.language import Kernel, int8, int32
from xattn.kernels.blocks import LEFT, RIGHT, column_panels, rows_of_panels
from xattn.kernels.products import product_tiles
from xattn.kernels.scalar_attention import GROUP, softmax_row
from xattn.kernels.stages import OUTPUT, SOFTMAX
from xattn.kernels.vectorized import panel_rows, tiles_of_panels, vector_scores


def vectorized_pv(k: Kernel, tokens: int, width: int) -> None:
    """Panels, scores by block products, softmax row by row, weights times V by block products, rows."""
    q, keys, values = k.arguments("qkv", int8, (3, tokens, width))
    out = k.argument("out", int8, (tokens, width))
    scores = vector_scores(k, q, keys, k.scalar("shift"))

    weights = k.scratch("weight panels", LEFT, scores.shape)
    exponentials = k.scratch("exponentials", int32, (tokens // GROUP, GROUP))
    with k.stage(SOFTMAX):
        for i in k.loop(tokens // 16, name="panels"):
            for r in k.loop(16, name="rows"):
                softmax_row(k, panel_rows(scores)[i, r], panel_rows(weights)[i, r], exponentials)

    value_panels = k.scratch("value panels", RIGHT, (width // 16, tokens // 8, 2))
    with k.stage(OUTPUT, "panels"):
        column_panels(k, values, value_panels)
    out_panels = k.scratch("out panels", RIGHT, (tokens // 16, width // 8, 2))
    out_blocks = out_panels.blocks(LEFT, tokens // 16, width // 8, 4)
    with k.stage(OUTPUT, "products"):
        product_tiles(k, weights, value_panels, tiles_of_panels(out_blocks))
    with k.stage(OUTPUT, "rows"):
        rows_of_panels(k, out_panels, out)
