"""The division by a table against the exact one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xattn.errors import InputError
from xattn.numerics.layers.attention_end import LEAST_SUM, attention_end, reciprocal_table
from xattn.numerics.sound import SoundState, attend, finish, finish_int8, quantize_operands
from xattn.numerics.synthetic import synthetic_activations


def state_of(seed: int, least: int, most: int) -> SoundState:
    """Rows whose sums lie between two powers of two, and averages of V over its whole range."""
    rng = np.random.default_rng(seed)
    total = np.exp2(rng.uniform(np.log2(least), np.log2(most), 64)).astype(np.int32)
    average = rng.uniform(-128, 127, (64, 64))
    return SoundState(np.rint(average * total[:, np.newaxis]).astype(np.int32), total, np.zeros(64, np.int32))


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(0, 4))
def test_within_a_step_of_the_exact_division(seed: int, gain: int) -> None:
    state = state_of(seed, LEAST_SUM, 1 << 24)
    exact = finish(state) * 2.0**gain
    found = attention_end(state, gain)
    # half a step, the table's 0.1 %, and an accumulator of 16 bits
    error = np.abs(found - np.clip(exact, -128, 127))
    assert error.max() <= 0.5 + 0.128 + 2.0 ** (gain - 8)
    assert np.abs(found.astype(int) - finish_int8(state, gain)).max() <= 1


def test_the_table_is_off_by_a_thousandth() -> None:
    m = 1 + np.arange(1 << 16) / (1 << 16)
    off = reciprocal_table()[np.arange(1 << 16) >> 7] * m / 2**15 - 1
    assert np.abs(off).max() < 0.00102


def test_real_states_have_sums_of_128_at_least() -> None:
    made = synthetic_activations(3, heads=2, tokens=300)
    state = attend(quantize_operands(made.q, made.k, made.v, scaling=1.0))
    assert state.running_sum.min() >= LEAST_SUM
    one_key = attend(quantize_operands(made.q, made.k[:, :1], made.v[:, :1], scaling=1.0))
    assert one_key.running_sum.min() >= LEAST_SUM - 1  # one key alone may lose its dither
    assert np.abs(attention_end(state, 0) - finish(state)).max() < 0.7


def test_what_has_no_place_is_refused() -> None:
    state = state_of(0, 1000, 2000)
    with pytest.raises(InputError, match="gain is 16"):
        attention_end(state, 16)
    blind = SoundState(state.accumulator, np.where(np.arange(64) < 2, 0, state.running_sum), state.reference)
    with pytest.raises(InputError, match="2 rows have running sums below 128"):
        attention_end(blind, 0)
