"""`tiled`: the same scalar arithmetic in two tiles of rows, each stage over a whole tile before the next.

This is how the seed's measured kernel is built: its "tiled version, 1.2–1.5 times faster" is the very kernel that its
baseline time belongs to. The seed keeps a tile's scores and weights on a stack that is too small for them; here they
are the kernel's own memory. Input: Q, K, V row-major in one buffer; output: O row-major.
"""

from __future__ import annotations

from xattn.compiler.language import Kernel, int8
from xattn.kernels.scalar_attention import row_buffers, scores_of_row, softmax_row, weighted_sum_row
from xattn.kernels.stages import OUTPUT, SCORES, SOFTMAX

TILES = 2


def tiled(k: Kernel, tokens: int, width: int) -> None:
    """Two tiles of rows; in each: all scores, all softmaxes, all weighted sums."""
    q, keys, values = k.arguments("qkv", int8, (3, tokens, width))
    out = k.argument("out", int8, (tokens, width))
    shift = k.scalar("shift")
    rows = tokens // TILES
    scores, weights, exponentials = row_buffers(k, rows, tokens)
    for tile in k.loop(TILES, name="tiles"):
        with k.stage(SCORES):
            for i in k.loop(rows, name="score rows"):
                scores_of_row(k, q[tile * rows + i], keys, scores[i], shift)
        with k.stage(SOFTMAX):
            for i in k.loop(rows, name="softmax rows"):
                softmax_row(k, scores[i], weights[i], exponentials)
        with k.stage(OUTPUT):
            for i in k.loop(rows, name="output rows"):
                weighted_sum_row(k, weights[i], values, out[tile * rows + i])
