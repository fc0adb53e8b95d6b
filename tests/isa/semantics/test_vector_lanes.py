import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lane_evaluator import cut, execute, join, signed

WIDTHS = (8, 16, 32, 64)
FEW = settings(max_examples=20, deadline=None)
VECTOR = st.integers(0, (1 << 512) - 1)
WORD = st.integers(0, (1 << 32) - 1)
INDEX = st.one_of(st.integers(0, 70), WORD)


def scalar(bits):
    """What the operand's register holds: 64 bits come from a pair."""
    return st.integers(0, (1 << (64 if bits == 64 else 32)) - 1)


@pytest.mark.parametrize("bits", WIDTHS)
@FEW
@given(data=st.data())
def test_broadcast(bits, data):
    value = data.draw(scalar(bits))
    lanes = [value & ((1 << bits) - 1)] * (512 // bits)
    assert execute(f"VBCST_{bits}", s0=value) == {"dst": join(lanes, bits)}


@pytest.mark.parametrize("bits", WIDTHS)
@FEW
@given(vector=VECTOR, index=INDEX, small=st.integers(0, 31))
def test_extract_and_broadcast_wraps_the_index(bits, vector, index, small):
    count = 512 // bits
    lanes = cut(vector, bits, count)
    by_register = execute(f"VEXTBCST_{bits}_mRm", src=vector, idx=index)["dst"]
    by_immediate = execute(f"VEXTBCST_{bits}_mExtractIdxImm", src=vector, idx=small)["dst"]
    assert cut(by_register, bits, count) == [lanes[index % count]] * count
    assert cut(by_immediate, bits, count) == [lanes[small % count]] * count


@pytest.mark.parametrize("bits", WIDTHS)
@FEW
@given(vector=VECTOR, index=INDEX, sign=st.integers(0, 1))
def test_extract_extends_by_its_sign(bits, vector, index, sign):
    lane = cut(vector, bits, 512 // bits)[index % (512 // bits)]
    width = 64 if bits == 64 else 32
    mask = (1 << width) - 1
    assert execute(f"VEXTRACT_S{bits}", s1=vector, idx=index)["dst"] & mask == signed(lane, bits) & mask
    dynamic = execute(f"VEXTRACT_D{bits}", {"crVaddSign": sign}, s1=vector, idx=index)["dst"] & mask
    assert dynamic == (signed(lane, bits) if sign else lane) & mask


@pytest.mark.parametrize("bits", WIDTHS)
@FEW
@given(data=st.data(), vector=VECTOR, index=INDEX)
def test_insert_changes_one_lane(bits, data, vector, index):
    value = data.draw(scalar(bits))
    lanes = cut(vector, bits, 512 // bits)
    lanes[index % len(lanes)] = value & ((1 << bits) - 1)
    assert execute(f"VINSERT_{bits}", s1=vector, idx=index, s0=value) == {"dst": join(lanes, bits)}


@pytest.mark.parametrize("bits", WIDTHS)
@FEW
@given(data=st.data(), vector=VECTOR)
def test_push_moves_all_lanes_by_one(bits, data, vector):
    value = data.draw(scalar(bits))
    new = value & ((1 << bits) - 1)
    low = execute(f"VPUSH_LO_{bits}", s1=value, s2=vector)["d"]
    high = execute(f"VPUSH_HI_{bits}", s1=vector, s2=value)["d"]
    assert low == (vector << bits | new) & ((1 << 512) - 1)
    assert high == vector >> bits | new << (512 - bits)


@FEW
@given(low=VECTOR, high=VECTOR, amount=st.one_of(st.integers(0, 140), WORD))
def test_shift_takes_64_bytes_of_the_pair(low, high, amount):
    expected = (high << 512 | low) >> (8 * min(amount, 128)) & ((1 << 512) - 1)
    assert execute("VSHIFT", s1=low, s2=high, shift=amount) == {"d": expected}


@FEW
@given(value=st.integers(0, (1 << 1024) - 1))
def test_moves_and_clears(value):
    assert execute("VMOV_mv_cm", src=value) == {"dst": value}
    assert execute("VMOV_D", csrc=value) == {"cdst": value}
    assert execute("VMOV_mv_x", src=value >> 512) == {"dst": value >> 512}
    assert execute("VMOV_mv_w", src=value >> 768) == {"dst": value >> 768}
    assert execute("VCLR_vclr") == {"dst": 0}
    assert execute("VCLR_vclr_BF") == {"dst": 0}
