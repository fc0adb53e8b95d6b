"""Sound attention of whole heads of any length: quantize, walk the key blocks, divide."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from xattn.errors import InputError
from xattn.numerics.checks import AnyArray, require_dtype
from xattn.numerics.sound.block import (
    BLOCK,
    DEFAULT_OPTIONS,
    MAX_KEYS,
    SoundOptions,
    SoundState,
    finish,
    init_state,
    process_block,
)
from xattn.numerics.sound.operands import Share, SoundOperands, quantize_operands
from xattn.numerics.sound.steps import MAX_REFERENCE, MIN_REFERENCE

Order: TypeAlias = Literal["natural", "diagonal"]
"""Key blocks 0, 1, 2, ... for every query block, or from the query block's own one on, cyclically."""


def block_order(query_blocks: int, key_blocks: int, order: Order) -> NDArray[np.intp]:
    """Return `[query_blocks, key_blocks]`: the key block that each query block processes at each step.

    Starting on the diagonal makes a rise of the running max, and with it a rescale, rare where attention is local.

    Raises:
        InputError: an unknown order.
    """
    if order not in get_args(Order):
        raise InputError(f"order is {order!r}, expected one of {', '.join(get_args(Order))}")
    step = np.arange(key_blocks)
    start = np.arange(query_blocks) if order == "diagonal" else np.zeros(query_blocks, dtype=np.intp)
    return (start[:, np.newaxis] + step) % key_blocks


def to_blocks(x: NDArray[Any]) -> NDArray[Any]:
    """Cut `[..., tokens, dim]` into `[..., blocks, 64, dim]`, the last block filled up with zeros."""
    tokens, dim = x.shape[-2:]
    missing = -tokens % BLOCK
    if missing:
        x = np.concatenate([x, np.zeros((*x.shape[:-2], missing, dim), dtype=x.dtype)], axis=-2)
    return x.reshape(*x.shape[:-2], -1, BLOCK, dim)


def attend(
    operands: SoundOperands,
    *,
    order: Order = "natural",
    options: SoundOptions = DEFAULT_OPTIONS,
    key_mask: NDArray[np.bool_] | None = None,
    causal: bool = False,
) -> SoundState:
    """Run every key block of every query block; the state's rows are the queries, `[..., queries]`.

    All heads and query blocks take one step at a time together, so that memory stays at `heads * queries * 64` scores.

    Args:
        operands: int8 Q, K, V.
        order: in which the key blocks are taken.
        options: see `SoundOptions`.
        key_mask: bool, broadcast against `[..., keys]`: False keys (padding) weigh exactly 0.
        causal: query i sees keys up to i + (keys - queries), i.e. the last query sees every key. Rows that see no key
            keep the initial state.

    Raises:
        InputError: more keys than int32 accumulators hold (65,793), or a mask that does not fit the keys.
    """
    queries, keys = operands.q.shape[-2], operands.k.shape[-2]
    if keys > MAX_KEYS:
        raise InputError(f"k has {keys} tokens, expected at most {MAX_KEYS}: the int32 accumulators could wrap")
    q, k, v = to_blocks(operands.q), to_blocks(operands.k), to_blocks(operands.v)
    visible = _visible_blocks(operands.k.shape[:-1], key_mask)
    last_seen = np.arange(q.shape[-3] * BLOCK).reshape(-1, BLOCK, 1) + (keys - queries)
    shift = operands.shift[..., np.newaxis, :, :]
    state = init_state(q.shape[:-1], v.shape[-1])
    for chosen in block_order(q.shape[-3], k.shape[-3], order).T:
        mask = visible[..., chosen, :, :]
        if causal:
            mask = mask & (chosen[:, np.newaxis, np.newaxis] * BLOCK + np.arange(BLOCK) <= last_seen)
        state = process_block(
            state,
            q,
            k[..., chosen, :, :],
            v[..., chosen, :, :],
            shift,
            key_mask=None if mask.all() else mask,
            options=options,
        )
    return _join_rows(state, queries)


