"""The block layouts in which `sound` takes its operands and keeps its state, made from row-major arrays and back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xattn.numerics.sound import BlockMask, SoundState
from xattn.numerics.sound.steps import OCTAVE

Int8 = NDArray[np.int8]

STATE_ARRAYS = ("sums0", "sums1", "state")

_GROUPS, _GROUP_ROWS = 4, 16
_SUMS = (4, 4, 4, 4, 2, 8)  # group, row block, row, pair of block columns, block of the pair, column


def pack_operands(q: Int8, k: Int8, v: Int8) -> dict[str, Int8]:
    """Q, K, V `[64, 64]` int8 as the kernel's arrays `q`, `k`, `v`."""
    return {
        "q": np.ascontiguousarray(q.reshape(4, 4, 4, 8, 8).transpose(0, 3, 1, 2, 4)),
        "k": np.ascontiguousarray(k.reshape(4, 2, 8, 8, 8).transpose(0, 3, 1, 2, 4)),
        "v": np.ascontiguousarray(v.reshape(8, 8, 4, 2, 8).transpose(2, 0, 3, 1, 4)),
    }


def pack_masked(q: Int8, k: Int8, v: Int8, key_mask: NDArray[np.bool_]) -> dict[str, Int8]:
    """The same where keys have limits: the scores of keys that are False in `key_mask` `[64]` are the lowest."""
    packed = pack_operands(q, k, v)
    every_row = np.broadcast_to(key_mask.reshape(4, 1, 2, 1, 8), (4, 1, 2, 4, 8))
    return {**packed, "k": np.concatenate([packed["k"].reshape(4, 8, 2, 64), _limits(every_row)], axis=1)}


def pack_causal(q: Int8, k: Int8, v: Int8, mask: BlockMask) -> dict[str, Int8]:
    """The same where distances have limits too: query i sees keys up to i + `mask.diagonal`."""
    packed = pack_masked(q, k, v, mask.keys)
    distance = 4 * np.arange(-14, 16)[:, np.newaxis, np.newaxis]  # of a row block's first row from its first key
    row, key = np.arange(4)[:, np.newaxis], np.arange(8)
    seen = np.full((36, 4, 8), True)  # as many as two pairs of K take; the last six are never read
    if mask.diagonal is not None:
        seen[:30] = key - row <= distance + mask.diagonal
    return {**packed, "k": np.concatenate([packed["k"], _limits(seen).reshape(2, 9, 2, 64)])}


def _limits(seen: NDArray[np.bool_]) -> Int8:
    """What scores are limited to, for blocks `[..., 4, 8]` of keys that are seen or not: `[..., 64]` bytes."""
    info = np.iinfo(np.int16)
    limits = np.where(seen, info.max, info.min).astype(np.int16)
    return limits.reshape(*seen.shape[:-2], 32).view(np.int8)


def pack_state(state: SoundState) -> dict[str, NDArray[np.generic]]:
    """The state of 64 rows and 64 columns as the kernel's arrays: `sums0`, `sums1` (int32), `state` (bytes)."""
    even, odd = state.accumulator.reshape(_SUMS).transpose(4, 0, 3, 1, 2, 5)
    references = (state.reference - OCTAVE).astype(np.int16).reshape(_GROUPS, _GROUP_ROWS)
    running = state.running_sum.astype(np.int32).reshape(_GROUPS, _GROUP_ROWS)
    packed = np.concatenate([x.view(np.uint8) for x in (references, references, running)], axis=1)
    return {"sums0": np.ascontiguousarray(even), "sums1": np.ascontiguousarray(odd), "state": packed}


def unpack_state(data: Int8) -> SoundState:
    """The state from the bytes of `STATE_ARRAYS`, one after another."""
    sums, groups = np.split(data, [4 * 64 * 64])
    accumulator = sums.view(np.int32).reshape(2, 4, 4, 4, 4, 8).transpose(1, 3, 4, 2, 0, 5).reshape(64, 64)
    groups = groups.reshape(_GROUPS, 128)
    references = groups[:, : 2 * _GROUP_ROWS].copy().view(np.int16).reshape(-1)
    running = groups[:, 4 * _GROUP_ROWS :].copy().view(np.int32).reshape(-1)
    return SoundState(accumulator, running, references.astype(np.int32) + OCTAVE)
