"""The integer GELU against the exact one, for all inputs and the whole range of scales."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from xattn.errors import InputError
from xattn.numerics.layers import gelu, gelu_constants, gelu_scale
from xattn.numerics.layers.gelu import REACH, SMALLEST_SCALE, TAIL

ALL = np.arange(-128, 128).astype(np.int8)


def exact(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([v * 0.5 * math.erfc(-v / math.sqrt(2)) for v in x])


def test_the_fourth_power_is_as_near_as_it_says() -> None:
    a = np.linspace(0, 8, 4001)
    tail = TAIL * np.maximum(REACH - a, 0) ** 4
    error = np.abs(a * tail - (a - exact(a)))
    assert 0.0037 < error.max() < 0.00385


@given(st.floats(0.01, 0.3), st.floats(0.01, 0.2))
def test_every_scale_of_a_layer_is_near_the_exact_function(wanted: float, output_scale: float) -> None:
    """Half a step of rounding, the approximation's 0.0038, and what 16-bit numbers on the way lose."""
    scale = gelu_scale(wanted, output_scale)
    assert max(wanted, SMALLEST_SCALE) * (1 - 1e-9) <= scale <= 1.1487 * max(wanted, SMALLEST_SCALE)
    try:
        constants = gelu_constants(scale, output_scale)
    except InputError:
        assert not 1 / 8 < scale / output_scale < 8
        return
    reference = np.clip(exact(ALL * scale) / output_scale, -128, 127)
    error = np.abs(gelu(ALL, constants) - reference).max()
    assert error <= 0.5 + 0.00385 / output_scale + 0.03


def test_numbers_of_a_real_layer_are_one_step_off_at_most() -> None:
    for wanted, output_scale in ((0.06, 0.045), (0.08, 0.05), (0.1, 0.03)):
        scale = gelu_scale(wanted, output_scale)
        rounded = np.clip(np.rint(exact(ALL * scale) / output_scale), -128, 127)
        off = np.abs(gelu(ALL, gelu_constants(scale, output_scale)) - rounded)
        assert off.max() <= 1 and (off > 0).mean() < 0.05


def test_far_from_zero_it_is_zero_or_the_number_itself() -> None:
    scale = gelu_scale(0.1, 0.1)
    y = gelu(ALL, gelu_constants(scale, 0.1)).astype(int)
    far = np.abs(ALL.astype(int) * scale) > REACH
    np.testing.assert_array_equal(y[far & (ALL < 0)], 0)
    expected = np.minimum(np.rint(ALL * scale / 0.1), 127)
    np.testing.assert_array_equal(y[far & (ALL > 0)], expected[far & (ALL > 0)])


@pytest.mark.parametrize(
    ("input_scale", "output_scale", "message"),
    [
        (gelu_scale(0.06, 0.045) * 1.05, 0.045, "no exact constants"),
        (0.01, 0.045, "no exact constants"),
        (gelu_scale(1.0, 1e-6), 1e-6, "too far apart"),
        (0.0, 0.1, "input scale is 0"),
        (0.1, math.nan, "output scale is nan"),
    ],
)
def test_scales_that_do_not_do_are_refused(input_scale: float, output_scale: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        gelu_constants(input_scale, output_scale)


def test_other_dtypes_are_refused() -> None:
    with pytest.raises(InputError, match="int16, expected int8"):
        gelu(ALL.astype(np.int16), gelu_constants(gelu_scale(0.06, 0.045), 0.045))  # type: ignore[arg-type]
