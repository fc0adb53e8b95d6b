"""Linear layers in int8: exact int32 sums that start from the bias, then one 16-bit multiplier for each column.

    sums = bias + x·W                                  int32, exact: any order of the depth gives the same
    y = sat8(sat16(sums >> first) · multiplier >> second)

The multiplier holds all scales of the column: input, weights, output. Beside half a step of rounding, 16-bit sums and
multipliers lose 1/128 of a step times how far apart the columns' ratios are. Where the result goes to a residual
stream of 16 bits, it is added before the last shift, so that the sum is rounded once. Where what comes out is
larger than what went in, steps of x' may be worth some octaves more than those of x:

    x' = sat16(((x << (second − octaves)) + sat16(sums >> first) · multiplier) >> second)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xattn.errors import InputError
from xattn.numerics.checks import require_dtype
from xattn.numerics.matmul import matmul_int
from xattn.numerics.rounding import saturate, shift_right

_INT16 = 32767
_MOST_FOR_RESIDUAL = 15
"""A residual number times 2^15, and a product beside it, still fit 32 bits."""


@dataclass(frozen=True)
class Requantization:
    """From int32 sums to the output's steps: `multiplier` int16 `[columns]`, and two shifts."""

    multiplier: NDArray[np.int16]
    first: int
    second: int


def requantization(ratio: NDArray[np.float64], largest: int, limit: int = 127) -> Requantization:
    """The multipliers and shifts for real ratios of one step of the sums to one of the output.

    Args:
        ratio: `[columns]`, positive.
        largest: bound of |sum|.
        limit: bound of the output, which sums beyond it still reach: 127, or 32,767 for a residual stream.

    Raises:
        InputError: ratios that are not positive and finite, or too far apart for multipliers of 16 bits.
    """
    if not (np.isfinite(ratio) & (ratio > 0)).all():
        raise InputError(f"ratio holds {float(np.min(ratio))}, expected positive finite numbers")
    # Sums that matter are those below the output's limit, in the column whose sums are the largest.
    reach = min(float(largest), 1.01 * limit / float(ratio.min()))
    first = max(math.ceil(math.log2(max(reach, 1.0) / _INT16)), 0)
    second = min(
        math.floor(math.log2(_INT16 / float(ratio.max()))) - first, 30 if limit < _INT16 else _MOST_FOR_RESIDUAL
    )
    multiplier = np.rint(ratio * 2.0 ** (first + second))
    if second < 0 or multiplier.min() < 1:
        raise InputError(
            f"ratios from {ratio.min():.3g} to {ratio.max():.3g} are too far apart for multipliers of 16 bits"
        )
    return Requantization(multiplier.astype(np.int16), first, second)


def linear_sums(x: NDArray[np.int8], weight: NDArray[np.int8], bias: NDArray[np.int32]) -> NDArray[np.int32]:
    """bias + x·W: int8 `[..., rows, depth]`, int8 `[depth, columns]`, int32 `[columns]` → int32 `[..., rows, columns]`.

    InputError for other dtypes or shapes, or sums that may leave 32 bits.
    """
    for name, array in (("x", x), ("weight", weight)):
        require_dtype(name, array, [np.int8])
    require_dtype("bias", bias, [np.int32])
    if weight.ndim != 2 or bias.shape != weight.shape[1:]:
        raise InputError(f"weight and bias have shapes {weight.shape} and {bias.shape}: expected [depth, n] and [n]")
    if int(np.abs(bias.astype(np.int64)).max(initial=0)) + weight.shape[0] * 128 * 128 >= 1 << 31:
        raise InputError(f"sums of depth {weight.shape[0]} and this bias may leave 32 bits: scale the bias down")
    sums: NDArray[np.int32] = matmul_int(x, weight).astype(np.int32) + bias
    return sums


def requantize(sums: NDArray[np.int32], by: Requantization) -> NDArray[np.int8]:
    """int32 sums `[..., columns]` → int8."""
    result: NDArray[np.int8] = saturate(shift_right(_scaled(sums, by), by.second, "half_up"), np.int8)
    return result


def add_to_residual(
    residual: NDArray[np.int16], sums: NDArray[np.int32], by: Requantization, octaves: int = 0
) -> NDArray[np.int16]:
    """int16 `[..., columns]`, and int32 sums of the same shape → their int16 sum, in steps of 2^octaves of the former.

    InputError for another dtype, a last shift by which a residual number leaves 32 bits, or one below `octaves`.
    """
    require_dtype("residual", residual, [np.int16])
    if by.second > _MOST_FOR_RESIDUAL:
        raise InputError(f"a last shift of {by.second} is too much beside a residual stream: give its limit, 32767")
    if not 0 <= octaves <= by.second:
        raise InputError(f"{octaves} octaves between residual streams: expected 0 to the last shift, {by.second}")
    total = (residual.astype(np.int64) << (by.second - octaves)) + _scaled(sums, by)
    result: NDArray[np.int16] = saturate(shift_right(total, by.second, "half_up"), np.int16)
    return result


def _scaled(sums: NDArray[np.int32], by: Requantization) -> NDArray[np.signedinteger[Any]]:
    """In units of 2^-second of the output's steps."""
    require_dtype("sums", sums, [np.int32])
    narrow = saturate(shift_right(sums.astype(np.int64), by.first, "half_up"), np.int16)
    return narrow.astype(np.int64) * by.multiplier.astype(np.int64)
