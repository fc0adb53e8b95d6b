"""LayerNorm from int16 to int8 in integers: one row is a token.

    mean = round(Σx / width)                                     int16
    d = (x − mean) >> 5,  V = max(Σd², least)                    int32
    R = 2^(scale + 5) · √(width / V)                             16 bits, from a table of 768 entries
    n = sat16((x·R − mean·R) >> scale)                           the normalised number in 1/1,024
    y = sat8((n·gain + (offset << lift)) >> narrow)              with a gain and an offset for each channel

The reciprocal root is the only step that is not exact: the table is read at the nine leading bits of V, which puts R
off by 0.1 % at most. `least` keeps R within 16 bits; rows that vary less are magnified less, and constant rows give
the offset, whatever their level. It stands for LayerNorm's epsilon too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xattn.errors import InputError
from xattn.numerics.checks import require_dtype
from xattn.numerics.rounding import saturate, shift_right

SQUARE_SHIFT = 5  # squares of up to 2,047 numbers of 11 bits and their sum fit 32 bits
MAX_WIDTH = 2047
NORMAL_BITS = 10
"""Fraction bits of a normalised number: it saturates at 32, which a row of up to 1,024 channels cannot reach."""
RECIPROCAL_BITS = 15
INDEX_SHIFT, FIRST_INDEX, LAST_INDEX = 21, 256, 1024
ROOT_BITS = 30
LARGEST_ROOT = 32000  # of 32,767: the table's error has room above it
MAX_SCALE = 15


@dataclass(frozen=True)
class NormConstants:
    """What the model and the kernel take: `gain` and `offset` int16 `[width]`; three shifts; the least V."""

    gain: NDArray[np.int16]
    offset: NDArray[np.int16]
    scale: int
    narrow: int
    lift: int
    least: int


def norm_constants(
    weight: NDArray[np.floating], bias: NDArray[np.floating], output_scale: NDArray[np.float64], smallest: float
) -> NormConstants:
    """Fold LayerNorm's weight and bias and the output's scales into constants.

    Args:
        weight: `[width]`.
        bias: `[width]`.
        output_scale: `[width]`, what a step of each channel is worth.
        smallest: standard deviation of the least varying row that is to be normalised fully, in steps of x.

    Raises:
        InputError: a width above 2,047 or no multiple of 8, or numbers that are not finite, or not positive where they
            must be.
    """
    width = len(weight)
    if not 8 <= width <= MAX_WIDTH or width % 8:
        raise InputError(f"LayerNorm of {width} channels: expected a multiple of 8 up to {MAX_WIDTH}")
    gain, offset = weight / output_scale, bias / output_scale
    if not (np.isfinite(gain).all() and np.isfinite(offset).all() and math.isfinite(smallest) and smallest > 0):
        raise InputError("LayerNorm's weight, bias, output scales or smallest deviation are not finite and positive")
    scale = math.floor(math.log2(LARGEST_ROOT * smallest / (1 << NORMAL_BITS)))
    scale = min(max(scale, 1), MAX_SCALE)
    top, most = float(np.abs(gain).max()), float(np.abs(offset).max())
    narrow = math.floor(math.log2(32767 / max(top, 2.0**-10))) + NORMAL_BITS
    fraction = math.floor(math.log2(32767 / max(most, 1.0)))
    narrow = min(narrow, fraction + 15, 30)  # so that the offset takes half of what 32 bits hold at most
    fraction = min(fraction, narrow)
    if narrow < 1 or fraction < 0:
        raise InputError(f"gains up to {top:.3g} and offsets up to {most:.3g} steps of the output leave their bits")
    return NormConstants(
        np.rint(gain * 2.0 ** (narrow - NORMAL_BITS)).astype(np.int16),
        np.rint(offset * 2.0**fraction).astype(np.int16),
        scale,
        narrow,
        narrow - fraction,
        least_variance(width, scale),
    )


def least_variance(width: int, scale: int) -> int:
    """The smallest V whose root R fits 16 bits."""
    return max(math.ceil(width * 4.0 ** (scale + SQUARE_SHIFT) / LARGEST_ROOT**2), 1)


def mean_factor(width: int) -> tuple[int, int, int]:
    """(shift, divisor, factor): a sum shifted down by `shift`, over `divisor`, is the mean of `width` numbers.

    `factor` is 2^15 / divisor, rounded. One bit of the fraction stays, for the rounding; products have 31 bits at most.
    """
    shift = (width & -width).bit_length() - 2
    return shift, width >> shift, round((1 << RECIPROCAL_BITS) / (width >> shift))


def root_shift(width: int, scale: int) -> int:
    """The table's entries, shifted down by this less half the normalising shift of V, are R."""
    return ROOT_BITS - SQUARE_SHIFT - _half_octaves(width) - scale


