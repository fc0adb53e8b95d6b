"""The integer softmaxes of the compatible models: scores `[..., keys]` in, int8 weights of the same shape out.

Each normalises to a sum of about 127 before V is seen, which leaves 64 keys with one to seven levels each.
Divisions are floors of non-negative numbers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xattn.errors import InputError
from xattn.numerics.checks import require_dtype
from xattn.numerics.lut import INDEX_OFFSET, exp_table

WEIGHT_ONE = 127
"""The weight that stands for 1."""

_SEED_TABLE = exp_table().astype(np.int64)
_V3_TABLE = np.array([max(1, math.floor(2**20 * math.exp(-n))) for n in range(128)], dtype=np.int64)


def weights_v0(scores: NDArray[np.int8]) -> NDArray[np.int8]:
    """Apply v0's softmax: a parabola for exp, so flat that the largest e is only twice the smallest.

    `x = clamp(s - max, -64, 0)`, `e = max(0, 64 + x + floor(x^2 / 128))`, `w = min(127, floor(127 e / sum e))`.
    """
    x = np.maximum(_below_maximum(scores, np.int8), -64)
    return _floor_weights(np.maximum(0, 64 + x + ((x * x) >> 7)))


def weights_v1(scores: NDArray[np.int8]) -> NDArray[np.int8]:
    """Apply v1's softmax: three pieces that do not join, so that e is not monotonic in the score.

    `x = clamp(s - max, -127, 0)`; e = 1 up to -80, `floor(65536 / (256 - 4x))` up to -40, else
    `max(1, 256 + 8x + (((x^2) >> 5) >> 1))`; `w = clamp(floor((127 e + floor(sum / 2)) / sum), 0, 127)`.
    """
    x = np.maximum(_below_maximum(scores, np.int8), -127)
    near = np.maximum(1, 256 + 8 * x + (((x * x) >> 5) >> 1))
    middle = 65536 // (256 - 4 * x)
    e = np.where(x <= -80, 1, np.where(x <= -40, middle, near))
    total = e.sum(axis=-1, keepdims=True)
    weights: NDArray[np.int8] = np.clip((WEIGHT_ONE * e + total // 2) // total, 0, WEIGHT_ONE).astype(np.int8)
    return weights


def weights_v3(scores: NDArray[np.int32]) -> NDArray[np.int8]:
    """Apply v3's softmax over unclamped int32 scores: one nat per 256 score units, whatever the data's scales.

    `x = clamp((s - max) >> 8, -127, 0)`, `e = max(1, floor(2^20 exp(x)))`,
    `w = min(127, floor((e >> 10) * 127 / max(1, sum e >> 10)))`: seven non-zero levels of e survive the `>> 10`.
    """
    x = np.clip(_below_maximum(scores, np.int32) >> 8, -127, 0)
    e = _V3_TABLE[-x]
    total = np.maximum(1, e.sum(axis=-1, keepdims=True) >> 10)
    weights: NDArray[np.int8] = np.minimum(WEIGHT_ONE, (e >> 10) * WEIGHT_ONE // total).astype(np.int8)
    return weights


def weights_lut(scores: NDArray[np.int8]) -> NDArray[np.int8]:
    """Apply the LUT softmax: `x = max(s - max, -128)`, `e = table[x + 128]`, `w = min(127, floor(127 e / sum e))`.

    The table is `xattn.numerics.lut.exp_table()` with its default scale.
    """
    x = np.maximum(_below_maximum(scores, np.int8), -INDEX_OFFSET)
    return _floor_weights(_SEED_TABLE[x + INDEX_OFFSET])


def _below_maximum(scores: NDArray[Any], dtype: type[np.int8] | type[np.int32]) -> NDArray[np.int64]:
    """Subtract each row's maximum; int64, so that neither int8 nor int32 scores wrap."""
    require_dtype("scores", scores, [dtype])
    if scores.ndim == 0 or scores.shape[-1] == 0:
        raise InputError(f"scores have shape {scores.shape}, expected [..., keys] with at least one key")
    wide = scores.astype(np.int64)
    top: NDArray[np.int64] = wide.max(axis=-1, keepdims=True)
    return wide - top


def _floor_weights(e: NDArray[np.int64]) -> NDArray[np.int8]:
    total = e.sum(axis=-1, keepdims=True)
    weights: NDArray[np.int8] = np.minimum(WEIGHT_ONE, WEIGHT_ONE * e // total).astype(np.int8)
    return weights
