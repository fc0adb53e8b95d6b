"""The exp table of the LUT softmax: 256 bytes for x = -128..127, and the C header that carries it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xattn.errors import InputError
from xattn.numerics.checks import require_dtype

TABLE_SIZE = 256
INDEX_OFFSET = 128
DEFAULT_SCALE = 64.0
_PER_LINE = 16


def exp_table(scale: float = DEFAULT_SCALE) -> NDArray[np.uint8]:
    """Tabulate `trunc(min(255, max(0, scale * exp(x / scale))))`, entry `x + 128` for x = -128..127.

    With the default scale 64 the entries for x <= 0, the only ones that a softmax reads, run from 8 to 64: the
    largest weight is only eight times the smallest.

    Raises:
        InputError: `scale` is not a positive finite number.
    """
    if not (math.isfinite(scale) and scale > 0):
        raise InputError(f"scale is {scale}, expected a positive finite number (64 is the usual one)")
    return np.array([_entry(x, scale) for x in range(-INDEX_OFFSET, TABLE_SIZE - INDEX_OFFSET)], dtype=np.uint8)


def _entry(x: int, scale: float) -> int:
    # Beyond 700 the exponential leaves float64; the entry is saturated long before.
    value = scale * math.exp(min(x / scale, 700.0))
    return int(min(255.0, value))


def c_header(table: NDArray[Any]) -> str:
    """Write a table as the C header `exp_lut.h`: guard `EXP_LUT_H`, `const uint8_t EXP_LUT[256]`, 16 values a line.

    Args:
        table: `[256]` uint8, entry `x + 128`.

    Raises:
        InputError: another shape or dtype.
    """
    require_dtype("table", table, [np.uint8])
    if table.shape != (TABLE_SIZE,):
        raise InputError(f"table has shape {table.shape}, expected ({TABLE_SIZE},)")
    rows = [", ".join(f"{int(value):3d}" for value in row) for row in table.reshape(-1, _PER_LINE)]
    lines = [
        "#ifndef EXP_LUT_H",
        "#define EXP_LUT_H",
        "",
        "#include <stdint.h>",
        "",
        "// Precomputed exp() lookup table for softmax",
        "// Index: x + 128 where x in [-128, 127]",
        f"const uint8_t EXP_LUT[{TABLE_SIZE}] = {{",
        *(f"    {row}," for row in rows),
        "};",
        "",
        "#endif // EXP_LUT_H",
    ]
    return "\n".join(lines) + "\n"
