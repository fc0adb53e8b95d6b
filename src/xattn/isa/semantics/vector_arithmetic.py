"""Arithmetic, comparisons, selection and logic on the 512-bit vector registers (mv slot), at 8, 16 and 32 bits.

Lanes wrap. Comparisons give a mask, one bit a lane, lane 0 lowest: 64 bits in a register pair for lanes of 8 bits,
else in one register, whose unused high bits become 0. Forms whose type starts with s are signed; those with d follow
crVaddSign (0: unsigned). Confirmed by recorded outputs of a Phoenix core.
"""

from __future__ import annotations

import re

from xattn.isa.semantics.lanes import Value, const, select
from xattn.isa.semantics.meaning import Operation, means, width_of


def lane_bits(i: Operation) -> int:
    """Width of the lanes, the number at the end of the mnemonic."""
    found = re.search(r"(\d+)$", i.opcode.mnemonic)
    assert found, i.opcode.mnemonic
    return int(found[1])


def follows_sign_register(i: Operation) -> bool:
    """Whether the type is one of those (d8, d16, d32) whose sign is in a control register."""
    return i.opcode.mnemonic.split(".")[-1].startswith("d")


def write_mask(i: Operation, name: str, mask: Value) -> None:
    """Write one bit a lane, lane 0 lowest, zeros above."""
    i.write(name, mask.cast(1, mask.lanes).zext(width_of(i.opcode, name)))


def read_mask(i: Operation, name: str, lanes: int) -> Value:
    """One bit a lane; higher bits of the register are ignored."""
    return i.read(name, 1).part(0, lanes)


def _two(i: Operation) -> tuple[Value, Value]:
    bits = lane_bits(i)
    return i.read("s1", bits), i.read("s2", bits)


def less(i: Operation, a: Value, b: Value) -> Value:
    """a < b in the sign of the opcode's type."""
    if follows_sign_register(i):
        return select(i.register("crVaddSign"), a.slt(b), a.ult(b))
    return a.slt(b)


@means("VADD_8", "VADD_16", "VADD_32")
def _add(i: Operation) -> None:
    a, b = _two(i)
    i.write("d", a + b)


@means("VSUB_8", "VSUB_16", "VSUB_32")
def _subtract(i: Operation) -> None:
    a, b = _two(i)
    i.write("d", a - b)


@means("VADDSUB_*")
def _add_or_subtract(i: Operation) -> None:
    """Subtracts where the mask bit is 1."""
    a, b = _two(i)
    i.write("d", select(read_mask(i, "sel", a.lanes), a - b, a + b))


@means("VSEL_*")
def _select(i: Operation) -> None:
    """Takes the second source where the mask bit is 1."""
    a, b = _two(i)
    i.write("d", select(read_mask(i, "sel", a.lanes), b, a))


@means("VBAND")
def _and(i: Operation) -> None:
    i.write("d", i.read("s1") & i.read("s2"))


@means("VBOR")
def _or(i: Operation) -> None:
    i.write("d", i.read("s1") | i.read("s2"))


@means("VLT_[DS]*")
def _less(i: Operation) -> None:
    write_mask(i, "cmp", less(i, *_two(i)))


@means("VGE_[DS]*")
def _greater_or_equal(i: Operation) -> None:
    write_mask(i, "cmp", ~less(i, *_two(i)))


@means("VEQZ_*")
def _equal_to_zero(i: Operation) -> None:
    write_mask(i, "cmp", i.read("s2", lane_bits(i)).eq(0))


@means("VMAX_LT_[DS]*")
def _maximum(i: Operation) -> None:
    a, b = _two(i)
    condition = less(i, a, b)
    i.write("d", select(condition, b, a))
    write_mask(i, "cmp", condition)


@means("VMIN_GE_[DS]*")
def _minimum(i: Operation) -> None:
    a, b = _two(i)
    condition = less(i, a, b)
    i.write("d", select(condition, a, b))
    write_mask(i, "cmp", ~condition)


@means("VMAXDIFF_LT_*")
def _maximum_of_difference_and_zero(i: Operation) -> None:
    a, b = _two(i)
    condition = less(i, a, b)
    i.write("d", select(condition, const(0, a.bits, a.lanes), a - b))
    write_mask(i, "cmp", condition)


@means("VSUB_LT_*")
def _subtract_and_test_less(i: Operation) -> None:
    a, b = _two(i)
    i.write("d", a - b)
    write_mask(i, "cmp", less(i, a, b))


@means("VSUB_GE_*")
def _subtract_and_test_greater_or_equal(i: Operation) -> None:
    a, b = _two(i)
    i.write("d", a - b)
    write_mask(i, "cmp", ~less(i, a, b))


@means("VABS_GTZ_*")
def _absolute_and_test_positive(i: Operation) -> None:
    """Absolute value; the most negative number stays as it is."""
    a = i.read("s1", lane_bits(i))
    zero = const(0, a.bits, a.lanes)
    negative = less(i, a, zero)
    i.write("d", select(negative, -a, a))
    write_mask(i, "cmp", ~negative & a.ne(0))


@means("VNEG_GTZ*")
def _negate_and_test_positive(i: Operation) -> None:
    a = i.read("s1", lane_bits(i))
    i.write("d", -a)
    write_mask(i, "cmp", const(0, a.bits, a.lanes).slt(a))


@means("VBNEG_LTZ_*")
def _invert_and_test_negative(i: Operation) -> None:
    a = i.read("s1", lane_bits(i))
    i.write("d", ~a)
    write_mask(i, "cmp", a.slt(0))
