"""How often, in real attention, a running max rises and old sums must be rescaled."""

from __future__ import annotations

import numpy as np

from xattn.numerics.sound import BLOCK, block_order, quantize_operands, to_blocks
from xattn.numerics.sound.attention import Order
from xattn.numerics.sound.steps import MIN_REFERENCE, block_reference, scores
from xattn.whisper.tensors import Float32


def rising_blocks(q: Float32, k: Float32, order: Order = "diagonal") -> float:
    """The fraction of 64×64 blocks after a row block's first one in which any of the 64 rows rises.

    Q, K `[heads, tokens, 64]`, Q already scaled. Keys past the end do not count.
    """
    operands = quantize_operands(q, k, np.zeros_like(k), scaling=1.0)
    keys = operands.k.shape[-2]
    rises = count = 0
    for head in range(len(operands.q)):
        rows = to_blocks(scores(operands.q[head], operands.k[head], int(operands.shift[head].item())))
        padding = -keys % BLOCK
        padded = np.pad(rows, ((0, 0), (0, 0), (0, padding)), constant_values=-32768)
        cut = padded.reshape(*rows.shape[:2], -1, BLOCK)  # [row blocks, 64, key blocks, 64]
        references = block_reference(cut)
        order_of = block_order(references.shape[0], references.shape[2], order)
        taken = np.take_along_axis(references, order_of[:, np.newaxis, :], axis=-1)
        highest = np.maximum.accumulate(np.maximum(taken, MIN_REFERENCE), axis=-1)
        rises += int((np.diff(highest, axis=-1) > 0).any(axis=1).sum())
        count += highest.shape[0] * (highest.shape[2] - 1)
    return rises / max(count, 1)
