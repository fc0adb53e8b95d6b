"""Float attention, computed in float64: the truth that integer models are judged against."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xattn.errors import InputError
from xattn.numerics.checks import require_finite, require_qkv_shapes


def logits(
    q: NDArray[Any],
    k: NDArray[Any],
    *,
    scaling: float | None = None,
    key_mask: NDArray[np.bool_] | None = None,
    causal: bool = False,
) -> NDArray[np.float64]:
    """Compute `scaling * Q @ K^T` with masked positions at -infinity: `[..., queries, keys]`.

    Args:
        q: `[..., queries, dim]`.
        k: `[..., keys, dim]`.
        scaling: factor of the dot products; None means `1 / sqrt(dim)`. Whisper multiplies Q by it beforehand: pass 1.
        key_mask: `[..., keys]`, True where a key may be attended to.
        causal: query i sees keys up to i + (keys - queries), i.e. the last query sees every key.

    Raises:
        InputError: a mask of the wrong shape.
    """
    factor = q.shape[-1] ** -0.5 if scaling is None else scaling
    scores: NDArray[np.float64] = np.matmul(q.astype(np.float64) * factor, k.astype(np.float64).swapaxes(-1, -2))
    queries, keys = scores.shape[-2:]
    if key_mask is not None:
        if key_mask.dtype != np.bool_ or key_mask.shape[-1:] != (keys,):
            raise InputError(f"key_mask is {key_mask.dtype} {key_mask.shape}, expected bool [..., {keys}]")
        scores = np.where(key_mask[..., np.newaxis, :], scores, -np.inf)
    if causal:
        visible = np.arange(keys) <= np.arange(queries)[:, np.newaxis] + (keys - queries)
        scores = np.where(visible, scores, -np.inf)
    return scores


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Apply a stable softmax to the last axis; a row that is -infinity throughout gives zeros."""
    top = scores.max(axis=-1, keepdims=True)
    e = np.exp(scores - np.where(np.isfinite(top), top, 0.0))
    total = e.sum(axis=-1, keepdims=True)
    return e / np.where(total > 0, total, 1.0)


def attention_weights(
    q: NDArray[Any],
    k: NDArray[Any],
    *,
    scaling: float | None = None,
    key_mask: NDArray[np.bool_] | None = None,
    causal: bool = False,
) -> NDArray[np.float64]:
    """Compute `softmax(scaling * Q @ K^T)`, `[..., queries, keys]`; arguments as in `logits`."""
    return softmax(logits(q, k, scaling=scaling, key_mask=key_mask, causal=causal))


def attention(
    q: NDArray[Any],
    k: NDArray[Any],
    v: NDArray[Any],
    *,
    scaling: float | None = None,
    key_mask: NDArray[np.bool_] | None = None,
    causal: bool = False,
) -> NDArray[np.float64]:
    """Compute `softmax(scaling * Q @ K^T) @ V` in float64.

    Args:
        q: `[..., queries, dim]`, any float or integer dtype.
        k: `[..., keys, dim]`.
        v: `[..., keys, width]`.
        scaling: as in `logits`.
        key_mask: as in `logits`; a query that sees no key gives zeros.
        causal: as in `logits`.

    Returns:
        `[..., queries, width]` float64. The whole score matrix is held: `queries * keys * 8` bytes a head, twice.

    Raises:
        InputError: shapes that do not fit together, or NaN or infinity in Q, K or V.
    """
    require_qkv_shapes(q, k, v)
    for name, array in (("q", q), ("k", k), ("v", v)):
        require_finite(name, array)
    weights = attention_weights(q, k, scaling=scaling, key_mask=key_mask, causal=causal)
    output: NDArray[np.float64] = np.matmul(weights, v.astype(np.float64))
    return output
