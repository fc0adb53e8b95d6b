"""Attention one number at a time: the stages that the scalar kernels share.

Arithmetic of the seed (numerics: compat): scores shifted and clamped to 8 bits, an integer in place of the exponential,
weights normalised to 127 in 8 bits. Rows of scores and weights have shape [groups, 8].
"""

from __future__ import annotations

from collections.abc import Callable

from xattn.compiler.language import Kernel, Scalar, View, clamp, divide, int8, int32, maximum, minimum
from xattn.kernels.stages import OUTPUT, SCORES, SOFTMAX

GROUP = 8  # elements handled together: eight loads in flight hide the seven cycles that each takes


def scores_of_row(k: Kernel, q_row: View, keys: View, scores: View, shift: Scalar) -> None:
    """scores[g, e] = clamp(q_row · keys[8g + e] >> shift). Shapes: [64], [keys, 64], [keys / 8, 8]."""
    groups, width = scores.shape[0], keys.shape[1]
    with k.stage(SCORES):
        for g in k.loop(groups, name="key groups"):
            for e in k.loop(GROUP, name="keys"):
                total = k.variable(0)
                for c in k.loop(width, unroll=GROUP, name="dot"):
                    total += q_row[c] * keys[g * GROUP + e, c]
                scores[g, e] = clamp(total >> shift, -128, 127)


def parabola(below: Scalar) -> Scalar:
    """v0's e for a score so far below its row's max: 64 + x + x²/128 of x = max(−below, −64)."""
    distance = minimum(below, 64)
    return maximum(64 - distance + ((distance * distance) >> 7), 0)


def softmax_row(
    k: Kernel, scores: View, weights: View, exponentials: View, exponential: Callable[[Scalar], Scalar] = parabola
) -> None:
    """weights = round down(127 · e / sum of e), e = exponential(max − score), at most 64."""
    groups = scores.shape[0]
    with k.stage(SOFTMAX, "max"):
        best = k.variable(-128)
        for g in k.loop(groups, name="max"):
            for e in range(GROUP):
                best.set(maximum(best, scores[g, e]))
    with k.stage(SOFTMAX, "exp"):
        total = k.variable(0)
        for g in k.loop(groups, name="exp"):
            for e in range(GROUP):
                value = exponential(best - scores[g, e])
                exponentials[g, e] = value
                with k.stage(SOFTMAX, "sum"):
                    total += value
    with k.stage(SOFTMAX, "normalise"):
        for g in k.loop(groups, name="normalise"):
            for e in range(GROUP):
                # 127 · 64 < 2¹³, so thirteen quotient bits are enough
                weights[g, e] = minimum(divide(exponentials[g, e] * 127, total, bits=13), 127)


def weighted_sum_row(k: Kernel, weights: View, values: View, out_row: View) -> None:
    """out_row[c] = clamp(sum over j of weights[j] · values[j, c] >> 7). Shapes: [keys / 8, 8], [keys, 64], [64]."""
    groups, width = weights.shape[0], values.shape[1]
    with k.stage(OUTPUT):
        for c in k.loop(width, name="columns"):
            total = k.variable(0)
            for g in k.loop(groups, name="weighted sum"):
                for e in range(GROUP):
                    total += weights[g, e] * values[g * GROUP + e, c]
            out_row[c] = clamp(total >> 7, -128, 127)


def row_buffers(k: Kernel, rows: int, keys: int) -> tuple[View, View, View]:
    """Scratch for scores and weights of `rows` rows, and for the exponentials of one."""
    groups = keys // GROUP
    scores = k.scratch("scores", int8, (rows, groups, GROUP))
    weights = k.scratch("weights", int8, (rows, groups, GROUP))
    return scores, weights, k.scratch("exponentials", int32, (groups, GROUP))
