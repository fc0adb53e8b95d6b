import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lane_evaluator import UndefinedResultError, execute

from xattn.isa.semantics.vector_shuffle import SWAP_16_MODE, TRANSPOSES

PAIR = st.binary(min_size=128, max_size=128)
MODES = tuple(range(48))
FEW = settings(max_examples=6, deadline=None)


def transposed(data, bits, rows, cols):
    """Every block of rows x cols elements as its transpose, by NumPy."""
    blocks = np.frombuffer(data, np.uint8).reshape(-1, rows, cols, bits // 8)
    return blocks.transpose(0, 2, 1, 3).tobytes()


def shuffled(data, mode):
    if mode == SWAP_16_MODE:
        return np.frombuffer(data[:64], np.uint16).reshape(-1, 2)[:, ::-1].tobytes()
    bits, rows, cols, half = TRANSPOSES[mode]
    return transposed(data, bits, rows, cols)[64 * half :][:64]


def vshuffle(data, mode):
    low, high = (int.from_bytes(data[k : k + 64], "little") for k in (0, 64))
    return execute("VSHUFFLE", s1=low, s2=high, mod=mode)["dst"].to_bytes(64, "little")


@pytest.mark.parametrize("mode", MODES)
@FEW
@given(data=PAIR)
def test_modes_are_transposes(mode, data):
    assert vshuffle(data, mode) == shuffled(data, mode)
    assert vshuffle(data, mode + 64) == shuffled(data, mode), "only 6 bits select the mode"


def test_modes_are_those_of_the_recorded_facts(facts):
    recorded = json.loads((facts / "isa.json").read_text())["control"]["vshuffle"]["modes"]
    assert len(recorded) == 48
    for row in recorded:
        if row["mode"] != SWAP_16_MODE:
            assert tuple(TRANSPOSES[row["mode"]]) == (row["bits"], row["rows"], row["cols"], row["half"])


@FEW
@given(data=PAIR)
def test_named_uses(data):
    low, high = data[:64], data[64:]
    matrix = np.frombuffer(low, np.uint8).reshape(8, 8)
    assert vshuffle(data, 35) == matrix.T.tobytes()
    interleaved = bytes(byte for pair in zip(low, high, strict=True) for byte in pair)
    assert vshuffle(data, 20) + vshuffle(data, 21) == interleaved
    assert vshuffle(data, 0) + vshuffle(data, 1) == data[::2] + data[1::2]
    assert vshuffle(data, 22) == low and vshuffle(data, 23) == high


@pytest.mark.parametrize("mode", range(48, 64))
def test_undefined_modes_say_so(mode):
    with pytest.raises(UndefinedResultError, match=f"mode {mode} is undefined"):
        execute("VSHUFFLE", s1=0, s2=0, mod=mode)


@pytest.mark.parametrize("bits", [8, 16, 32, 64])
@FEW
@given(value=st.integers(0, (1 << 64) - 1), mode=st.sampled_from(MODES))
def test_broadcast_and_shuffle(bits, value, mode):
    register = value & ((1 << (64 if bits == 64 else 32)) - 1)
    element = (value & ((1 << bits) - 1)).to_bytes(bits // 8, "little")
    result = execute(f"VBCSTSHFL_{bits}", s0=register, idx=mode)["dst"].to_bytes(64, "little")
    assert result == shuffled(element * (512 // bits) + bytes(64), mode)
