"""How often a running max rises, against the state machine of the model itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from xattn.numerics.sound import BLOCK, block_order, init_state, process_block, quantize_operands
from xattn.whisper.rises import rising_blocks


def counted(q: Any, k: Any, order: Any) -> float:
    """By running every block and looking at the references."""
    operands = quantize_operands(q, k, np.ones_like(k), scaling=1.0)
    rises = count = 0
    blocks = -(-q.shape[1] // BLOCK), -(-k.shape[1] // BLOCK)
    for head in range(len(q)):
        for row, chosen in enumerate(block_order(*blocks, order)):
            rows = operands.q[head, row * BLOCK : (row + 1) * BLOCK]
            state = init_state((len(rows),))
            for step, at in enumerate(chosen):
                part = slice(at * BLOCK, (at + 1) * BLOCK)
                new = process_block(state, rows, operands.k[head, part], operands.v[head, part], operands.shift[head])
                if step:
                    rises += bool((new.reference > state.reference).any())
                    count += 1
                state = new
    return rises / count


@pytest.mark.parametrize("order", ["natural", "diagonal"])
@pytest.mark.parametrize("tokens", [256, 300])
def test_it_is_what_the_model_does(order: Any, tokens: int) -> None:
    rng = np.random.default_rng(tokens)
    q = rng.standard_normal((2, tokens, 64)).astype(np.float32)
    k = (0.05 * rng.standard_normal((2, tokens, 64))).astype(np.float32)
    found = rising_blocks(q, k, order)
    assert found == counted(q, k, order)
    assert 0 < found < 1


def test_one_block_of_keys_never_rises() -> None:
    x = np.ones((1, 64, 64), np.float32)
    assert rising_blocks(x, x) == 0
