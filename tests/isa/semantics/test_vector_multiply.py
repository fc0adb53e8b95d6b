import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lane_evaluator import cut, execute, join

from xattn.isa.semantics.vector_configuration import (
    PRODUCTS,
    Configuration,
    UnknownConfigurationError,
    product_of,
)

FEW = settings(max_examples=12, deadline=None)
VECTOR = st.binary(min_size=64, max_size=64).map(lambda data: int.from_bytes(data, "little"))
ACCUMULATOR = st.binary(min_size=128, max_size=128).map(lambda data: int.from_bytes(data, "little"))


def word(selector, signed_x=0, signed_y=0, **fields):
    """A configuration word from the fields of the public intrinsics."""
    amode, bmode, variant = selector
    lsb = {"zero": 0, "shift16": 10, "sub_mul": 11, "sub_acc1": 12, "sub_acc2": 13, "mask": 16}
    base = amode << 1 | bmode << 3 | variant << 5 | signed_y << 8 | signed_x << 9
    return base | sum(value << lsb[name] for name, value in fields.items())


def numbers(vector, bits, signed):
    """The lanes of a vector register as Python integers, so that no product overflows."""
    lanes = cut(vector, bits, 512 // bits)
    return np.array([v - (1 << bits) if signed and v >> (bits - 1) else v for v in lanes], object)


def matrix(rows, inner, cols):
    return lambda x, y: (x[: rows * inner].reshape(rows, inner) @ y[: inner * cols].reshape(inner, cols)).ravel()


def elementwise(terms, lanes):
    return lambda x, y: (x[: terms * lanes] * y[: terms * lanes]).reshape(terms, lanes).sum(axis=0)


def convolution(outputs, taps, channels=1):
    def convolved(x, y):
        samples, weights = x.reshape(-1, channels), y.reshape(-1, channels)
        return np.concatenate([(samples[o : o + taps] * weights[:taps]).sum(axis=0) for o in range(outputs)])

    return convolved


def two_channels(x, y):
    a, b = x[:32].reshape(4, 4, 2), y[:32].reshape(4, 4, 2)
    return np.einsum("ikc,kjc->ijc", a, b).ravel()


def complex_pairs(x, y, conjugate_x=False, conjugate_y=False):
    """Eight lanes of two complex products each, by the arithmetic of complex numbers."""
    a, b = x.reshape(2, 8, 2), y.reshape(2, 8, 2)
    a_im, b_im = (-a[..., 1] if conjugate_x else a[..., 1]), (-b[..., 1] if conjugate_y else b[..., 1])
    real = a[..., 0] * b[..., 0] - a_im * b_im
    imaginary = a[..., 0] * b_im + a_im * b[..., 0]
    return np.stack([real.sum(axis=0), imaginary.sum(axis=0)], axis=1).ravel()


# (amode, bmode, variant) -> bits of x, bits of y, product in terms of whole arrays
SHAPES = {
    (0, 0, 0): (8, 4, matrix(4, 16, 8)),
    (0, 1, 0): (8, 8, matrix(4, 8, 8)),
    (0, 1, 1): (8, 8, elementwise(2, 32)),
    (0, 1, 2): (8, 8, convolution(4, 4, 8)),
    (0, 1, 3): (8, 8, convolution(8, 8, 4)),
    (0, 1, 4): (8, 8, convolution(32, 8)),
    (0, 2, 0): (16, 8, matrix(4, 4, 8)),
    (0, 2, 1): (16, 8, two_channels),
    (0, 3, 0): (16, 16, matrix(4, 2, 8)),
    (0, 3, 1): (16, 16, elementwise(1, 32)),
    (1, 0, 0): (32, 16, matrix(4, 2, 4)),
    (1, 2, 0): (16, 8, matrix(2, 8, 8)),
    (1, 2, 1): (16, 8, matrix(4, 8, 4)),
    (1, 3, 0): (16, 16, matrix(2, 4, 8)),
    (1, 3, 1): (16, 16, matrix(4, 4, 4)),
    (1, 3, 2): (16, 16, elementwise(2, 16)),
    (1, 3, 3): (16, 16, convolution(16, 4)),
}
SHAPES |= {(1, 1, variant): shape for (amode, bmode, variant), shape in SHAPES.items() if (amode, bmode) == (1, 3)}
COMPLEX = (1, 3, 4), (1, 1, 4)


def accumulator_bits(selector):
    return 64 if selector[0] == 1 else 32


def wrapped(values, bits):
    return [int(v) & ((1 << bits) - 1) for v in values]


def test_every_known_shape_is_tested():
    assert set(SHAPES) | set(COMPLEX) == set(PRODUCTS)


@pytest.mark.parametrize("selector", SHAPES)
@FEW
@given(x=VECTOR, y=VECTOR, signed_x=st.integers(0, 1), signed_y=st.integers(0, 1))
def test_products(selector, x, y, signed_x, signed_y):
    x_bits, y_bits, product = SHAPES[selector]
    bits = accumulator_bits(selector)
    result = execute("VMUL_vmac_cm_core_dense", s1=x, s2=y, c=word(selector, signed_x, signed_y))["dst"]
    expected = product(numbers(x, x_bits, signed_x), numbers(y, y_bits, signed_y))
    assert cut(result, bits, 1024 // bits) == wrapped(expected, bits)


BOTH = {"conjugate_x": True, "conjugate_y": True}
# the masks are those that public intrinsics use for complex numbers and their conjugates
MASKS = {0x0A: {}, 0xA0: {"conjugate_x": True}, 0x50: {"conjugate_y": True}, 0xFA: BOTH}


@pytest.mark.parametrize("selector", COMPLEX)
@pytest.mark.parametrize("mask", MASKS)
@FEW
@given(x=VECTOR, y=VECTOR)
def test_complex_products(selector, mask, x, y):
    result = execute("VMUL_vmac_cm_core_dense", s1=x, s2=y, c=word(selector, 1, 1, mask=mask))["dst"]
    expected = complex_pairs(numbers(x, 16, True), numbers(y, 16, True), **MASKS[mask])
    assert cut(result, 64, 16) == wrapped(expected, 64)


OPERANDS = {
    "VMUL": ("cm", lambda p: p),
    "VNEGMUL": ("cm", lambda p: -p),
    "VMAC": ("cm", lambda a, p: a + p),
    "VMSC": ("cm", lambda a, p: a - p),
    "VNEGMAC": ("cm", lambda a, p: -(a + p)),
    "VNEGMSC": ("cm", lambda a, p: -(a - p)),
    "VADDMAC": ("bm", lambda a, b, p: a + b + p),
    "VADDMSC": ("bm", lambda a, b, p: a + b - p),
    "VSUBMAC": ("bm", lambda a, b, p: a - b + p),
    "VSUBMSC": ("bm", lambda a, b, p: a - b - p),
}


@pytest.mark.parametrize("name", OPERANDS)
@FEW
@given(
    x=VECTOR,
    y=VECTOR,
    acc1=ACCUMULATOR,
    acc2=ACCUMULATOR,
    selector=st.sampled_from([(0, 1, 0), (0, 3, 1), (1, 2, 1)]),
    zero=st.integers(0, 1),
    shift16=st.integers(0, 1),
    negate=st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 1)),
)
def test_sums_of_accumulators_and_product(name, x, y, acc1, acc2, selector, zero, shift16, negate):
    sub_mul, sub_acc1, sub_acc2 = negate
    flags = {"zero": zero, "shift16": shift16, "sub_mul": sub_mul, "sub_acc1": sub_acc1, "sub_acc2": sub_acc2}
    bits = accumulator_bits(selector)
    lanes = 1024 // bits
    kind, combine = OPERANDS[name]
    accumulators = dict(zip(("acc1", "acc2"), (acc1, acc2), strict=True))
    if kind == "cm":
        del accumulators["acc2"]
    if name.endswith("MUL"):
        del accumulators["acc1"]
    result = execute(f"{name}_vmac_{kind}_core_dense", s1=x, s2=y, c=word(selector, 1, 0, **flags), **accumulators)[
        "dst"
    ]
    x_bits, y_bits, product = SHAPES[selector]
    p = product(numbers(x, x_bits, True), numbers(y, y_bits, False)) * (-1 if sub_mul else 1)
    a1 = np.array(cut(acc1, bits, lanes), object) * (0 if zero else 1 << 16 * shift16) * (-1 if sub_acc1 else 1)
    a2 = np.array(cut(acc2, bits, lanes), object) * (-1 if sub_acc2 else 1)
    assert cut(result, bits, lanes) == wrapped(combine(*[a1, a2][: len(accumulators)], p), bits)


