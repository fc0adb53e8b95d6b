"""The first INT8 attention kernel's arithmetic in plain Python integers, written from its description alone."""

from __future__ import annotations

from collections.abc import Sequence

Rows = Sequence[Sequence[int]]


def _clamp(value: int) -> int:
    return max(-128, min(127, value))


def plain_attention(q: Rows, k: Rows, v: Rows, shift: int) -> list[list[int]]:
    """Scores shifted and clamped to 8 bits, e = 64 + x + floor(x²/128), weights of sum about 127, output >> 7."""
    out = []
    for q_row in q:
        scores = [_clamp(sum(a * b for a, b in zip(q_row, k_row, strict=True)) >> shift) for k_row in k]
        x = [max(-64, score - max(scores)) for score in scores]
        e = [max(0, 64 + one + (one * one >> 7)) for one in x]
        weights = [min(127, 127 * one // sum(e)) for one in e]
        columns = zip(*v, strict=True)
        out.append([_clamp(sum(w * c for w, c in zip(weights, column, strict=True)) >> 7) for column in columns])
    return out
