"""The bfloat16 operations that integer kernels use: comparisons, floor to int32, and conversions to and from float32.

They work on bits and need no floating-point unit. Recorded outputs of a Phoenix core confirm the comparisons of finite
numbers (denormals are not flushed; a NaN is less than nothing); captures that xdna-emu publishes confirm the floor of
denormals and the ten rounding codes of the conversion to bfloat16. Not established: which status flags are raised (they
are left as they are), `ge` of a NaN (here the negation of `lt`, as for integers), and NaNs whose payload does not fit
into a bfloat16 (here they become the quiet NaN of that sign).
"""

from __future__ import annotations

from xattn.isa.semantics.lanes import Value, by_value, const, select, splat, undefined
from xattn.isa.semantics.meaning import Operation, means
from xattn.isa.semantics.vector_arithmetic import write_mask
from xattn.isa.semantics.vector_saturation import SATURATE, signed_range
from xattn.isa.semantics.vector_srs import ROUNDING_MODES, not_a_rounding_mode, rounded

HALF_BITS = 16
FRACTION_BITS = 7
INFINITY = 0x7F80
QUIET = 1 << (FRACTION_BITS - 1)
EXPONENT_BIAS = 127
FURTHEST_SHIFT = 40  # moves even the smallest fraction out of the range of int32
SHIFT_BITS = 6


def _magnitude(value: Value) -> Value:
    return value & ((1 << (value.bits - 1)) - 1)


def _is_nan(value: Value) -> Value:
    return const(INFINITY, HALF_BITS, value.lanes).ult(_magnitude(value))


def _ordered(value: Value) -> Value:
    """Finite numbers and infinities as signed integers of the same order; both zeros are 0."""
    magnitude = _magnitude(value)
    return select(value.slt(0), -magnitude, magnitude)


def _less(a: Value, b: Value) -> Value:
    return _ordered(a).slt(_ordered(b)) & ~_is_nan(a) & ~_is_nan(b)


def _two(i: Operation) -> tuple[Value, Value]:
    return i.read("s1", HALF_BITS), i.read("s2", HALF_BITS)


@means("VLT_BF16")
def _test_less(i: Operation) -> None:
    write_mask(i, "cmp", _less(*_two(i)))


@means("VGE_BF16")
def _test_greater_or_equal(i: Operation) -> None:
    write_mask(i, "cmp", ~_less(*_two(i)))


@means("VMAX_LT_BF16")
def _maximum(i: Operation) -> None:
    a, b = _two(i)
    i.write("d", select(_less(a, b), b, a))
    write_mask(i, "cmp", _less(a, b))


@means("VMIN_GE_BF16")
def _minimum(i: Operation) -> None:
    a, b = _two(i)
    i.write("d", select(_less(a, b), a, b))
    write_mask(i, "cmp", ~_less(a, b))


@means("VFLOOR_S32_BF16_*")
def _floor(i: Operation) -> None:
    """floor(x * 2**n) clamped to int32; n is the shift register's 6 bits, signed; a NaN gives the largest int32."""
    value = i.read("src", HALF_BITS)
    wide = 64
    exponent = _magnitude(value).lshr(FRACTION_BITS)
    fraction = value & ((1 << FRACTION_BITS) - 1)
    significand = select(exponent.eq(0), fraction, fraction | (1 << FRACTION_BITS)).zext(wide)
    signed = select(value.slt(0), -significand, significand)
    scale = i.read("shft").sext(HALF_BITS) - (EXPONENT_BIAS + FRACTION_BITS)
    places = exponent.umax(1) + splat(scale, value.lanes)
    left = signed.shl(places.smin(FURTHEST_SHIFT))
    right = signed.ashr((-places).smin(wide - 1))
    low, high = signed_range(32, SATURATE)
    result = select(places.slt(0), right, left).smax(low).smin(high).trunc(32)
    i.write("dst", select(_is_nan(value), const(high, 32, value.lanes), result))


def _to_float32(source: Value) -> Value:
    """16 bits of fraction are appended; exact."""
    return source.cut(HALF_BITS).zext(32).shl(HALF_BITS)


def _rounded_to_bfloat16(mode: int, value: Value) -> Value:
    """float32 lanes to bfloat16 in one mode of crRnd, which sees the number's magnitude as an integer with its sign.

    Rounding up from the largest finite number gives infinity.
    """
    if mode not in ROUNDING_MODES:
        return undefined(value.lanes, HALF_BITS, not_a_rounding_mode(mode))
    magnitude, negative = _magnitude(value), value.slt(0)
    cut = rounded(select(negative, -magnitude, magnitude), const(HALF_BITS, SHIFT_BITS), mode)
    number = select(negative, -cut, cut).trunc(HALF_BITS)
    high = value.lshr(HALF_BITS).trunc(HALF_BITS)
    nan = select(_is_nan(high), high, high | QUIET)
    signed = number | (high & (1 << (HALF_BITS - 1)))
    return select(const(INFINITY << HALF_BITS, 32, value.lanes).ult(magnitude), nan, signed)


def _to_bfloat16(i: Operation) -> Value:
    result = by_value(i.register("crRnd"), _rounded_to_bfloat16, i.read("src", 32))
    assert isinstance(result, Value)
    return result


@means("VCONV_FP32_BF16")
def _widen(i: Operation) -> None:
    i.write("dst", _to_float32(i.read("src")))


@means("VLDA_CONV_FP32_BF16_*", "VLDA_?D_CONV_FP32_BF16")
def _load_and_widen(i: Operation) -> None:
    i.write("dst", _to_float32(i.load()))


@means("VCONV_BF16_FP32")
def _narrow(i: Operation) -> None:
    i.write("dst", _to_bfloat16(i))


@means("VST_CONV_BF16_FP32_*", "VST_CONV_?D_BF16_FP32")
def _narrow_and_store(i: Operation) -> None:
    i.store(_to_bfloat16(i))