SUMS = {
    "VADD": lambda a, b: a + b,
    "VSUB": lambda a, b: a - b,
    "VNEGADD": lambda a, b: -a - b,
    "VNEGSUB": lambda a, b: -a + b,
    "VNEG": lambda a, b: -a + 0 * b,
}


@pytest.mark.parametrize("name", SUMS)
@FEW
@given(acc1=ACCUMULATOR, acc2=ACCUMULATOR, c=st.integers(0, (1 << 32) - 1))
def test_sums_of_accumulators(name, acc1, acc2, c):
    bits = 64 if c >> 1 & 3 == 1 else 32
    a = np.array(cut(acc1, bits, 1024 // bits), object) * (0 if c & 1 else 1) * (1 << 16 if c >> 10 & 1 else 1)
    b = np.array(cut(acc2, bits, 1024 // bits), object)
    a, b = a * (-1 if c >> 12 & 1 else 1), b * (-1 if c >> 13 & 1 else 1)
    operands = {"acc1": acc1} if name == "VNEG" else {"acc1": acc1, "acc2": acc2}
    result = execute(name, c=c, **operands)["dst"]
    assert cut(result, bits, 1024 // bits) == wrapped(SUMS[name](a, b), bits)


@FEW
@given(x=VECTOR, y=VECTOR)
def test_wide_products_from_narrow_ones(x, y):
    """int32 x int16 from two 16-bit products, the way that public intrinsics use shift16."""
    wide = np.array(cut(x, 32, 16) * 2, object)
    low = join([int(v) & 0xFFFF for v in wide], 16)
    high = join([int(v) >> 16 for v in wide], 16)
    elem_32 = (0, 3, 1)
    first = execute("VMUL_vmac_cm_core_dense", s1=high, s2=y, c=word(elem_32, 1, 1))["dst"]
    both = execute("VMAC_vmac_cm_core_dense", acc1=first, s1=low, s2=y, c=word(elem_32, 0, 1, shift16=1))["dst"]
    expected = np.array([v - (1 << 32) if v >> 31 else v for v in wide], object) * numbers(y, 16, True)
    assert cut(both, 32, 32) == wrapped(expected, 32)


def test_softmax_products_use_the_configuration_words_of_the_compiler():
    assert Configuration(0x308).selector == (0, 1, 0) and Configuration(0x308).signed_x
    assert not Configuration(0x108).signed_x and Configuration(0x108).signed_y
    assert Configuration(0x338).selector == (0, 3, 1)


def test_unknown_configurations_are_refused():
    for selector in [(0, 1, 5), (0, 3, 2), (1, 0, 1), (1, 2, 5), (2, 3, 0)]:
        with pytest.raises(UnknownConfigurationError, match=r"amode .* is not established; known are 0/0/0"):
            product_of(Configuration(word(selector)))
    with pytest.raises(UnknownConfigurationError, match="signs of single terms"):
        product_of(Configuration(word((0, 0, 0), mask=1)))


def test_recorded_configurations_without_product_add_nothing():
    acc1 = int.from_bytes(bytes(range(128)), "little")
    c = word((0, 2, 6), 1, 1)
    assert execute("VMAC_vmac_cm_core_dense", acc1=acc1, s1=-1 % (1 << 512), s2=5, c=c) == {"dst": acc1}
    assert execute("VMUL_vmac_cm_core_dense", s1=-1 % (1 << 512), s2=5, c=c) == {"dst": 0}
