"""Exact integer matrix products at floating-point speed.

NumPy multiplies integer matrices without BLAS, about fifteen times slower than float32 matrices of the same size. A
float product of integers is exact, in whatever order it is summed, as long as every partial sum stays within the
mantissa: 2^24 for float32, 2^53 for float64. The dtypes of the operands bound the partial sums, so that the fastest
exact way is chosen without looking at the data.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xattn.errors import InputError
from xattn.numerics.checks import require_dtype

IntArray: TypeAlias = NDArray[np.signedinteger[Any]]
OPERAND_DTYPES = (np.int8, np.uint8, np.int16)

_FLOAT32_EXACT = 2**24
_FLOAT64_EXACT = 2**53
_SMALLEST_CHUNK = 64
"""Splitting K more finely than this costs more than float64 does."""


def matmul_int(a: NDArray[Any], b: NDArray[Any]) -> IntArray:
    """Multiply integer matrices exactly.

    Args:
        a: `[..., M, K]`, int8, uint8 or int16.
        b: `[..., K, N]`, int8, uint8 or int16; leading axes broadcast as in `numpy.matmul`.

    Returns:
        `[..., M, N]`: int32 when the operands' dtypes and K guarantee that no sum leaves int32, else int64.

    Raises:
        InputError: another dtype, fewer than two axes, or shapes that do not fit together.
    """
    for name, operand in (("a", a), ("b", b)):
        require_dtype(name, operand, OPERAND_DTYPES)
        if operand.ndim < 2:
            raise InputError(f"{name} has shape {operand.shape}, expected a matrix [..., rows, columns]")
    depth = a.shape[-1]
    if depth != b.shape[-2]:
        raise InputError(f"a has {depth} columns and b has {b.shape[-2]} rows: they must be equal")
    product = _magnitude(a.dtype) * _magnitude(b.dtype)
    out: type[np.int32] | type[np.int64] = np.int32 if depth * product <= np.iinfo(np.int32).max else np.int64
    chunk = _FLOAT32_EXACT // product
    if chunk > 0 and chunk >= min(depth, _SMALLEST_CHUNK):
        return _chunked(a, b, chunk, np.float32, out)
    return _chunked(a, b, _FLOAT64_EXACT // product, np.float64, out)


def _magnitude(dtype: np.dtype[Any]) -> int:
    info = np.iinfo(dtype)
    return max(-int(info.min), int(info.max))


def _chunked(
    a: NDArray[Any],
    b: NDArray[Any],
    chunk: int,
    via: type[np.float32] | type[np.float64],
    out: type[np.int32] | type[np.int64],
) -> IntArray:
    """Sum the exact products of slices of K no longer than `chunk`."""
    depth = a.shape[-1]
    try:
        total: IntArray = np.matmul(a[..., :chunk].astype(via), b[..., :chunk, :].astype(via)).astype(out)
    except ValueError as error:
        raise InputError(f"leading axes {a.shape[:-2]} and {b.shape[:-2]} do not broadcast: make them equal") from error
    for start in range(chunk, depth, chunk):
        stop = start + chunk
        total += np.matmul(a[..., start:stop].astype(via), b[..., start:stop, :].astype(via)).astype(out)
    return total