def _visible_blocks(keys_shape: tuple[int, ...], key_mask: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """`[..., blocks, 1, 64]`: which keys of each block there are, and may be attended to."""
    keys = keys_shape[-1]
    seen = np.ones(keys, np.bool_) if key_mask is None else broadcast_key_mask(key_mask, keys_shape)
    visible: NDArray[np.bool_] = to_blocks(seen[..., np.newaxis]).swapaxes(-1, -2)
    return visible


def broadcast_key_mask(key_mask: NDArray[np.bool_], keys_shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The mask for every head, `[..., keys]`.

    Raises:
        InputError: a mask that is not bool, or whose shape does not broadcast.
    """
    require_dtype("key_mask", key_mask, [np.bool_])
    try:
        mask: NDArray[np.bool_] = np.broadcast_to(key_mask, keys_shape)
    except ValueError:
        raise InputError(
            f"key_mask has shape {key_mask.shape}, expected one that broadcasts against {keys_shape}"
        ) from None
    return mask


def blind_rows(
    shape: tuple[int, ...], keys: int, key_mask: NDArray[np.bool_] | None, causal: bool
) -> NDArray[np.bool_] | None:
    """Which of the query rows, `shape` = `[..., queries]`, see no key; None where every row sees one."""
    queries = shape[-1]
    if key_mask is None and not (causal and queries > keys):
        return None
    seen = np.ones(keys, np.bool_) if key_mask is None else broadcast_key_mask(key_mask, (*shape[:-1], keys))
    first = np.where(seen.any(axis=-1), seen.argmax(axis=-1), keys)[..., np.newaxis]
    last = np.arange(queries) + (keys - queries) if causal else np.full(queries, keys - 1)
    blind: NDArray[np.bool_] = np.broadcast_to(first > np.minimum(last, keys - 1), shape)
    return blind


def _join_rows(state: SoundState, queries: int) -> SoundState:
    """Undo `to_blocks` on the rows of a state."""

    def rows(x: NDArray[np.int32], trailing: int) -> NDArray[np.int32]:
        lead = x.shape[: x.ndim - trailing - 2]
        tail = x.shape[x.ndim - trailing :]
        joined = x.reshape(*lead, -1, *tail)
        return joined[..., :queries, :] if trailing else joined[..., :queries]

    return SoundState(rows(state.accumulator, 1), rows(state.running_sum, 0), rows(state.reference, 0))


def attention_sound(
    q: AnyArray,
    k: AnyArray,
    v: AnyArray,
    *,
    scaling: float | None = None,
    order: Order = "natural",
    options: SoundOptions = DEFAULT_OPTIONS,
    share: Share = "channel",
    smooth_k: bool = False,
    key_mask: NDArray[np.bool_] | None = None,
    causal: bool = False,
) -> NDArray[np.float64]:
    """Attend in int8: floats `[..., tokens, dim]` in, floats out.

    Args:
        q: `[..., queries, dim]` floats.
        k: `[..., keys, dim]` floats.
        v: `[..., keys, width]` floats.
        scaling: factor of the dot products; None means `1 / sqrt(dim)`. Whisper multiplies Q by it beforehand: pass 1.
        order: in which the key blocks are taken.
        options: see `SoundOptions`.
        share: what shares the scales of Q and K, see `quantize_operands`.
        smooth_k: subtract K's mean over the keys before quantizing.
        key_mask: bool, broadcast against `[..., keys]`: False keys (padding) weigh exactly 0.
        causal: query i sees keys up to i + (keys - queries), i.e. the last query sees every key.

    Returns:
        `[..., queries, width]` float64; rows that see no key are 0.

    Raises:
        InputError: shapes that do not fit together, NaN or infinity, too many keys, or a row whose largest logit is
            beyond -129 or 255 octaves (-89 and 177 nats), where int16 scores cannot tell its keys apart.
    """
    operands = quantize_operands(q, k, v, scaling=scaling, share=share, smooth_k=smooth_k)
    state = attend(operands, order=order, options=options, key_mask=key_mask, causal=causal)
    require_in_range(state.reference, blind_rows(state.reference.shape, operands.k.shape[-2], key_mask, causal))
    return finish(state) * operands.v_scale


def require_in_range(reference: NDArray[np.int32], blind: NDArray[np.bool_] | None = None) -> None:
    """Refuse rows whose maximum lies at either end of what a reference can be; `blind` rows have none.

    Raises:
        InputError: there are such rows, of `reference` `[..., queries]`.
    """
    below = reference <= MIN_REFERENCE
    low = int((below if blind is None else below & ~blind).sum())
    high = int((reference >= MAX_REFERENCE).sum())
    if low or high:
        raise InputError(
            f"{low} rows have no logit above -89 and {high} have one above 177, of {reference.size} rows: "
            "int16 scores cannot tell their keys apart; subtract K's mean (smooth_k) or check the scaling"
        )
