import math
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lane_evaluator import UndefinedResultError, cut, execute, join, signed

FEW = settings(max_examples=40, deadline=None)


def nearest(x, tie):
    """The nearest integer; `tie(floor)` chooses where two are equally near."""
    low = math.floor(x)
    distance = x - low
    if distance == Fraction(1, 2):
        return tie(low)
    return low if distance < Fraction(1, 2) else low + 1


ROUNDING = {
    0: math.floor,
    1: math.ceil,
    2: math.trunc,
    3: lambda x: math.ceil(x) if x > 0 else math.floor(x),
    8: lambda x: nearest(x, lambda low: low),
    9: lambda x: nearest(x, lambda low: low + 1),
    10: lambda x: nearest(x, lambda low: low if x > 0 else low + 1),
    11: lambda x: nearest(x, lambda low: low + 1 if x > 0 else low),
    12: lambda x: nearest(x, lambda low: low if low % 2 == 0 else low + 1),
    13: lambda x: nearest(x, lambda low: low if low % 2 == 1 else low + 1),
}


def into_range(value, bits, is_signed, saturation):
    """The bits of a number in a lane, by the saturation mode."""
    if saturation:
        low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if is_signed else (0, (1 << bits) - 1)
        if saturation == 3 and is_signed:
            low += 1
        value = min(max(value, low), high)
    return value & ((1 << bits) - 1)


def accumulators(bits, lanes):
    """Numbers of all magnitudes, many of them exact ties, in as many lanes."""
    odd = st.tuples(st.integers(-(1 << 20), 1 << 20), st.integers(0, bits - 1)).map(lambda v: v[0] << v[1])
    edge = st.sampled_from([0, 1, -1, (1 << (bits - 1)) - 1, -(1 << (bits - 1))])
    lane = st.one_of(odd, edge, st.integers(-(1 << (bits - 1)), (1 << (bits - 1)) - 1))
    few = st.lists(lane, min_size=4, max_size=4)
    return few.map(lambda values: [v & ((1 << bits) - 1) for v in values] * (lanes // 4))


# opcode, bits of the source register, of its lanes, of the result's lanes
FORMS = [
    ("VSRS_{}8_S32_mv_w_srs", 1024, 32, 8),
    ("VSRS_{}16_S32_mv_x_srs", 1024, 32, 16),
    ("VSRS_{}16_S32_mv_w_srs", 512, 32, 16),
    ("VSRS_{}16_S64_mv_w_srs", 1024, 64, 16),
    ("VSRS_{}32_S64_mv_x_srs", 1024, 64, 32),
    ("VSRS_{}32_S64_mv_w_srs", 512, 64, 32),
    ("VSRSM_{}16_S32", 512, 32, 16),
    ("VSRSM_{}32_S64", 512, 64, 32),
]


@pytest.mark.parametrize(("form", "register", "wide", "narrow"), FORMS)
@FEW
@given(
    data=st.data(),
    rounding=st.sampled_from(sorted(ROUNDING)),
    saturation=st.sampled_from([0, 1, 3]),
    letter=st.sampled_from("SD"),
    sign=st.integers(0, 1),
    shift=st.one_of(st.integers(0, 20), st.integers(0, 63)),
)
def test_srs_rounds_exactly(form, register, wide, narrow, data, rounding, saturation, letter, sign, shift):
    lanes = register // wide
    source = data.draw(accumulators(wide, lanes))
    control = {"crRnd": rounding, "crSat": saturation, "crSRSSign": sign}
    result = execute(form.format(letter), control, src=join(source, wide), shft=shift)["dst"]
    is_signed = letter == "S" or bool(sign)
    expected = [
        into_range(ROUNDING[rounding](Fraction(signed(v, wide), 1 << shift)), narrow, is_signed, saturation)
        for v in source
    ]
    assert cut(result, narrow, lanes) == expected


@pytest.mark.parametrize("rounding", sorted(ROUNDING))
def test_every_mode_on_every_quarter(rounding):
    """-4 to 4 in steps of 1/4: all signs, ties and near-ties of every rounding mode."""
    numbers = range(-16, 16)
    result = execute("VSRS_S8_S32_mv_w_srs", {"crRnd": rounding}, src=join(list(numbers), 32), shft=2)["dst"]
    assert [signed(v, 8) for v in cut(result, 8, 32)] == [ROUNDING[rounding](Fraction(n, 4)) for n in numbers]


@FEW
@given(source=accumulators(32, 32), shift=st.integers(0, 31), rounding=st.sampled_from(sorted(ROUNDING)))
@example(source=[0x7FFFFFFF] * 32, shift=1, rounding=9)
@example(source=[0x80000000] * 32, shift=32, rounding=8)
def test_a_store_narrows_like_a_register_form(source, shift, rounding):
    control = {"crRnd": rounding, "crSat": 1}
    operands = {"src": join(source, 32), "shft": shift}
    stored = execute("VST_SRS_S8_S32_ag_idx_imm", control, ptr=0x1000, imm=32, **operands)
    assert stored["store"] == execute("VSRS_S8_S32_mv_w_srs", control, **operands)["dst"]
    stepped = execute("VST_2D_SRS_S8_S32", control, ptr=0x1000, **operands, **{f"mod[{k}]": 64 for k in range(4)})
    assert stepped["store"] == stored["store"]


@pytest.mark.parametrize("mode", [4, 5, 6, 7, 14, 15])
def test_other_rounding_codes_are_undefined(mode):
    with pytest.raises(UndefinedResultError, match=f"crRnd is {mode}"):
        execute("VSRS_S8_S32_mv_w_srs", {"crRnd": mode}, src=0, shft=0)


def test_saturation_code_2_is_undefined():
    with pytest.raises(UndefinedResultError, match="crSat is 2"):
        execute("VSRS_S8_S32_mv_w_srs", {"crSat": 2}, src=0, shft=0)
