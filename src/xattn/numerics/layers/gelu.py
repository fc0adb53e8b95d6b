"""GELU from int8 to int8 without a table: a clamped quartic in lanes of 16 bits.

GELU(x) = x·Φ(x) is x/2 + |x|·(1/2 − Φ(−|x|)), and the tail of the normal distribution is nearly a clamped fourth power:

    Φ(−a) ≈ TAIL · max(REACH − a, 0)⁴

With the constants below GELU is off by 0.0038 at most, anywhere. In integers, with the input times 256 in the clamp,
so that it keeps a fraction:

    t = max(top − |256·x|, 0),  q = sat16(t² >> square)
    w = sat16(((slope << fall) − q²) >> fall),  y = sat8((x·slope + |x|·w) >> narrow)

Three shifts and two constants hold for a layer. One real number would be left over, the size of q² beside `slope`;
it is made a power of two by the choice of the input's scale, which the layer before can give any size: `gelu_scale`
finds the next one, at most 2^(1/5) = 1.15 times the wanted one.
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
_ONE = 1 << FRACTION_BITS
_INT16 = 32767
_NOT_A_POWER = 1e-6

SMALLEST_SCALE = REACH * _ONE / _INT16
"""0.0289 a step of the input: with a smaller one `top` leaves 16 bits. 127 steps of it are 3.7."""


@dataclass(frozen=True)
class GeluConstants:
    """What the integer model and the kernel take, see the module: `top` and `slope` of 16 bits, three shifts."""

    top: int
    slope: int
    square: int
    fall: int
    narrow: int


def gelu_scale(wanted: float, output_scale: float) -> float:
    """The smallest input scale from `wanted` on whose constants are exact, given what a step of the output is worth.

    InputError for scales that are not positive and finite.
    """
    _require_scales(wanted, output_scale)
    wanted = max(wanted, SMALLEST_SCALE)
    exponent = math.floor(math.log2(output_scale / TAIL / (wanted / _ONE) ** 5) + _NOT_A_POWER)
    return float(max(wanted, _ONE * (output_scale / TAIL / 2.0**exponent) ** 0.2))


def gelu_constants(input_scale: float, output_scale: float) -> GeluConstants:
    """The constants for what a step of the input and one of the output are worth.

    InputError for an input scale that `gelu_scale` does not give, or scales too far apart.
    """
    _require_scales(input_scale, output_scale)
    octaves = math.log2(output_scale / TAIL / (input_scale / _ONE) ** 5)
    shifts = round(octaves)
    if abs(octaves - shifts) > 1e-4 or input_scale < SMALLEST_SCALE * (1 - 1e-9):
        raise InputError(f"input scale {input_scale:.6g} has no exact constants: take what gelu_scale gives")
    top = min(round(REACH * _ONE / input_scale), _INT16)
    square = max(2 * top.bit_length() - 15, 0)
    ratio = input_scale / _ONE / (2 * output_scale)
    wide = min(math.floor(math.log2(_INT16 / ratio)), shifts - 2 * square)  # the last shift, of the input times 256
    slope, fall, narrow = round(ratio * 2.0**wide), shifts - 2 * square - wide, wide - FRACTION_BITS
    if not (0 < slope <= _INT16 and narrow >= 1 and 0 <= fall <= 31 and slope << fall < 1 << 31):
        raise InputError(
            f"input scale {input_scale:.4g} and output scale {output_scale:.4g} are too far apart for GELU"
        )
    return GeluConstants(top, slope, square, fall, narrow)


def gelu(x: NDArray[np.int8], constants: GeluConstants) -> NDArray[np.int8]:
    """GELU of int8 numbers of any shape, int8; InputError for another dtype."""
    require_dtype("x", x, [np.int8])
    c = constants
    number = x.astype(np.int64)
    size = np.abs(number)
    t = np.maximum(c.top - (size << FRACTION_BITS), 0)
    quadratic = saturate(shift_right(t * t, c.square, "half_up"), np.int16).astype(np.int64)
    weight = saturate(shift_right((c.slope << c.fall) - quadratic * quadratic, c.fall, "half_up"), np.int16)
    result: NDArray[np.int8] = saturate(
        shift_right(number * c.slope + size * weight.astype(np.int64), c.narrow, "half_up"), np.int8
    )
    return result


def _require_scales(input_scale: float, output_scale: float) -> None:
    for name, scale in (("input", input_scale), ("output", output_scale)):
        if not (math.isfinite(scale) and scale > 0):
            raise InputError(f"the {name} scale is {scale}, expected a positive finite number")
