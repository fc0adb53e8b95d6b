"""UPS, the upshift into accumulators: lanes are widened to 32 or 64 bits and shifted left; in registers and on loads.

The forms whose source type starts with s are signed; those with d follow crUPSSign (0: unsigned). The shift is 0 to 63.
crSat 0 drops what is shifted out, 1 and 3 clamp to the (symmetric) range of the accumulator lane; 0 is confirmed by
recorded outputs of a Phoenix core. When the hardware raises the status flag srUPS_of is not publicly documented: it is
left as it is.
"""

from __future__ import annotations

from xattn.isa.semantics.lanes import Value, by_value, const, select, undefined
from xattn.isa.semantics.meaning import Operation, means
from xattn.isa.semantics.vector_saturation import SATURATE, SYMMETRIC, WRAP, signed_range


def _shifted(mode: int, value: Value, shift: Value) -> Value:
    """Signed lanes shifted left, in one mode of crSat."""
    if mode not in (WRAP, SATURATE, SYMMETRIC):
        return undefined(value.lanes, value.bits, f"crSat is {mode}: use 0 (wrap), 1 (saturate) or 3 (symmetric)")
    result = value.shl(shift)
    if mode == WRAP:
        return result
    low, high = (const(limit, value.bits, value.lanes) for limit in signed_range(value.bits, mode))
    fits = result.ashr(shift).eq(value)
    clamped = select(value.slt(0), low, high)
    return select(fits, result.smax(low), clamped)


def upshifted(i: Operation, source: Value) -> Value:
    """The accumulator lanes that an opcode makes of `source`."""
    wide, narrow = i.opcode.mnemonic.split(".")[-2:]
    lanes = source.cut(int(narrow[1:]))
    value = lanes.sext(int(wide[1:]))
    if narrow.startswith("d"):
        value = select(i.register("crUPSSign"), value, lanes.zext(int(wide[1:])))
    result = by_value(i.register("crSat"), _shifted, value, i.read("shft"))
    assert isinstance(result, Value)
    return result


@means("VUPS_*")
def _ups(i: Operation) -> None:
    i.write("dst", upshifted(i, i.read("src")))


@means("VLDA_UPS_*", "VLDA_?D_UPS_*")
def _load_and_ups(i: Operation) -> None:
    i.write("dst", upshifted(i, i.load()))
