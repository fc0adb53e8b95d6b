"""The two matrix stages of the compatible models: scores = Q @ K^T and O = weights @ V, with their integer narrowing.

All `>>` are arithmetic: they round towards minus infinity, so negative numbers are biased. That is part of the models.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xattn.errors import InputError
from xattn.numerics.checks import require_dtype, require_matrix
from xattn.numerics.matmul import matmul_int
from xattn.numerics.rounding import saturate

DEFAULT_SHIFT = 4
"""Divides the scores by 16, the constant of the original design; its comments speak of 3, i.e. sqrt(64)."""

MAX_SHIFT = 31
OUTPUT_SHIFT = 7


def scores_clamped(q: NDArray[np.int8], k: NDArray[np.int8], shift: int = DEFAULT_SHIFT) -> NDArray[np.int8]:
    """Compute `clamp(dot >> shift, -128, 127)` in int8: Q, K `[..., tokens, dim]` -> `[..., queries, keys]`.

    The score stage of v0, v1 and the LUT model. Random int8 data saturate it nearly everywhere.
    """
    return saturate(scores_wide(q, k, shift), np.int8)


def scores_wide(q: NDArray[np.int8], k: NDArray[np.int8], shift: int = DEFAULT_SHIFT) -> NDArray[np.int32]:
    """Compute `dot >> shift` in int32: Q, K `[..., tokens, dim]` -> `[..., queries, keys]`.

    The score stage of v3.

    Raises:
        InputError: an operand that is not an int8 matrix, different head sizes, or a shift outside 0..31.
    """
    for name, array in (("q", q), ("k", k)):
        require_dtype(name, array, [np.int8])
        require_matrix(name, array)
    if not 0 <= shift <= MAX_SHIFT:
        raise InputError(f"shift is {shift}, expected 0 to {MAX_SHIFT}")
    if q.shape[-1] != k.shape[-1]:
        raise InputError(f"q has {q.shape[-1]} columns and k has {k.shape[-1]}: both need the same head size")
    return (matmul_int(q, k.swapaxes(-1, -2)) >> shift).astype(np.int32)


def output_floor(weights: NDArray[np.int8], v: NDArray[np.int8]) -> NDArray[np.int8]:
    """Compute `clamp(t >> 7, -128, 127)` with `t = weights @ V`: the output stage of v0 and the LUT model.

    Args:
        weights: `[..., queries, keys]` int8.
        v: `[..., keys, width]` int8.

    Returns:
        `[..., queries, width]` int8.
    """
    return saturate(_weighted_sum(weights, v) >> OUTPUT_SHIFT, np.int8)


def output_rounded(weights: NDArray[np.int8], v: NDArray[np.int8]) -> NDArray[np.int8]:
    """Compute `clamp((t + 64 sgn(t)) >> 7, -128, 127)` with sgn(0) = 1: the output stage of v1 and v3.

    Meant as rounding to the nearest; as `>>` floors, every t from -64 to -1 gives -1. Shapes as in `output_floor`.
    """
    total = _weighted_sum(weights, v)
    half = np.where(total < 0, -64, 64)
    return saturate((total + half) >> OUTPUT_SHIFT, np.int8)


def _weighted_sum(weights: NDArray[np.int8], v: NDArray[np.int8]) -> NDArray[np.signedinteger[Any]]:
    for name, array in (("weights", weights), ("v", v)):
        require_dtype(name, array, [np.int8])
        require_matrix(name, array)
    return matmul_int(weights, v)
