"""The integer GELU against the exact one, for all inputs and the whole range of scales."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from xattn.errors import InputError
from xattn.numerics.layers import gelu, gelu_constants
from xattn.numerics.layers.gelu import REACH, SMALLEST_SCALE, TAIL

ALL = np.arange(-128, 128).astype(np.int8)


def exact(x: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.array([v * 0.5 * math.erfc(-v / math.sqrt(2)) for v in x])


def of_all(input_scale: float, *output_scales: float) -> NDArray[np.int8]:
    """`[256, scales]`: every input, one channel an output scale."""
    constants = gelu_constants(input_scale, np.array(output_scales))
    return gelu(np.repeat(ALL[:, np.newaxis], len(output_scales), axis=1), constants)


def test_the_fourth_power_is_as_near_as_it_says() -> None:
    a = np.linspace(0, 8, 4001)
    tail = TAIL * np.maximum(REACH - a, 0) ** 4
    error = np.abs(a * tail - (a - exact(a)))
    assert 0.0037 < error.max() < 0.00385


@given(st.floats(SMALLEST_SCALE, 0.3), st.floats(0.005, 0.2), st.floats(1.0, 50.0))
def test_every_scale_of_a_layer_is_near_the_exact_function(scale: float, output_scale: float, spread: float) -> None:
    """Half a step of rounding, the approximation's 0.0038, and what 16-bit numbers on the way lose."""
    outputs = output_scale, output_scale * spread
    found = of_all(scale, *outputs)
    for channel, step in enumerate(outputs):
        reference = np.clip(exact(ALL * scale) / step, -128, 127)
        rounded_factor = 128 * spread / 2**15  # of the coarsest channel, at its largest output
        bound = 0.5 + 0.00385 / step + (rounded_factor if channel else 0.005) + scale / step / 100
        assert np.abs(found[:, channel] - reference).max() <= bound


def test_numbers_of_a_real_layer_are_one_step_off_at_most() -> None:
    for scale, step in ((0.06, 0.045), (0.08, 0.05), (0.1, 0.03)):
        rounded = np.clip(np.rint(exact(ALL * scale) / step), -128, 127)
        off = np.abs(of_all(scale, step)[:, 0] - rounded)
        assert off.max() <= 1 and (off > 0).mean() < 0.06


def test_far_from_zero_it_is_zero_or_the_number_itself() -> None:
    y = of_all(0.1, 0.1)[:, 0].astype(int)
    far = np.abs(ALL.astype(int) * 0.1) > REACH
    np.testing.assert_array_equal(y[far & (ALL < 0)], 0)
    np.testing.assert_array_equal(y[far & (ALL > 0)], ALL[far & (ALL > 0)])


@pytest.mark.parametrize(
    ("input_scale", "output_scales", "message"),
    [
        (0.01, [0.045], "GELU takes 0.02888 at least"),
        (0.06, [0.045, 0.045 * 600], "too far apart"),
        (0.06, [1e-9], "too far apart"),
        (0.0, [0.1], "input scale is 0"),
        (0.1, [0.1, math.nan], "output scale is nan"),
    ],
)
def test_scales_that_do_not_do_are_refused(input_scale: float, output_scales: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        gelu_constants(input_scale, np.array(output_scales))


def test_other_dtypes_and_channels_are_refused() -> None:
    constants = gelu_constants(0.06, np.array([0.05, 0.04]))
    with pytest.raises(InputError, match="int16, expected int8"):
        gelu(np.zeros((3, 2), np.int16), constants)
    with pytest.raises(InputError, match="there are 2 factors"):
        gelu(np.zeros((3, 4), np.int8), constants)
