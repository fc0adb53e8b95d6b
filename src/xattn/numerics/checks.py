"""Argument checks shared by the integer and float models: each refusal names the argument, what came and what fits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from xattn.errors import InputError

AnyArray: TypeAlias = NDArray[Any]


def require_dtype(name: str, array: AnyArray, allowed: Iterable[DTypeLike]) -> None:
    """Refuse `array` unless its dtype is one of `allowed`."""
    dtypes = [np.dtype(dtype) for dtype in allowed]
    if array.dtype not in dtypes:
        wanted = " or ".join(str(dtype) for dtype in dtypes)
        raise InputError(f"{name} has dtype {array.dtype}, expected {wanted}: convert or quantize it first")


def require_matrix(name: str, array: AnyArray) -> None:
    """Refuse `array` unless it has at least two axes `[..., rows, columns]`, none of the last two empty."""
    if array.ndim < 2 or 0 in array.shape[-2:]:
        raise InputError(f"{name} has shape {array.shape}, expected [..., tokens, dim] with both at least 1")


def require_finite(name: str, array: AnyArray) -> None:
    """Refuse `array` when it holds NaN or infinity."""
    if not np.isfinite(array).all():
        bad = int(array.size - np.isfinite(array).sum())
        raise InputError(f"{name} holds {bad} NaN or infinite values of {array.size}: attention of it has no meaning")


def require_qkv_shapes(q: AnyArray, k: AnyArray, v: AnyArray) -> None:
    """Refuse Q `[..., queries, dim]`, K `[..., keys, dim]`, V `[..., keys, width]` whose axes do not fit together."""
    for name, array in (("q", q), ("k", k), ("v", v)):
        require_matrix(name, array)
    if q.shape[-1] != k.shape[-1]:
        raise InputError(f"q has {q.shape[-1]} columns and k has {k.shape[-1]}: both need the same head size")
    if k.shape[-2] != v.shape[-2]:
        raise InputError(f"k has {k.shape[-2]} tokens and v has {v.shape[-2]}: every key needs one value row")
    if not q.shape[:-2] == k.shape[:-2] == v.shape[:-2]:
        raise InputError(
            f"q, k, v have leading axes {q.shape[:-2]}, {k.shape[:-2]}, {v.shape[:-2]}: they must be equal"
        )
