"""Many blocks for the array: the tiles of a layer's heads one after another, and from the first one on again."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from xattn.bench.activations import Int8
from xattn.bench.peers.peer import Tensors
from xattn.errors import InputError
from xattn.numerics.quantize import quantize


def blocks_of(tensors: Tensors, counts: Mapping[str, int], tokens: int, width: int) -> tuple[Int8, Int8, Int8]:
    """Q, K and V as int8 `[blocks, tokens, width]`, of each as many blocks as `counts` says by "q", "k", "v".

    Each head is quantized with one scale for each of the three; of its channels a block has the first `width`.
    InputError when the heads have fewer tokens or channels than a block.
    """
    q, k, v = (_blocks(np.asarray(getattr(tensors, name)), counts[name], tokens, width) for name in ("q", "k", "v"))
    return q, k, v


def _blocks(heads: np.ndarray, count: int, tokens: int, width: int) -> Int8:
    _, available, channels = heads.shape
    if tokens > available or width > channels:
        raise InputError(f"blocks of {tokens} tokens × {width} channels; a head has {available} × {channels}")
    of_head = available // tokens
    tiles = np.concatenate(
        [quantize(head).values[: of_head * tokens, :width].reshape(of_head, tokens, width) for head in heads]
    )
    found: Int8 = tiles[np.arange(count) % len(tiles)]
    return found
