"""Moving lanes: broadcast, extract, insert, push, shift by bytes, and moves between the vector register files.

Lane numbers wrap at the number of lanes. Confirmed by recorded outputs of a Phoenix core, but for the move between a
sparsity mask (128 bits) and a vector register (256 bits): there the low half is taken to carry the mask.
"""

from __future__ import annotations

from xattn.isa.semantics.lanes import Value, by_value, concat, const, select, splat
from xattn.isa.semantics.meaning import Operation, means, width_of
from xattn.isa.semantics.vector_arithmetic import follows_sign_register, lane_bits

VECTOR_BITS = 512
VECTOR_BYTES = VECTOR_BITS // 8


def _scalar(i: Operation, name: str) -> Value:
    """The low bits of a scalar operand, as one lane."""
    return i.read(name).trunc(lane_bits(i))


@means("VBCST_8", "VBCST_16", "VBCST_32", "VBCST_64")
def _broadcast(i: Operation) -> None:
    i.write("dst", splat(_scalar(i, "s0"), VECTOR_BITS // lane_bits(i)))


@means("VEXTBCST_*")
def _extract_and_broadcast(i: Operation) -> None:
    bits = lane_bits(i)
    i.write("dst", splat(i.read("src", bits).lane(i.read("idx")), VECTOR_BITS // bits))


@means("VEXTRACT_*")
def _extract(i: Operation) -> None:
    lane = i.read("s1", lane_bits(i)).lane(i.read("idx"))
    width = 64 if lane.bits == 64 else 32
    wide = lane.sext(width)
    if follows_sign_register(i):
        wide = select(i.register("crVaddSign"), wide, lane.zext(width))
    i.write("dst", wide)


@means("VINSERT_*")
def _insert(i: Operation) -> None:
    i.write("dst", i.read("s1", lane_bits(i)).insert(i.read("idx"), _scalar(i, "s0")))


@means("VPUSH_LO_*")
def _push_low(i: Operation) -> None:
    """Every lane moves up by one; the scalar becomes lane 0."""
    old = i.read("s2", lane_bits(i))
    i.write("d", concat(_scalar(i, "s1"), old.part(0, old.lanes - 1)))


@means("VPUSH_HI_*")
def _push_high(i: Operation) -> None:
    """Every lane moves down by one; the scalar becomes the highest lane."""
    old = i.read("s1", lane_bits(i))
    i.write("d", concat(old.part(1, old.lanes - 1), _scalar(i, "s2")))


def _window(start: int, low: Value, high: Value) -> Value:
    """64 bytes of high:low from byte `start`; zeros beyond."""
    pair = concat(low, high, const(0, 8, VECTOR_BYTES))
    return pair.part(min(start, 2 * VECTOR_BYTES), VECTOR_BYTES)


@means("VSHIFT")
def _shift(i: Operation) -> None:
    """The pair s2:s1 shifted right by bytes, low half; 128 bytes and more shift everything out."""
    amount = i.read("shift").umin(2 * VECTOR_BYTES)
    i.write("d", by_value(amount, _window, i.read("s1", 8), i.read("s2", 8)))


@means("VMOV_mv_x", "VMOV_mv_w", "VMOV_mv_cm")
def _move(i: Operation) -> None:
    i.write("dst", i.read("src"))


@means("VMOV_D")
def _move_accumulator(i: Operation) -> None:
    i.write("cdst", i.read("csrc"))


@means("VCLR_vclr", "VCLR_vclr_BF")
def _clear(i: Operation) -> None:
    i.write("dst", const(0, width_of(i.opcode, "dst")))
