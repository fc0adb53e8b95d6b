"""The kernel `attention_end` against its integer model, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from layer_cases import differences, run
from numpy.typing import NDArray

from xattn.kernels.panels import from_panels
from xattn.kernels.sound_layout import pack_state
from xattn.numerics.layers.attention_end import LAST_SHIFT, LEAST_SUM, attention_end
from xattn.numerics.sound import SoundState


def kernel(state: SoundState, gain: int) -> NDArray[np.int8]:
    out = run("attention_end", pack_state(state), {"narrow": LAST_SHIFT - gain}).results["out"]
    return from_panels(out, 64, 64)


def state_of(total: NDArray[np.int64], seed: int = 0) -> SoundState:
    rng = np.random.default_rng(seed)
    accumulator = np.rint(rng.uniform(-128, 127, (64, 64)) * total[:, np.newaxis])
    reference = 128 * rng.integers(-100, 200, 64)
    return SoundState(accumulator.astype(np.int32), total.astype(np.int32), reference.astype(np.int32))


@pytest.mark.parametrize("gain", [0, 1, 3, 15])
def test_sums_of_every_size(gain: int) -> None:
    for seed in range(3):
        total = np.exp2(np.random.default_rng(seed).uniform(7, 24, 64)).astype(np.int64)
        state = state_of(total, seed)
        assert differences(kernel(state, gain), attention_end(state, gain)) == 0


def test_every_entry_of_the_table() -> None:
    for start in range(512, 1024, 64):
        state = state_of((np.arange(start, start + 64) << 9) + 511, start)
        assert differences(kernel(state, 0), attention_end(state, 0)) == 0


def test_ends_of_the_range() -> None:
    total = np.resize([LEAST_SUM, 255, 256, 511, 512, (1 << 24) - 1], 64).astype(np.int64)
    state = state_of(total)
    for value in (-128, 127, 0):
        accumulator = np.broadcast_to((value * total)[:, np.newaxis], (64, 64)).astype(np.int32)
        extreme = SoundState(accumulator, state.running_sum, state.reference)
        assert differences(kernel(extreme, 0), attention_end(extreme, 0)) == 0
