"""GELU from int8 to int8 without a table: a clamped quartic in lanes of 16 bits, then a multiplier for each channel.

GELU(x) = x·Φ(x) is x/2 + |x|·(1/2 − Φ(−|x|)), and the tail of the normal distribution is nearly a clamped fourth power:

    Φ(−a) ≈ TAIL · max(REACH − a, 0)⁴

With the constants below GELU is off by 0.0038 at most, anywhere. In integers, with the input times 256 in the clamp,
so that it keeps a fraction:

    t = max(top − |256·x|, 0),  q = sat16(t² >> square)
    w = sat16(((one << fall) − q²) >> fall),  g = sat16((x·one + |x|·w) >> 7)
    y = sat8(g·factor >> narrow)

All channels share the input's scale, and with it `top` and `one`; each has a scale of the output, in its `factor`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xattn.errors import InputError
from xattn.numerics.checks import require_dtype
from xattn.numerics.rounding import saturate, shift_right

REACH = 3.69651648
TAIL = 2.94212852e-3
"""Of the clamped fourth power: minimax for |x|·Φ(−|x|), found by a simplex search."""

FRACTION_BITS = 8
MIDDLE_SHIFT = 7
_ONE_BITS = 14  # below 2^14, so that 127 · 2 · one >> 7 fits 16 bits
_INT16 = 32767
_SMALLEST_FACTOR = 64

SMALLEST_SCALE = REACH * (1 << FRACTION_BITS) / _INT16
"""0.0289 a step of the input: with a smaller one `top` leaves 16 bits. 127 steps of it are 3.7."""


@dataclass(frozen=True)
class GeluConstants:
    """What the integer model and the kernel take, see the module; `factor`: int16 `[channels]`."""

    top: int
    one: int
    square: int
    fall: int
    narrow: int
    factor: NDArray[np.int16]


def gelu_constants(input_scale: float, output_scale: NDArray[np.float64]) -> GeluConstants:
    """The constants for what a step of the input is worth, and one of each channel of the output, `[channels]`.

    InputError for scales that are not positive and finite, an input scale below 0.0289, or output scales that lie too
    far apart, or too far from the input's, for factors of 16 bits.
    """
    for name, scales in (("input", np.array([input_scale])), ("output", output_scale)):
        if not (np.isfinite(scales) & (scales > 0)).all():
            raise InputError(f"the {name} scale is {float(np.min(scales))}, expected positive finite numbers")
    if input_scale < SMALLEST_SCALE * (1 - 1e-9):
        raise InputError(f"the input scale is {input_scale:.4g}: GELU takes {SMALLEST_SCALE:.4g} at least")
    unit = input_scale / (1 << FRACTION_BITS)
    top = min(round(REACH / unit), _INT16)
    square = max(2 * top.bit_length() - 15, 0)
    # q² / 2^fall has to be one · 2 · TAIL · (t · unit)⁴
    octaves = -math.log2(2 * TAIL * unit**4) - 2 * square
    fall = math.ceil(octaves - _ONE_BITS)
    one = round(2.0 ** (octaves - fall))
    ratio = input_scale * (1 << MIDDLE_SHIFT) / (2 * one * output_scale)
    narrow = math.floor(math.log2(_INT16 / float(ratio.max())))
    factor = np.rint(ratio * 2.0**narrow)
    if not 0 <= narrow <= 31 or factor.min() < _SMALLEST_FACTOR:
        raise InputError(
            f"output scales from {output_scale.min():.3g} to {output_scale.max():.3g} are too far apart, or too far "
            f"from the input's {input_scale:.3g}"
        )
    return GeluConstants(top, min(one, (1 << _ONE_BITS) - 1), square, fall, narrow, factor.astype(np.int16))


def gelu(x: NDArray[np.int8], constants: GeluConstants) -> NDArray[np.int8]:
    """GELU of int8 `[..., channels]`, int8; InputError for another dtype or number of channels."""
    require_dtype("x", x, [np.int8])
    c = constants
    if x.shape[-1] != len(c.factor):
        raise InputError(f"x has shape {x.shape}, and there are {len(c.factor)} factors: expected one for each channel")
    number = x.astype(np.int64)
    size = np.abs(number)
    t = np.maximum(c.top - (size << FRACTION_BITS), 0)
    quadratic = saturate(shift_right(t * t, c.square, "half_up"), np.int16).astype(np.int64)
    weight = saturate(shift_right((c.one << c.fall) - quadratic * quadratic, c.fall, "half_up"), np.int16)
    activated = shift_right(number * c.one + size * weight.astype(np.int64), MIDDLE_SHIFT, "half_up")
    scaled = saturate(activated, np.int16).astype(np.int64) * c.factor.astype(np.int64)
    result: NDArray[np.int8] = saturate(shift_right(scaled, c.narrow, "half_up"), np.int8)
    return result
