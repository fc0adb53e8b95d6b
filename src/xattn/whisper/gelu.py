"""The exact GELU, x·Φ(x), that Whisper uses: with scipy's error function, or without scipy with our own."""

from __future__ import annotations

import math
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

_STEP = 1 / 64
_LAST = 4.0  # erf(4) = 1 − 1.5e-8, which float32 rounds to 1
_ROWS = 1 << 18  # elements at a time: the temporaries then stay in cache


def gelu(x: Float32) -> Float32:
    """x · (1 + erf(x/√2)) / 2 for float32 values of any shape, float32."""
    flat = x.reshape(-1)
    out = np.empty_like(flat)
    erf = _scipy_erf() or table_erf
    for start in range(0, flat.size, _ROWS):
        part = flat[start : start + _ROWS]
        out[start : start + _ROWS] = 0.5 * part * (1 + erf(part * np.float32(math.sqrt(0.5))))
    return out.reshape(x.shape)


@cache
def _scipy_erf() -> Any:
    """scipy's erf, or None where scipy is not installed."""
    try:
        return import_module("scipy.special").erf
    except ImportError:
        return None


def table_erf(x: Float32) -> Float32:
    """The error function of float32 values with NumPy alone; absolute error below 1e-7, and odd.

    A Taylor step of third order from the nearest of 257 exact points (``math.erf``), 1/64 apart: with |d| ≤ 1/128 the
    remainder is below 2e-9, so that float32's own rounding is what is left.
    """
    value, slope = _table()
    magnitude = np.minimum(np.abs(x), np.float32(_LAST))
    nearest = np.rint(magnitude / np.float32(_STEP))
    point = nearest * np.float32(_STEP)
    d = magnitude - point
    index = nearest.astype(np.int32)
    # With g = erf'(p): erf'' = −2p·g and erf''' = (4p² − 2)·g.
    series = d * (1 - d * (point - d * (2 * point * point - 1) / 3))
    result = value[index] + slope[index] * series
    signed: Float32 = np.copysign(result, x)
    return signed


@cache
def _table() -> tuple[Float32, Float32]:
    """erf and its derivative 2/√π·exp(−p²) at the points p = 0, 1/64, …, 4."""
    points = [i * _STEP for i in range(int(_LAST / _STEP) + 1)]
    value = np.array([math.erf(p) for p in points], np.float32)
    slope = np.array([2 / math.sqrt(math.pi) * math.exp(-p * p) for p in points], np.float32)
    return value, slope
