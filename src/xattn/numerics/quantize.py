"""Symmetric int8 quantization: `values = round_half_even(x / scale)`, clamped to -127..127, with the scales kept.

-128 is never produced, so that negation is exact. The scale of an all-zero group is 1: its values are all zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xattn.errors import InputError
from xattn.numerics.checks import require_finite, require_matrix

QMAX = 127

Granularity: TypeAlias = Literal["tensor", "head", "channel", "token"]
"""What shares one scale, of `[..., tokens, dim]`: everything, each `[tokens, dim]`, each column, or each row."""

_AXES: dict[str, tuple[int, ...] | None] = {"tensor": None, "head": (-2, -1), "channel": (-2,), "token": (-1,)}


@dataclass(frozen=True)
class Quantized:
    """int8 `values` and the float64 `scale` that gives them back, broadcastable against them: `x ~ values * scale`."""

    values: NDArray[np.int8]
    scale: NDArray[np.float64]

    def dequantize(self) -> NDArray[np.float64]:
        """Return `values * scale`, the shape of `values`."""
        return self.values * self.scale


def absmax(x: NDArray[Any], per: Granularity = "head") -> NDArray[np.float64]:
    """Return `max |x|` of each group, with the reduced axes kept as 1.

    Args:
        x: `[..., tokens, dim]` floats.
        per: what shares a scale.

    Raises:
        InputError: fewer than two axes, NaN or infinity, or an unknown granularity.
    """
    if per not in get_args(Granularity):
        raise InputError(f"per is {per!r}, expected one of {', '.join(get_args(Granularity))}")
    require_matrix("x", x)
    require_finite("x", x)
    largest: NDArray[np.float64] = np.abs(x.astype(np.float64)).max(axis=_AXES[per], keepdims=True)
    return largest


def absmax_scale(x: NDArray[Any], per: Granularity = "head") -> NDArray[np.float64]:
    """Return `max |x| / 127` of each group, 1 where all of it is 0; shape, arguments and errors as in `absmax`."""
    scale = absmax(x, per) / QMAX
    return np.where(scale > 0, scale, 1.0)


def quantize(x: NDArray[Any], per: Granularity = "head", scale: ArrayLike | None = None) -> Quantized:
    """Quantize to int8, round-half-even.

    Args:
        x: `[..., tokens, dim]` floats.
        per: what shares a scale; ignored when `scale` is given.
        scale: scales of one's own, positive, broadcastable against `x`; what exceeds 127 of them is clamped.

    Raises:
        InputError: as `absmax_scale`, or a scale that is not positive and finite.
    """
    if scale is None:
        chosen = absmax_scale(x, per)
    else:
        require_matrix("x", x)
        require_finite("x", x)
        chosen = np.asarray(scale, dtype=np.float64)
        if not (np.isfinite(chosen) & (chosen > 0)).all():
            raise InputError(f"scale holds {float(np.min(chosen))}, expected positive finite numbers")
    values = np.clip(np.rint(x / chosen), -QMAX, QMAX).astype(np.int8)
    return Quantized(values, chosen)
