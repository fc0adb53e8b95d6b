"""What the control register crSat means for every unit that narrows or widens integers.

0 keeps the low bits, 1 clamps to the range of the result, 3 clamps to the symmetric range (without the most negative
signed number). 2 is undefined. (AM025, AMD's public register reference; 0 is confirmed by recorded outputs.)
"""

from __future__ import annotations

from xattn.isa.semantics.lanes import Value, select, undefined

WRAP, SATURATE, SYMMETRIC = 0, 1, 3


def signed_range(bits: int, mode: int) -> tuple[int, int]:
    """Lowest and highest result of a signed lane of `bits` in one saturating mode."""
    return -(1 << (bits - 1)) + (mode == SYMMETRIC), (1 << (bits - 1)) - 1


def narrowed(value: Value, bits: int, mode: int, signed: Value | None) -> Value:
    """Signed lanes brought to `bits`; `signed` (1 bit; None: 1) chooses the range of the result.

    The lanes must be wider than `bits`, so that both ranges fit.
    """
    if mode == WRAP:
        return value.trunc(bits)
    if mode not in (SATURATE, SYMMETRIC):
        return undefined(value.lanes, bits, f"crSat is {mode}: use 0 (wrap), 1 (saturate) or 3 (saturate symmetric)")
    low, high = signed_range(bits, mode)
    as_signed = value.smax(low).smin(high).trunc(bits)
    if signed is None:
        return as_signed
    top = (1 << bits) - 1
    as_unsigned = value.smax(0).smin(top).trunc(bits)
    return select(signed, as_signed, as_unsigned)
