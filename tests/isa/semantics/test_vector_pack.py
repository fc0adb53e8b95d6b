import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lane_evaluator import cut, execute, signed

FEW = settings(max_examples=40, deadline=None)
WIDTHS = [(4, 8), (8, 16)]


@pytest.mark.parametrize("letter", ["S", "D"])
@pytest.mark.parametrize(("narrow", "wide"), WIDTHS)
@FEW
@given(source=st.integers(0, (1 << 512) - 1), sign=st.integers(0, 1), saturation=st.sampled_from([0, 1, 3]))
def test_pack(narrow, wide, letter, source, sign, saturation):
    control = {"crPackSign": sign, "crSat": saturation}
    result = execute(f"VPACK_{letter}{narrow}_{letter}{wide}", control, src=source)["dst"]
    lanes = np.array(cut(source, wide, 512 // wide))
    if letter == "S" or sign:
        lanes = np.where(lanes >> (wide - 1), lanes - (1 << wide), lanes)
        low, high = -(1 << (narrow - 1)) + (saturation == 3), (1 << (narrow - 1)) - 1
    else:
        low, high = 0, (1 << narrow) - 1
    expected = np.clip(lanes, low, high) if saturation else lanes
    assert cut(result, narrow, 512 // wide) == (expected & ((1 << narrow) - 1)).tolist()


@pytest.mark.parametrize("letter", ["S", "D"])
@pytest.mark.parametrize(("narrow", "wide"), WIDTHS)
@FEW
@given(source=st.integers(0, (1 << 256) - 1), sign=st.integers(0, 1))
def test_unpack(narrow, wide, letter, source, sign):
    result = execute(f"VUNPACK_{letter}{wide}_{letter}{narrow}", {"crUnpackSign": sign}, src=source)["dst"]
    lanes = cut(source, narrow, 256 // narrow)
    mask = (1 << wide) - 1
    assert cut(result, wide, 512 // wide) == [(signed(v, narrow) if letter == "S" or sign else v) & mask for v in lanes]


def test_nibbles_stand_low_first():
    bytes_ = bytes(range(64))
    packed = execute("VPACK_S4_S8", src=int.from_bytes(bytes_, "little"))["dst"].to_bytes(32, "little")
    assert packed == bytes((a & 15) | (b & 15) << 4 for a, b in zip(bytes_[::2], bytes_[1::2], strict=True))


@FEW
@given(source=st.integers(0, (1 << 512) - 1))
def test_memory_forms_equal_register_forms(source):
    control = {"crSat": 1, "crPackSign": 0, "crUnpackSign": 1}
    packed = execute("VPACK_D8_D16", control, src=source)["dst"]
    assert execute("VST_PACK_D8_D16_ag_pstm_nrm_imm", control, ptr=64, imm=32, src=source)["store"] == packed
    loaded = execute("VLDB_UNPACK_D16_D8_ag_idx", control, (packed,), ptr=64, dj=0)["dst"]
    assert loaded == execute("VUNPACK_D16_D8", control, src=packed)["dst"]
