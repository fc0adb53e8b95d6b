import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lane_evaluator import UndefinedResultError, cut, execute, join, signed

FEW = settings(max_examples=40, deadline=None)

# opcode, bits of the source register, of its lanes, of the accumulator's lanes
FORMS = [
    ("VUPS_S32_{}8_mv_ups_w2c", 256, 8, 32),
    ("VUPS_S32_{}16_mv_ups_w2b", 256, 16, 32),
    ("VUPS_S32_{}16_mv_ups_x2c", 512, 16, 32),
    ("VUPS_S64_{}16_mv_ups_w2c", 256, 16, 64),
    ("VUPS_S64_{}32_mv_ups_w2b", 256, 32, 64),
    ("VUPS_S64_{}32_mv_ups_x2c", 512, 32, 64),
]


def shifted(value, shift, bits, saturation):
    """value * 2**shift in a signed lane of `bits`."""
    result = value << shift
    if saturation:
        low = -(1 << (bits - 1)) + (saturation == 3)
        result = min(max(result, low), (1 << (bits - 1)) - 1)
    return result & ((1 << bits) - 1)


@pytest.mark.parametrize(("form", "register", "narrow", "wide"), FORMS)
@FEW
@given(
    source=st.integers(0, (1 << 512) - 1),
    letter=st.sampled_from("SD"),
    sign=st.integers(0, 1),
    saturation=st.sampled_from([0, 1, 3]),
    shift=st.integers(0, 63),
)
@example(source=0, letter="S", sign=0, saturation=1, shift=63)
@example(source=(1 << 512) - 1, letter="S", sign=0, saturation=1, shift=31)
@example(source=(1 << 512) - 1, letter="S", sign=0, saturation=3, shift=31)
@example(source=(1 << 512) - 1, letter="S", sign=0, saturation=3, shift=63)
def test_ups_widens_and_shifts(form, register, narrow, wide, source, letter, sign, saturation, shift):
    source &= (1 << register) - 1
    lanes = register // narrow
    control = {"crSat": saturation, "crUPSSign": sign}
    result = execute(form.format(letter), control, src=source, shft=shift)["dst"]
    is_signed = letter == "S" or sign
    numbers = [signed(v, narrow) if is_signed else v for v in cut(source, narrow, lanes)]
    assert cut(result, wide, lanes) == [shifted(v, shift, wide, saturation) for v in numbers]


@pytest.mark.parametrize("sat", [0, 1, 3])
@FEW
@given(source=st.integers(0, (1 << 256) - 1), shift=st.integers(0, 63))
def test_a_load_widens_like_a_register_form(sat, source, shift):
    loaded = execute("VLDA_UPS_S32_S8_ag_idx_imm", {"crSat": sat}, (source,), ptr=0, imm=0, shft=shift)
    assert loaded == execute("VUPS_S32_S8_mv_ups_w2c", {"crSat": sat}, src=source, shft=shift)


def test_ups_undoes_srs():
    numbers = [(k - 16) * 3 & 0xFF for k in range(32)]
    wide = execute("VUPS_S32_S8_mv_ups_w2c", src=join(numbers, 8), shft=11)["dst"]
    assert execute("VSRS_S8_S32_mv_w_srs", src=wide, shft=11)["dst"] == join(numbers, 8)


def test_saturation_code_2_is_undefined():
    with pytest.raises(UndefinedResultError, match="crSat is 2"):
        execute("VUPS_S32_S8_mv_ups_w2c", {"crSat": 2}, src=0, shft=0)
