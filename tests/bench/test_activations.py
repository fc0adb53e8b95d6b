"""The tile: which tokens it holds, how it is quantized, what float attention of it is, and the synthetic statistics."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xattn.bench import Activations, cut_tile, synthetic_activations
from xattn.bench.activations import another_first
from xattn.errors import InputError


def head(tokens: int, width: int, seed: int = 0) -> Activations:
    generator = np.random.default_rng(seed)
    q, k, v = (generator.normal(0, 2, (tokens, width)).astype(np.float32) for _ in range(3))
    return Activations(q, k, v, "speech", "a test's")


def test_a_tile_is_quantized_with_the_scale_of_its_whole_head() -> None:
    activations = head(100, 8)
    activations.k[90, 3] = 50.0  # outside of the tile, and by far the largest
    tile = cut_tile(activations, 10, 16, 8)
    assert tile.k.dtype == np.int8
    for row in range(16):
        for column in range(8):
            assert int(tile.k[row, column]) == round(float(activations.k[10 + row, column]) / (50.0 / 127))
    assert tile.v_scale == pytest.approx(np.abs(activations.v).max() / 127)
    assert np.abs(tile.v * tile.v_scale - activations.v[10:26]).max() <= tile.v_scale / 2 * (1 + 1e-6)


def test_the_truth_is_float_attention_of_the_tile_alone() -> None:
    activations = head(40, 4, seed=1)
    tile = cut_tile(activations, 5, 6, 3)
    q, k, v = (m[5:11, :3].astype(float).tolist() for m in (activations.q, activations.k, activations.v))
    for i, q_row in enumerate(q):
        weights = [math.exp(sum(a * b for a, b in zip(q_row, k_row, strict=True))) for k_row in k]
        for c in range(3):
            expected = sum(w * v_row[c] for w, v_row in zip(weights, v, strict=True)) / sum(weights)
            assert tile.truth[i, c] == pytest.approx(expected, rel=1e-9)


@given(available=st.integers(2, 60), data=st.data())
def test_two_tiles_never_share_a_token(available: int, data: st.DataObject) -> None:
    tokens = data.draw(st.integers(1, available // 2))
    first = data.draw(st.integers(0, available - tokens))
    activations = head(available, 2)
    if first + 2 * tokens > available and first < tokens:
        with pytest.raises(InputError, match="no second tile"):
            another_first(activations, first, tokens)
        return
    other = another_first(activations, first, tokens)
    assert 0 <= other <= available - tokens
    assert not set(range(first, first + tokens)) & set(range(other, other + tokens))


def test_tiles_that_the_head_has_not_are_refused() -> None:
    activations = head(100, 64)
    with pytest.raises(InputError, match=r"first token 37 does not fit.* 0 to 36"):
        cut_tile(activations, 37, 64, 64)
    with pytest.raises(InputError, match="first token -1"):
        cut_tile(activations, -1, 64, 64)
    with pytest.raises(InputError, match="the head has 100 × 64"):
        cut_tile(activations, 0, 64, 128)
    with pytest.raises(InputError, match=r"no second tile of 40 tokens .* at token 30: .* 100 tokens"):
        another_first(activations, 30, 40)


def test_synthetic_activations_are_as_large_as_real_ones() -> None:
    """Ranges recorded from Whisper tiny.en on speech: |Q| 0.9 to 1.6, |K| 6.5 to 10, |V| 3.5 to 9, |score| 15 to 38."""
    for seed in range(4):
        made = synthetic_activations(seed)
        assert made.source == "synthetic" and made.seed == seed and made.layer is None
        for matrix, low, high in ((made.q, 0.9, 1.6), (made.k, 6.5, 10), (made.v, 3.5, 9)):
            assert (matrix.shape, matrix.dtype) == ((1500, 64), np.float32)
            assert low <= np.abs(matrix).max() <= high
        assert 15 <= np.abs(made.q @ made.k.T).max() <= 38
    assert np.array_equal(synthetic_activations(3).k, synthetic_activations(3).k)
    assert not np.array_equal(synthetic_activations(3).k, synthetic_activations(4).k)
    with pytest.raises(InputError, match="seed -1, heads 1"):
        synthetic_activations(-1)
