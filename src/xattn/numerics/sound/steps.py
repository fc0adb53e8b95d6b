"""The steps of one sound attention block, each a pure function of integers, in the order in which they are taken.

Scores are fixed-point logarithms: int16 in 1/128 octave, so that 128 is a factor of 2 and `2**(s / 128)` is the
weight of a score. That unit is chosen because a number of 1/128 octaves plus 127 * 128, read as the bits of a
bfloat16, *is* a power of two with a linear mantissa, `(1 + f) * 2**n`: no table, no multiplication. It exceeds the true
power by at most 6.1 %, is exact at whole octaves, and falls to an exact zero, which is what attention needs:
most of the probability mass may sit in keys of small weight, whose relative error counts.

Axes: `[..., queries, keys]` for score-shaped arrays, `[..., queries]` for per-row state; a block is usually 64 x 64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xattn.numerics.matmul import matmul_int
from xattn.numerics.rounding import Rounding, saturate, shift_right

OCTAVE = 128
"""Score units to a factor of 2: the mantissa of a bfloat16 has seven bits."""

BIAS = 127 * OCTAVE
"""The exponent bias of bfloat16 in score units: `float(bits = BIAS)` is 1."""

MIN_REFERENCE = -32768 + BIAS
"""The lowest row reference, -16512 = -129 octaves: below it `reference - BIAS` would leave int16."""

MAX_REFERENCE = 32768
"""The highest row reference, above scores that saturate int16."""

MASKED_SCORE = np.int16(-32768)
"""Stands for minus infinity: against any reference its weight is exactly 0."""

MAX_RESCALE = 31
"""A shift by more octaves than this leaves an int32 at its sign: 0 or, when flooring, -1."""


def scores(
    q: NDArray[np.int8], k: NDArray[np.int8], shift: int | NDArray[np.integer[Any]], rounding: Rounding = "floor"
) -> NDArray[np.int16]:
    """Compute `S = sat16(round(Q @ K^T / 2**shift))` in 1/128 octave.

    Args:
        q: `[..., queries, dim]` int8.
        k: `[..., keys, dim]` int8.
        shift: scalar, or an array that broadcasts against the scores (one shift a head: `[heads, 1, 1]`). The int8
            scales are chosen so that a power of two is all that is needed. Negative shifts go to the left.
        rounding: `floor` differs from the nearest by half a unit for all keys of a row alike, which softmax ignores.

    Returns:
        `[..., queries, keys]` int16.
    """
    dot = matmul_int(q, k.swapaxes(-1, -2))
    amount = np.asarray(shift, dtype=np.int64)
    if (amount < 0).any():
        # |dot| < 2^31, and beyond 16 places to the left everything but 0 is saturated: int64 holds it.
        dot = dot.astype(np.int64) << np.clip(-amount, 0, 16)
    return saturate(shift_right(dot, np.maximum(amount, 0), rounding), np.int16)


def mask_scores(s: NDArray[np.int16], key_mask: NDArray[np.bool_]) -> NDArray[np.int16]:
    """Replace the scores of keys that may not be attended to (False in a mask that broadcasts) by `MASKED_SCORE`."""
    return np.where(key_mask, s, MASKED_SCORE)


def block_reference(s: NDArray[np.int16]) -> NDArray[np.int32]:
    """Return the next higher whole octave above each row's maximum: `(max & ~127) + 128`, at least `MIN_REFERENCE`.

    *Strictly* above: the largest weight stays below 1, so that its code never overflows 8 bits, dither included. A
    whole octave: so that changing the reference is a shift.

    Returns:
        `[..., queries]` int32, multiples of 128 from -16512 to 32768; `reference - 128` and `reference - BIAS` fit
        int16.
    """
    top = s.max(axis=-1).astype(np.int32)
    reference: NDArray[np.int32] = np.maximum((top & ~(OCTAVE - 1)) + OCTAVE, MIN_REFERENCE)
    return reference


def subtrahend(reference: NDArray[np.int32]) -> NDArray[np.int16]:
    """Return `reference - BIAS`, what a row's scores are reduced by; int16 for every reference."""
    return (reference - BIAS).astype(np.int16)


def exponents(s: NDArray[np.int16], reference: NDArray[np.int32]) -> NDArray[np.int16]:
    """Compute `d = max(S + BIAS - reference, 0)`: the bfloat16 bits of the weight, `[..., queries, keys]` int16.

    From 0, the exact zero that clamps the tail, to BIAS - 1, just below 1.
    """
    difference = s.astype(np.int32) - subtrahend(reference)[..., np.newaxis]
    d: NDArray[np.int16] = np.maximum(difference, 0).astype(np.int16)
    return d


def linear_exp2(d: NDArray[np.int16]) -> NDArray[np.uint16]:
    """Compute `p16 = floor(bfloat16(bits = d) * 2**16)`: weights in 1/65536, 0 to 65280.

    Sixteen octaves below 1 the weight is 0. Subnormal bits need no care: they are far below that.
    """
    value = (d.astype(np.uint32) << 16).view(np.float32)
    p16: NDArray[np.uint16] = (value * np.float32(65536)).astype(np.uint16)
    return p16


def narrow(p16: NDArray[np.uint16], dither: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Compute `P = (p16 + dither) >> 8`, the unnormalised weights in 1/256: 0 to 255, never overflowing.

    A constant 128 rounds to the nearest, which loses every key lighter than 1/512 of its row's reference. A dither
    that differs between neighbouring keys keeps their sum right on average.
    """
    return ((p16 + dither.astype(np.uint16)) >> 8).astype(np.uint8)


def rescale(x: NDArray[np.int32], octaves: NDArray[np.int32], rounding: Rounding = "floor") -> NDArray[np.int32]:
    """Divide running int32 state by `2**octaves`, which broadcasts; more than 31 octaves act as 31."""
    return shift_right(x, np.minimum(octaves, MAX_RESCALE), rounding).astype(np.int32)
