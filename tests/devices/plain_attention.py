"""What the kernels compute, in plain Python integers, written from the descriptions alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

Rows = Sequence[Sequence[int]]


def _clamp(value: int) -> int:
    return max(-128, min(127, value))


def _dot(a: Sequence[int], b: Sequence[int]) -> int:
    return sum(x * y for x, y in zip(a, b, strict=True))


def plain_scores(q: Rows, k: Rows, _v: Rows, shift: int) -> list[list[int]]:
    """Q·Kᵀ shifted and clamped to 8 bits."""
    return [[_clamp(_dot(q_row, k_row) >> shift) for k_row in k] for q_row in q]


def plain_product(a: Rows, b: Rows, _v: Rows, _shift: int) -> list[list[int]]:
    """A·B shifted right by 7 and clamped to 8 bits."""
    return plain_scores(a, [*zip(*b, strict=True)], (), 7)


def _parabola(x: int) -> int:
    x = max(-64, x)
    return max(0, 64 + x + (x * x >> 7))


def _table(x: int) -> int:
    return int(64 * math.exp(max(-128, x) / 64))


def _attention(q: Rows, k: Rows, v: Rows, shift: int, exponential: Callable[[int], int]) -> list[list[int]]:
    """Weights of sum about 127, rounded down; output >> 7."""
    weights = []
    for scores in plain_scores(q, k, v, shift):
        e = [exponential(score - max(scores)) for score in scores]
        weights.append([min(127, 127 * one // sum(e)) for one in e])
    return plain_product(weights, v, (), 7)


def plain_attention(q: Rows, k: Rows, v: Rows, shift: int) -> list[list[int]]:
    """The first INT8 attention kernel's: e = 64 + x + floor(x²/128) of x = max(score − max, −64)."""
    return _attention(q, k, v, shift, _parabola)


def plain_lut_attention(q: Rows, k: Rows, v: Rows, shift: int) -> list[list[int]]:
    """With e = trunc(64 · exp(x / 64)) of x = max(score − max, −128)."""
    return _attention(q, k, v, shift, _table)
