"""SRS, shift-round-saturate: accumulator lanes shifted right, rounded and narrowed; in registers and on stores.

The rounding rule is crRnd, the range rule crSat. The forms whose result type starts with s are signed; those with d
follow crSRSSign (0: unsigned). The shift is 0 to 63. Recorded outputs of a Phoenix core confirm crRnd = crSat = 0; the
other codes are those of the public intrinsics (`rounding modes` of aie_api and llvm-aie), crSat of AM025. When the
hardware raises the status flag srSRS_of is not publicly documented: it is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from xattn.isa.semantics.lanes import Value, by_value, const, splat, undefined
from xattn.isa.semantics.meaning import Operation, means
from xattn.isa.semantics.vector_saturation import narrowed

CR_SAT_BITS = 2


class Dropped(NamedTuple):
    """What a rounding rule looks at, 1 bit a lane."""

    half: Value  # the first bit shifted out
    rest: Value  # whether any lower one is set
    negative: Value
    odd: Value  # the lowest bit of the floor


# Whether to add 1 to the floor.
_ROUND_UP: dict[int, Callable[[Dropped], Value]] = {
    0: lambda d: const(0, 1, d.half.lanes),  # floor
    1: lambda d: d.half | d.rest,  # ceil
    2: lambda d: d.negative & (d.half | d.rest),  # towards zero
    3: lambda d: ~d.negative & (d.half | d.rest),  # away from zero
    8: lambda d: d.half & d.rest,  # nearest, ties towards -infinity
    9: lambda d: d.half,  # nearest, ties towards +infinity
    10: lambda d: d.half & (d.rest | d.negative),  # nearest, ties towards zero
    11: lambda d: d.half & (d.rest | ~d.negative),  # nearest, ties away from zero
    12: lambda d: d.half & (d.rest | d.odd),  # nearest, ties to even
    13: lambda d: d.half & (d.rest | ~d.odd),  # nearest, ties to odd
}
ROUNDING_MODES = tuple(_ROUND_UP)


def not_a_rounding_mode(mode: int) -> str:
    """Why a result is undefined."""
    return f"crRnd is {mode}, which is no rounding mode: use one of {', '.join(map(str, ROUNDING_MODES))}"


def rounded(value: Value, shift: Value, mode: int) -> Value:
    """Signed lanes divided by 2**shift and rounded, exactly; rounding up cannot overflow: a bit was shifted out."""
    if mode not in _ROUND_UP:
        return undefined(value.lanes, value.bits, not_a_rounding_mode(mode))
    less_one = shift.umax(1) - 1
    halves = value.ashr(less_one)
    half = halves.trunc(1) & splat(shift.ne(0), value.lanes)
    floor = value.ashr(shift)
    up = _ROUND_UP[mode](Dropped(half, halves.shl(less_one).ne(value), value.slt(0), floor.trunc(1)))
    return floor + up.zext(value.bits)


def narrowed_accumulator(i: Operation) -> Value:
    """What an opcode makes of its accumulator `src`."""
    narrow, wide = i.opcode.mnemonic.split(".")[-2:]
    sign = (i.register("crSRSSign"),) if narrow.startswith("d") else ()
    bits = int(narrow[1:])

    def build(modes: int, value: Value, shift: Value, *signed: Value) -> Value:
        rounding, saturation = modes >> CR_SAT_BITS, modes & ((1 << CR_SAT_BITS) - 1)
        return narrowed(rounded(value, shift, rounding), bits, saturation, signed[0] if signed else None)

    modes = i.register("crRnd").zext(8).shl(CR_SAT_BITS) | i.register("crSat").zext(8)
    result = by_value(modes, build, i.read("src", int(wide[1:])), i.read("shft"), *sign)
    assert isinstance(result, Value)
    return result


@means("VSRS_*", "VSRSM_*")
def _srs(i: Operation) -> None:
    i.write("dst", narrowed_accumulator(i))


@means("VST_SRS_*", "VST_?D_SRS_*")
def _srs_and_store(i: Operation) -> None:
    i.store(narrowed_accumulator(i))