def root_table(width: int) -> NDArray[np.uint16]:
    """uint16 `[768]`: 2^30 · √(width / 4^h / u) in the middle of each interval of u, 2^29 to 2^31."""
    middle = (np.arange(FIRST_INDEX, LAST_INDEX) + 0.5) * 2.0**INDEX_SHIFT
    share = width / 4.0 ** _half_octaves(width)
    table: NDArray[np.uint16] = np.rint(2.0**ROOT_BITS * np.sqrt(share / middle)).astype(np.uint16)
    return table


def _half_octaves(width: int) -> int:
    return math.ceil(math.log(width, 4) - 1e-9)


def row_means(x: NDArray[np.int16]) -> NDArray[np.int64]:
    """`[rows]`: the mean of each row, rounded; off by a half, or two thirds where the width is no power of two."""
    shift, divisor, factor = mean_factor(x.shape[-1])
    half = 1 << (RECIPROCAL_BITS - 1)
    total = x.astype(np.int64).sum(axis=-1) >> shift
    mean: NDArray[np.int64] = (total * factor + half) >> RECIPROCAL_BITS
    # a factor that is not exact leaves the largest means one off, which shows in what is left
    rest: NDArray[np.int64] = ((total - mean * divisor) * factor + half) >> RECIPROCAL_BITS
    return mean + rest


def row_roots(x: NDArray[np.int16], mean: NDArray[np.int64], scale: int, least: int) -> NDArray[np.int64]:
    """`[rows]`: R of each row."""
    width = x.shape[-1]
    d = shift_right(x.astype(np.int64) - mean[..., np.newaxis], SQUARE_SHIFT, "half_up")
    variance = np.maximum((d * d).sum(axis=-1), least)
    zeros = 31 - np.floor(np.log2(variance.astype(np.float64))).astype(np.int64)  # leading ones of 32 bits
    even = (zeros - 1) & ~1
    index = ((variance << even) >> INDEX_SHIFT) - FIRST_INDEX
    entry = root_table(width)[index].astype(np.int64)
    down = root_shift(width, scale) - even // 2
    root: NDArray[np.int64] = np.where(down >= 0, entry >> np.maximum(down, 0), entry << np.maximum(-down, 0))
    return root


def layer_norm(x: NDArray[np.int16], constants: NormConstants) -> NDArray[np.int8]:
    """int16 `[..., width]` → int8; InputError for another dtype or width."""
    require_dtype("x", x, [np.int16])
    c = constants
    if x.ndim < 1 or x.shape[-1] != len(c.gain):
        raise InputError(f"x has shape {x.shape}, and there are {len(c.gain)} gains: expected one for each channel")
    mean = row_means(x)
    root = row_roots(x, mean, c.scale, c.least)[..., np.newaxis]
    normal = shift_right(x.astype(np.int64) * root - mean[..., np.newaxis] * root, c.scale, "half_up")
    normal = saturate(normal, np.int16).astype(np.int64)
    result: NDArray[np.int8] = saturate(
        shift_right(normal * c.gain.astype(np.int64) + (c.offset.astype(np.int64) << c.lift), c.narrow, "half_up"),
        np.int8,
    )
    return result
