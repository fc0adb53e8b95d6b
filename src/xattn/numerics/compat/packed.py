"""Packed buffers of the original tile interface, and its int8 matrix product."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xattn.errors import InputError
from xattn.numerics.checks import require_dtype, require_matrix, require_qkv_shapes
from xattn.numerics.compat.stages import OUTPUT_SHIFT
from xattn.numerics.matmul import matmul_int
from xattn.numerics.rounding import saturate


def matmul_int8(a: NDArray[np.int8], b: NDArray[np.int8]) -> NDArray[np.int8]:
    """Compute `clamp((A @ B) >> 7, -128, 127)`: int8 `[..., M, K]`, `[..., K, N]` -> int8 `[..., M, N]`.

    The shift floors. Raises InputError for another dtype or shapes that do not fit together.
    """
    for name, array in (("a", a), ("b", b)):
        require_dtype(name, array, [np.int8])
        require_matrix(name, array)
    return saturate(matmul_int(a, b) >> OUTPUT_SHIFT, np.int8)


def matmul_int8_packed(packed: NDArray[np.int8]) -> NDArray[np.int8]:
    """Multiply two square matrices that lie one after the other: `[2 n n]` int8 (A, then B) -> `[n n]` int8.

    n = 16, 32 and 64 are the sizes of the original (512, 2,048 and 8,192 bytes); any n is taken.
    """
    a, b = _split(packed, 2)
    return matmul_int8(a, b).reshape(-1)


def pack_qkv(q: NDArray[np.int8], k: NDArray[np.int8], v: NDArray[np.int8]) -> NDArray[np.int8]:
    """Lay square tiles Q, K, V `[n, n]` out one after the other, row-major: `[3 n n]` int8, 12,288 bytes for n = 64."""
    for name, array in (("q", q), ("k", k), ("v", v)):
        require_dtype(name, array, [np.int8])
    require_qkv_shapes(q, k, v)
    if q.ndim != 2 or q.shape[0] != q.shape[1] or q.shape != v.shape:
        raise InputError(f"q, k, v have shapes {q.shape}, {k.shape}, {v.shape}, expected one square tile each")
    return np.concatenate([q.reshape(-1), k.reshape(-1), v.reshape(-1)])


def unpack_qkv(packed: NDArray[np.int8]) -> tuple[NDArray[np.int8], NDArray[np.int8], NDArray[np.int8]]:
    """Take a packed buffer `[3 n n]` int8 apart into Q, K, V `[n, n]` (views)."""
    q, k, v = _split(packed, 3)
    return q, k, v


def _split(packed: NDArray[np.int8], parts: int) -> list[NDArray[np.int8]]:
    require_dtype("packed", packed, [np.int8])
    side = round((packed.size / parts) ** 0.5)
    if packed.ndim != 1 or packed.size == 0 or parts * side * side != packed.size:
        sizes = ", ".join(str(parts * n * n) for n in (16, 32, 64))
        raise InputError(f"packed has shape {packed.shape}, expected {parts} square matrices in a row: [{sizes}, ...]")
    return list(packed.reshape(parts, side, side))
