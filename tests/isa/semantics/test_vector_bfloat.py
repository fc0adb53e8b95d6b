import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lane_evaluator import UndefinedResultError, cut, execute, join, signed

FEW = settings(max_examples=60, deadline=None)
EDGES = [0, 0x8000, 1, 0x8001, 0x7F, 0x80, 0x3F80, 0xBF80, 0x7F7F, 0xFF7F, 0x7F80, 0xFF80, 0x7FC0, 0xFFC1]
BFLOAT = st.one_of(st.sampled_from(EDGES), st.integers(0, 0xFFFF))
FINITE = BFLOAT.filter(lambda bits: bits >> 7 & 0xFF != 0xFF)


def to_float(bits):
    """bfloat16 bits as NumPy float32."""
    return np.array(bits, np.uint32).__lshift__(16).view(np.float32)


def lanes(strategy, count):
    return st.lists(strategy, min_size=8, max_size=8).map(lambda values: (values * 4)[:count])


@FEW
@given(a=lanes(FINITE, 32), b=lanes(FINITE, 32))
def test_comparisons_of_finite_numbers(a, b):
    operands = {"s1": join(a, 16), "s2": join(b, 16)}
    less = to_float(a) < to_float(b)
    mask, opposite = (int(sum(int(f) << k for k, f in enumerate(flags))) for flags in (less, ~less))
    assert execute("VLT_BF16", **operands) == {"cmp": mask}
    assert execute("VGE_BF16", **operands) == {"cmp": opposite}
    assert execute("VMAX_LT_BF16", **operands) == {"cmp": mask, "d": join(np.where(less, b, a).tolist(), 16)}
    assert execute("VMIN_GE_BF16", **operands) == {"cmp": opposite, "d": join(np.where(less, a, b).tolist(), 16)}


def test_a_nan_is_less_than_nothing():
    assert execute("VLT_BF16", s1=0xFFB6, s2=0x2C83)["cmp"] & 1 == 0, "recorded on a Phoenix core"
    assert execute("VLT_BF16", s1=0x2C83, s2=0x7FB6)["cmp"] & 1 == 0


def floor_to_int32(bits, places):
    x = to_float([bits])[0]
    if math.isnan(x):
        return (1 << 31) - 1
    if math.isinf(x):
        return (1 << 31) - 1 if x > 0 else -(1 << 31)
    exact = math.floor(Fraction(float(x)) * Fraction(2) ** places)
    return min(max(exact, -(1 << 31)), (1 << 31) - 1)


@pytest.mark.parametrize("form", ["W", "AM"])
@FEW
@given(values=lanes(BFLOAT, 16), shift=st.integers(0, 63))
def test_floor(form, values, shift):
    result = execute(f"VFLOOR_S32_BF16_mFl2FxSrc_{form}", src=join(values, 16), shft=shift)["dst"]
    assert [signed(v, 32) for v in cut(result, 32, 16)] == [floor_to_int32(v, signed(shift, 6)) for v in values]


def test_floor_of_a_number_near_one():
    """(1 + f) * 2**k from a number in 1/128 octaves: the linear-mantissa power of two."""
    octaves = [127 * 128 + 128 * k + 64 for k in range(16)]
    result = execute("VFLOOR_S32_BF16_mFl2FxSrc_W", src=join(octaves, 16), shft=1)["dst"]
    assert cut(result, 32, 16) == [3 << k for k in range(16)]


@FEW
@given(values=lanes(BFLOAT, 16))
def test_widening_is_exact(values):
    expected = join(to_float(values).view(np.uint32).tolist(), 32)
    assert execute("VCONV_FP32_BF16", src=join(values, 16)) == {"dst": expected}
    loaded = execute("VLDA_CONV_FP32_BF16_ag_idx", None, (join(values, 16),), ptr=0, dj=0)
    assert loaded == {"dst": expected}


def rounded(bits, mode):
    """float32 bits to the bfloat16 that the mode asks for, by exact arithmetic on neighbours."""
    x = Fraction(float(np.array([bits], np.uint32).view(np.float32)[0]))
    toward_zero = bits >> 16
    if bits & 0xFFFF == 0:
        return toward_zero
    near, far = (Fraction(float(to_float([v])[0])) for v in (toward_zero, toward_zero + 1))
    negative = bits >> 31
    low, high = (toward_zero + 1, toward_zero) if negative else (toward_zero, toward_zero + 1)
    even = toward_zero if toward_zero % 2 == 0 else toward_zero + 1
    odd = toward_zero + 1 if even == toward_zero else toward_zero
    directed = {0: low, 1: high, 2: toward_zero, 3: toward_zero + 1}
    if mode in directed:
        return directed[mode]
    if abs(x - near) != abs(x - far):
        return toward_zero if abs(x - near) < abs(x - far) else toward_zero + 1
    return {8: low, 9: high, 10: toward_zero, 11: toward_zero + 1, 12: even, 13: odd}[mode]


SINGLE = st.one_of(
    st.integers(0, (1 << 32) - 1),
    st.tuples(BFLOAT, st.sampled_from([0, 1, 0x7FFF, 0x8000, 0x8001])).map(lambda v: v[0] << 16 | v[1]),
).filter(lambda bits: (bits >> 23 & 0xFF) != 0xFF and bits & 0x7FFF0000 != 0x7F7F0000)


@pytest.mark.parametrize("mode", [0, 1, 2, 3, 8, 9, 10, 11, 12, 13])
@FEW
@given(values=lanes(SINGLE, 16))
def test_narrowing_rounds_finite_numbers(mode, values):
    expected = join([rounded(v, mode) for v in values], 16)
    assert execute("VCONV_BF16_FP32", {"crRnd": mode}, src=join(values, 32)) == {"dst": expected}
    stored = execute("VST_CONV_BF16_FP32_ag_idx", {"crRnd": mode}, src=join(values, 32), ptr=0, dj=0)
    assert stored["store"] == expected


def test_narrowing_keeps_infinities_and_nans():
    values = [0x7F800000, 0xFF800000, 0x7FC12345, 0xFF800001, 0x7F7FFFFF]
    result = execute("VCONV_BF16_FP32", {"crRnd": 9}, src=join(values, 32))["dst"]
    assert cut(result, 16, 5) == [0x7F80, 0xFF80, 0x7FC1, 0xFFC0, 0x7F80]


def test_other_rounding_codes_are_undefined():
    with pytest.raises(UndefinedResultError, match="crRnd is 5"):
        execute("VCONV_BF16_FP32", {"crRnd": 5}, src=0)
