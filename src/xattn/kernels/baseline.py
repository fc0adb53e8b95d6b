"""`baseline`: scalar attention, row by row, in the seed's first arithmetic. The rung that the others are compared with.

Input: Q, K, V row-major in one buffer; output: O row-major.
"""

from __future__ import annotations

from xattn.compiler.language import Kernel, int8
from xattn.kernels.scalar_attention import row_buffers, scores_of_row, softmax_row, weighted_sum_row


def baseline(k: Kernel, tokens: int, width: int) -> None:
    """One row at a time: scores, softmax, weighted sum."""
    q, keys, values = k.arguments("qkv", int8, (3, tokens, width))
    out = k.argument("out", int8, (tokens, width))
    shift = k.scalar("shift")
    scores, weights, exponentials = row_buffers(k, 1, tokens)
    for i in k.loop(tokens, name="rows"):
        scores_of_row(k, q[i], keys, scores[0], shift)
        softmax_row(k, scores[0], weights[0], exponentials)
        weighted_sum_row(k, weights[0], values, out[i])
