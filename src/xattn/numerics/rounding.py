"""Shifts to the right with a stated rounding, and saturation: the two ways in which integer models lose bits."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from xattn.errors import InputError

Rounding: TypeAlias = Literal["floor", "half_up", "half_even", "half_away"]
"""`floor` drops the bits; the others go to the nearest, ties towards +infinity, to even, or away from zero."""

_MAX_SHIFT = 31


def shift_right(
    x: NDArray[np.signedinteger[Any]], shift: int | NDArray[np.signedinteger[Any]], rounding: Rounding
) -> NDArray[np.signedinteger[Any]]:
    """Divide by `2**shift` and round.

    Args:
        x: int32 or int64 numbers of magnitude below 2^62.
        shift: at least 0, broadcast against `x`; amounts above 31 act as 31.
        rounding: one of `Rounding`.

    Returns:
        the quotients, in the dtype of `x`.

    Raises:
        InputError: a negative shift or an unknown rounding.
    """
    if rounding not in get_args(Rounding):
        raise InputError(f"rounding is {rounding!r}, expected one of {', '.join(get_args(Rounding))}")
    amount = np.minimum(np.asarray(shift, dtype=x.dtype), _MAX_SHIFT)
    if (amount < 0).any():
        raise InputError(f"shift is {int(amount.min())}, expected 0 or more")
    if rounding == "floor":
        floored: NDArray[np.signedinteger[Any]] = x >> amount
        return floored
    wide = x.astype(np.int64)
    floor = wide >> amount
    # Twice the remainder against the divisor tells below, at and above the tie without a special case for shift 0.
    twice_rest = (wide - (floor << amount)) << 1
    divisor = np.int64(1) << amount.astype(np.int64)
    tie_up = {"half_up": np.True_, "half_even": (floor & 1) == 1, "half_away": wide > 0}[rounding]
    up = (twice_rest > divisor) | ((twice_rest == divisor) & tie_up)
    rounded: NDArray[np.signedinteger[Any]] = (floor + up).astype(x.dtype)
    return rounded


def saturate(x: NDArray[np.signedinteger[Any]], dtype: type[np.int8] | type[np.int16]) -> NDArray[Any]:
    """Clamp to the range of `dtype` and convert."""
    info = np.iinfo(dtype)
    clamped: NDArray[Any] = np.clip(x, info.min, info.max).astype(dtype)
    return clamped


def divide_half_away(
    numerator: NDArray[np.signedinteger[Any]], denominator: NDArray[np.signedinteger[Any]]
) -> NDArray[np.int64]:
    """Divide by positive integers, to the nearest, ties away from zero, so that -x gives minus the result of x."""
    top = numerator.astype(np.int64)
    bottom = denominator.astype(np.int64)
    magnitude = (2 * np.abs(top) + bottom) // (2 * bottom)
    return np.where(top < 0, -magnitude, magnitude)
