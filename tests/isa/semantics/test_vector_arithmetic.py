import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lane_evaluator import execute

WIDTHS = (8, 16, 32)
FEW = settings(max_examples=15, deadline=None)  # times widths, signs and opcodes, and 16 to 64 lanes each
EDGES = {bits: [0, 1, (1 << bits) - 1, 1 << (bits - 1), (1 << (bits - 1)) - 1] for bits in WIDTHS}


def vectors(bits):
    """Random bytes, with some lanes set to the edges of their range."""

    def made(drawn):
        data, edges = drawn
        vector = np.frombuffer(data, f"u{bits // 8}").copy()
        for lane, edge in edges:
            vector[lane] = edge
        return vector

    edges = st.lists(st.tuples(st.integers(0, 512 // bits - 1), st.sampled_from(EDGES[bits])), max_size=12)
    return st.tuples(st.binary(min_size=64, max_size=64), edges).map(made)


def number(array):
    return int.from_bytes(array.tobytes(), "little")


def array(value, bits):
    return np.frombuffer(value.to_bytes(64, "little"), f"u{bits // 8}")


def mask_number(flags):
    return sum(int(flag) << k for k, flag in enumerate(flags))


def as_type(values, letter, sign):
    """The lanes as int64, in the sign that the opcode sees."""
    signed = letter == "S" or sign
    return values.astype(np.int64) if not signed else values.view(values.dtype.name.lstrip("u")).astype(np.int64)


def wrapped(values, bits):
    return (values & ((1 << bits) - 1)).astype(f"u{bits // 8}")


BINARY = {
    "VADD": lambda a, b: a + b,
    "VSUB": lambda a, b: a - b,
}


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("name", BINARY)
@FEW
@given(data=st.data())
def test_sums_wrap(name, bits, data):
    a, b = data.draw(vectors(bits)), data.draw(vectors(bits))
    result = execute(f"{name}_{bits}", s1=number(a), s2=number(b))
    expected = wrapped(BINARY[name](a.astype(np.int64), b.astype(np.int64)), bits)
    assert array(result["d"], bits).tolist() == expected.tolist()


COMPARING = {
    "VMAX_LT": (lambda a, b: np.maximum(a, b), lambda a, b: a < b),
    "VMIN_GE": (lambda a, b: np.minimum(a, b), lambda a, b: a >= b),
    "VMAXDIFF_LT": (lambda a, b: np.where(a < b, 0, a - b), lambda a, b: a < b),
    "VSUB_LT": (lambda a, b: a - b, lambda a, b: a < b),
    "VSUB_GE": (lambda a, b: a - b, lambda a, b: a >= b),
    "VLT": (None, lambda a, b: a < b),
    "VGE": (None, lambda a, b: a >= b),
}


@pytest.mark.parametrize("letter", ["S", "D"])
@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("name", COMPARING)
@FEW
@given(data=st.data(), sign=st.integers(0, 1))
def test_comparisons_in_both_signs(name, bits, letter, data, sign):
    a, b = data.draw(vectors(bits)), data.draw(vectors(bits))
    result = execute(f"{name}_{letter}{bits}", {"crVaddSign": sign}, s1=number(a), s2=number(b))
    x, y = as_type(a, letter, sign), as_type(b, letter, sign)
    value, flags = COMPARING[name]
    assert result["cmp"] == mask_number(flags(x, y))
    if value is not None:
        assert array(result["d"], bits).tolist() == wrapped(value(x, y), bits).tolist()


@pytest.mark.parametrize("letter", ["S", "D"])
@pytest.mark.parametrize("bits", WIDTHS)
@FEW
@given(data=st.data(), sign=st.integers(0, 1))
def test_absolute_value(bits, letter, data, sign):
    a = data.draw(vectors(bits))
    result = execute(f"VABS_GTZ_{letter}{bits}", {"crVaddSign": sign}, s1=number(a))
    x = as_type(a, letter, sign)
    assert array(result["d"], bits).tolist() == wrapped(np.abs(x), bits).tolist()
    assert result["cmp"] == mask_number(x > 0)


@pytest.mark.parametrize("bits", WIDTHS)
@FEW
@given(data=st.data())
def test_tests_against_zero(bits, data):
    a = data.draw(vectors(bits))
    x = as_type(a, "S", 1)
    assert execute(f"VEQZ_{bits}", s2=number(a)) == {"cmp": mask_number(x == 0)}
    negated = execute(f"VNEG_GTZ{bits}", s1=number(a))
    assert array(negated["d"], bits).tolist() == wrapped(-x, bits).tolist()
    assert negated["cmp"] == mask_number(x > 0)
    inverted = execute(f"VBNEG_LTZ_S{bits}", s1=number(a))
    assert array(inverted["d"], bits).tolist() == (~a).tolist()
    assert inverted["cmp"] == mask_number(x < 0)


@pytest.mark.parametrize("bits", WIDTHS)
@FEW
@given(data=st.data())
def test_masks_choose_lanes(bits, data):
    a, b = data.draw(vectors(bits)), data.draw(vectors(bits))
    mask = data.draw(st.integers(0, (1 << (64 if bits == 8 else 32)) - 1))
    flags = np.array([mask >> k & 1 for k in range(512 // bits)], bool)
    chosen = execute(f"VSEL_{bits}", s1=number(a), s2=number(b), sel=mask)["d"]
    assert array(chosen, bits).tolist() == np.where(flags, b, a).tolist()
    mixed = execute(f"VADDSUB_{bits}", s1=number(a), s2=number(b), sel=mask)["d"]
    assert array(mixed, bits).tolist() == np.where(flags, a - b, a + b).tolist()


@FEW
@given(a=st.integers(0, (1 << 512) - 1), b=st.integers(0, (1 << 512) - 1))
def test_logic(a, b):
    assert execute("VBAND", s1=a, s2=b) == {"d": a & b}
    assert execute("VBOR", s1=a, s2=b) == {"d": a | b}
