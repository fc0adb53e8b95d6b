"""Linear layers in integers: exact sums, and requantization against real numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xattn.errors import InputError
from xattn.numerics.layers import Requantization, add_to_residual, linear_sums, requantization, requantize

RNG = np.random.default_rng(5)


@pytest.mark.parametrize("depth", [64, 512, 2048])
def test_sums_are_exact(depth: int) -> None:
    for fill in (None, -128):
        x, w = RNG.integers(-128, 128, (3, depth), dtype=np.int8), RNG.integers(-128, 128, (depth, 5), dtype=np.int8)
        if fill is not None:
            x[:], w[:] = fill, fill
        bias = RNG.integers(-(1 << 20), 1 << 20, 5).astype(np.int32)
        expected = [[sum(int(a) * int(b) for a, b in zip(row, column, strict=True)) for column in w.T] for row in x]
        np.testing.assert_array_equal(linear_sums(x, w, bias), np.array(expected) + bias)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.floats(1e-5, 0.02), st.floats(1.0, 16.0))
def test_int8_is_within_a_step_and_a_bit_of_the_real_number(seed: int, middle: float, spread: float) -> None:
    """Half a step, and what 16-bit sums and multipliers lose: 1/128 of a step times how far apart ratios are."""
    rng = np.random.default_rng(seed)
    ratio = middle * spread ** rng.uniform(-1, 1, 16)
    largest = 512 * 127 * 127
    by = requantization(ratio, largest)
    sums = rng.integers(-largest, largest, (50, 16)).astype(np.int32)
    sums[:25] = np.rint(rng.uniform(-140, 140, (25, 16)) / ratio).clip(-largest, largest)
    error = np.abs(requantize(sums, by) - np.clip(sums * ratio, -128, 127))
    assert error.max() <= 0.5 + 1 / 128 * ratio.max() / ratio.min()


def test_a_residual_stream_is_rounded_once() -> None:
    ratio = 10.0 ** RNG.uniform(-3, -2, 16)
    by = requantization(ratio, 512 * 127 * 127, 32767)
    sums = RNG.integers(-(1 << 21), 1 << 21, (200, 16)).astype(np.int32)
    residual = RNG.integers(-20000, 20000, sums.shape).astype(np.int16)
    exact = residual + sums * ratio
    assert np.abs(exact).max() < 32767
    # 16-bit sums and multipliers lose 2^-16 of their ranges each
    assert np.abs(add_to_residual(residual, sums, by) - exact).max() < 0.5 + np.abs(sums * ratio).max() / 2**12
    coarse = Requantization((by.multiplier // 8).astype(np.int16), by.first, by.second)
    exact = residual / 8 + sums * (coarse.multiplier / 2.0 ** (by.first + by.second))
    assert np.abs(add_to_residual(residual, sums, coarse, 3) - exact).max() < 0.5 + np.abs(sums * ratio).max() / 2**12
    full = np.array([[32767, -32768]], np.int16)
    large = np.array([[1 << 30, -(1 << 30)]], np.int32)
    two = Requantization(by.multiplier[:2], by.first, by.second)
    np.testing.assert_array_equal(add_to_residual(full, large, two), full)


def test_what_cannot_be_is_refused() -> None:
    ones, bias = np.ones((2, 64), np.int8), np.zeros(3, np.int32)
    with pytest.raises(InputError, match="ratio holds 0"):
        requantization(np.array([0.0, 1.0]), 1000)
    with pytest.raises(InputError, match="too far apart"):
        requantization(np.array([1e-9, 1.0]), 1 << 30)
    by = Requantization(np.ones(3, np.int16), 0, 16)
    with pytest.raises(InputError, match="a last shift of 16 is too much"):
        add_to_residual(np.zeros(3, np.int16), np.zeros(3, np.int32), by)
    by = Requantization(by.multiplier, 0, 15)
    with pytest.raises(InputError, match="16 octaves between residual streams"):
        add_to_residual(np.zeros(3, np.int16), np.zeros(3, np.int32), by, 16)
    with pytest.raises(InputError, match="x has dtype int16"):
        linear_sums(ones.astype(np.int16), np.ones((64, 3), np.int8), bias)
    with pytest.raises(InputError, match=r"expected \[depth, n\] and \[n\]"):
        linear_sums(ones, np.ones((64, 4), np.int8), bias)
    with pytest.raises(InputError, match="may leave 32 bits"):
        linear_sums(ones, np.ones((64, 3), np.int8), np.full(3, 2**31 - 1, np.int32))
