"""`lut`: scalar attention with a table in place of the parabola. `vectorized_lut`: the same behind vector scores.

The seed's table (numerics: compat lut) is read at max(score − max, −128). Here it is laid out by how far a score lies
below the max, 0 to 255, with the last entry repeated: the look-up needs neither an offset nor a clamp.
Input: Q, K, V row-major in one buffer; output: O row-major.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from xattn.compiler.language import Kernel, Scalar, int8, uint8
from xattn.kernels.scalar_attention import row_buffers, scores_of_row, softmax_row, weighted_sum_row
from xattn.kernels.vectorized import vectorized
from xattn.numerics.lut import INDEX_OFFSET, exp_table


def lut(k: Kernel, tokens: int, width: int) -> None:
    """One row at a time: scores, softmax, weighted sum."""
    q, keys, values = k.arguments("qkv", int8, (3, tokens, width))
    out = k.argument("out", int8, (tokens, width))
    shift = k.scalar("shift")
    scores, weights, exponentials = row_buffers(k, 1, tokens)
    exponential = table_lookup(k)
    for i in k.loop(tokens, name="rows"):
        scores_of_row(k, q[i], keys, scores[0], shift)
        softmax_row(k, scores[0], weights[0], exponentials, exponential)
        weighted_sum_row(k, weights[0], values, out[i])


def vectorized_lut(k: Kernel, tokens: int, width: int) -> None:
    """`vectorized` with the table."""
    vectorized(k, tokens, width, table_lookup(k))


def table_lookup(k: Kernel) -> Callable[[Scalar], Scalar]:
    """The table as part of the program, and how a score below its row's max is looked up in it."""
    below = np.arange(256)  # all distances that two 8-bit scores can have
    entries = exp_table()[INDEX_OFFSET - np.minimum(below, INDEX_OFFSET)]
    # a bank of its own: which entry is read depends on data, and so would the conflicts with other accesses
    table = k.constant("exponential table", entries, uint8, bank=0)
    return lambda distance: table.at(distance)
