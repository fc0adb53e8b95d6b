"""Scalar operations against the arithmetic that they stand for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lane_evaluator import execute

WORD = 1 << 32
words = st.one_of(
    st.integers(0, WORD - 1), st.sampled_from([0, 1, 2, 31, 32, 33, WORD - 1, WORD - 2, 1 << 31, (1 << 31) - 1])
)


def signed(value: int) -> int:
    return value - WORD if value >> 31 else value


def result(name: str, a: int, b: int = 0, **registers: int) -> int:
    operands = {"mRx0": a, "mRy": b}
    return execute(name, registers, **operands)["mRx"]


@given(words, words)
def test_two_operand_arithmetic_and_logic(a: int, b: int) -> None:
    assert result("ADD", a, b) == (a + b) % WORD
    assert result("SUB", a, b) == (a - b) % WORD
    assert result("MUL_mul_r_rr", a, b) == a * b % WORD
    assert (result("AND", a, b), result("OR", a, b), result("XOR", a, b)) == (a & b, a | b, a ^ b)


@given(words, words)
def test_comparisons(a: int, b: int) -> None:
    expected = {
        "EQ": a == b,
        "NE": a != b,
        "LT": signed(a) < signed(b),
        "LTU": a < b,
        "GE": signed(a) >= signed(b),
        "GEU": a >= b,
    }
    assert {name: result(name, a, b) for name in expected} == {name: int(value) for name, value in expected.items()}


@given(words)
def test_one_operand(a: int) -> None:
    assert result("ABS", a) == abs(signed(a)) % WORD
    assert (result("EQZ", a), result("NEZ", a)) == (int(a == 0), int(a != 0))
    assert result("CLZ", a) == len(f"{a:032b}") - len(f"{a:032b}".lstrip("0"))
    text = f"{a:032b}"
    assert result("CLB", a) == len(text) - len(text.lstrip(text[0]))
    assert result("EXTENDs8", a) == int.from_bytes(bytes([a & 255]), "little", signed=True) % WORD
    assert result("EXTENDs16", a) == int.from_bytes((a & 0xFFFF).to_bytes(2, "little"), "little", signed=True) % WORD
    assert (result("EXTENDu8", a), result("EXTENDu16", a)) == (a & 255, a & 0xFFFF)


@given(words, st.one_of(words, st.integers(-70, 70).map(lambda n: n % WORD)))
def test_shifts_go_by_the_sign_of_the_amount(a: int, amount: int) -> None:
    n = signed(amount)
    if n >= 0:
        assert result("LSHL", a, amount) == result("ASHL", a, amount) == (a << n % 32) % WORD
    else:
        assert result("LSHL", a, amount) == a >> (-n % 32)
        assert result("ASHL", a, amount) == (signed(a) >> (-n % 32)) % WORD


@given(words, words, st.sampled_from([0, 1, 5, WORD - 1]))
def test_selection(a: int, b: int, condition: int) -> None:
    chosen = {name: execute(name, mRx0=a, mRy=b, s2=condition)["mRx"] for name in ("SELNEZ", "SELEQZ")}
    assert chosen == {"SELNEZ": a if condition else b, "SELEQZ": b if condition else a}


@given(st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1))
def test_carries_make_64_bit_sums_and_differences(a: int, b: int) -> None:
    for low_name, high_name, expected in (("ADD", "ADC", a + b), ("SUB", "SBC", a - b)):
        low = execute(low_name, mRx0=a % WORD, mRy=b % WORD)
        high = execute(high_name, {"srCarry": low["srCarry"]}, mRx0=a >> 32, mRy=b >> 32)
        assert high["mRx"] << 32 | low["mRx"] == expected % (1 << 64)
        assert high["srCarry"] == (expected >> 64) & 1


@given(words, words.filter(bool))
def test_32_steps_divide(dividend: int, divisor: int) -> None:
    remainder, quotient = 0, dividend
    for _ in range(32):
        step = execute("DIVS", sd_in=quotient, s0=remainder, s1=divisor)
        remainder, quotient = step["d0"], step["sd_out"]
    assert (quotient, remainder) == divmod(dividend, divisor)


@pytest.mark.parametrize(("count", "carry"), [(0, 1), (1, 0), (WORD - 1, 0)])
def test_jnzd_counts_down(count: int, carry: int) -> None:
    assert execute("JNZD", mRx0=count, mPm=0) == {"mRx": (count - 1) % WORD, "srCarry": carry}


def test_immediates_are_signed() -> None:
    assert execute("ADD_add_r_ri", mRx0=5, c7s=-6 % WORD)["mRx"] == WORD - 1
    assert execute("ADD_NC", s0=5, imm=-6 % WORD)["dst"] == WORD - 1
    assert execute("MOVA_lda_cg", c11s=-1024 % WORD)["mLdaCg"] == WORD - 1024


def test_moves_cut_to_the_width_of_the_class() -> None:
    assert execute("MOV_mv_scl", mMvSclSrc=WORD - 1)["mMvSclDst"] == WORD - 1
    assert execute("MOVX_mvx_scl", mRx=0x13)["mCRm"] == 0x13
