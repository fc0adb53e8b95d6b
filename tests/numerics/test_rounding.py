import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xattn.errors import InputError
from xattn.numerics.rounding import divide_half_away, saturate, shift_right

HALF = Fraction(1, 2)
EXACT = {
    "floor": math.floor,
    "half_up": lambda x: math.floor(x + HALF),
    "half_even": round,
    "half_away": lambda x: math.floor(x + HALF) if x >= 0 else math.ceil(x - HALF),
}


@settings(max_examples=300)
@given(
    x=st.integers(-(2**31), 2**31 - 1) | st.integers(-20, 20),
    shift=st.integers(0, 31),
    mode=st.sampled_from(sorted(EXACT)),
)
def test_shift_right_equals_rational_rounding(x, shift, mode):
    got = shift_right(np.array([x], np.int64), shift, mode)
    assert int(got[0]) == EXACT[mode](Fraction(x, 2**shift))
    if -(2**31) <= x + 2**shift < 2**31:
        assert int(shift_right(np.array([x], np.int32), shift, mode)[0]) == int(got[0])


def test_shift_may_differ_by_row_and_stops_at_31():
    x = np.array([[-(2**31), 5], [12, -12]], np.int32)
    assert shift_right(x, np.array([[40], [2]]), "floor").tolist() == [[-1, 0], [3, -3]]


@given(x=st.integers(-(2**50), 2**50) | st.integers(-30, 30), y=st.integers(1, 2**31 - 1) | st.integers(1, 12))
def test_divide_half_away_equals_rational_rounding(x, y):
    assert int(divide_half_away(np.array([x]), np.array([y]))[0]) == EXACT["half_away"](Fraction(x, y))


def test_saturate_clamps_to_both_ends():
    assert saturate(np.array([-129, -128, 127, 128]), np.int8).tolist() == [-128, -128, 127, 127]
    assert saturate(np.array([-40000, 40000]), np.int16).tolist() == [-32768, 32767]


@pytest.mark.parametrize(("shift", "mode", "message"), [(-1, "floor", "shift is -1"), (1, "up", "rounding is 'up'")])
def test_refuses(shift, mode, message):
    with pytest.raises(InputError, match=message):
        shift_right(np.array([1], np.int32), shift, mode)
