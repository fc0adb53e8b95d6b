"""Offsets added before the low byte of a weight is dropped, one for each key of a block, the same for all queries."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from xattn.errors import InputError

Dither: TypeAlias = Literal["dither16", "dither64", "nearest"]
"""`dither16`, `dither64`: offsets that visit 16 or 64 evenly spaced levels; `nearest`: 128 throughout."""

_STRIDES = {"dither16": (16, 7), "dither64": (64, 27)}


def dither_pattern(name: Dither, keys: int = 64) -> NDArray[np.uint8]:
    """Return the offsets of a block of `keys` keys, uint8.

    Key j of a pattern with period n and stride a gets level `a * j mod n`, in the middle of its nth of 256:
    `floor(256 (level + 0.5) / n)`. The stride, prime to the period, keeps neighbours apart.

    Raises:
        InputError: an unknown name.
    """
    if name not in get_args(Dither):
        raise InputError(f"dither is {name!r}, expected one of {', '.join(get_args(Dither))}")
    if name == "nearest":
        return np.full(keys, 128, dtype=np.uint8)
    period, stride = _STRIDES[name]
    level = stride * np.arange(keys) % period
    return ((2 * level + 1) * 128 // period).astype(np.uint8)
