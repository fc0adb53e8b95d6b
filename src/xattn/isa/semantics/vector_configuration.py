"""The configuration word of the multiply and accumulator operations (vec slot), and the shapes of products it selects.

A product is given by its terms: accumulator lane l gets the sum over k of x[left(l, k)] * y[right(l, k)]. What is known
of the shapes comes from two places. The public intrinsics (llvm-aie, `aiev2_vmult.h`) give most of them a name such as
`mul_4x8_8x8` or `mul_conv_32x8`. And a Phoenix core was recorded running random configuration words: the shapes marked
`recorded` below explain every lane of every such point, and those of `_NO_PRODUCT` were recorded to add nothing.
Everything else is refused.

Which bit of `term_signs` belongs to which terms is public for complex numbers only (llvm-aie, OP_TERM_NEG_COMPLEX);
for the other recorded shapes it is the simplest order that explains the recordings, which hold one to three masks each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xattn.isa.semantics.meaning import UnimplementedOpcodeError

ACC32, ACC64 = 0, 1


class UnknownConfigurationError(UnimplementedOpcodeError):
    """A configuration word whose product nobody has established."""


@dataclass(frozen=True)
class Configuration:
    """The fields of a configuration word."""

    word: int

    def _field(self, lsb: int, width: int = 1) -> int:
        return (self.word >> lsb) & ((1 << width) - 1)

    @property
    def zero_acc1(self) -> bool:
        """The first accumulator operand counts as 0."""
        return bool(self._field(0))

    @property
    def amode(self) -> int:
        """0: 32 lanes of 32 bits; 1: 16 lanes of 64 bits; 2 and 3: floating point in the operations made for it."""
        return self._field(1, 2)

    @property
    def selector(self) -> tuple[int, int, int]:
        """(amode, bmode, variant): what chooses the shape of the product."""
        return self.amode, self._field(3, 2), self._field(5, 3)

    @property
    def signed_y(self) -> bool:
        """The right operand is signed."""
        return bool(self._field(8))

    @property
    def signed_x(self) -> bool:
        """The left operand is signed."""
        return bool(self._field(9))

    @property
    def shift16(self) -> bool:
        """The first accumulator operand is shifted left by 16 bits, to build wide products from narrow ones."""
        return bool(self._field(10))

    @property
    def negate_product(self) -> bool:
        """The sign of the product is turned."""
        return bool(self._field(11))

    @property
    def negate_acc1(self) -> bool:
        """The sign of the first accumulator operand is turned."""
        return bool(self._field(12))

    @property
    def negate_acc2(self) -> bool:
        """The sign of the second accumulator operand is turned."""
        return bool(self._field(13))

    @property
    def term_signs(self) -> int:
        """One bit for each class of terms of a product: 1 turns their sign. Made for complex numbers."""
        return self._field(16, 16)

    @property
    def lane_bits(self) -> int:
        """Width of the accumulator lanes of an integer operation."""
        return 64 if self.amode == ACC64 else 32


Index = Callable[[int, int], int]


@dataclass(frozen=True)
class Product:
    """One shape. `sign_bit(l, k)` is the bit of `term_signs` that holds for a term; None: not established."""

    name: str
    x_bits: int
    y_bits: int
    inner: int
    left: Index
    right: Index
    sign_bit: Index | None = None
    matrix: tuple[int, int, int] | None = None


def _matrix(name: str, x_bits: int, y_bits: int, sign_bit: Index | None = None) -> Product:
    """Row-major rows x inner times inner x cols, from a name like 4x8x8."""
    rows, inner, cols = map(int, name.split("x"))
    return Product(
        name,
        x_bits,
        y_bits,
        inner,
        lambda lane, k: lane // cols * inner + k,
        lambda lane, k: k * cols + lane % cols,
        sign_bit,
        (rows, inner, cols),
    )


def _convolution(name: str, bits: int, taps: int, channels: int = 1, sign_bit: Index | None = None) -> Product:
    """Output o of channel c: sum of x[o + k][c] * y[k][c]; channels are innermost everywhere."""
    return Product(
        name,
        bits,
        bits,
        taps,
        lambda lane, k: lane + channels * k,
        lambda lane, k: lane % channels + channels * k,
        sign_bit,
    )


def _elementwise(name: str, bits: int, terms: int, lanes: int, sign_bit: Index | None = None) -> Product:
    """Lane l: sum of x[l + lanes*k] * y[l + lanes*k]."""
    return Product(
        name, bits, bits, terms, lambda lane, k: lane + lanes * k, lambda lane, k: lane + lanes * k, sign_bit
    )


def _two_channels(lane: int, k: int) -> int:
    """4x4 times 4x4 with two channels innermost: element k of row lane // 8, in the lane's channel."""
    return lane // 8 * 8 + 2 * k + lane % 2


def _complex_left(lane: int, k: int) -> int:
    """Eight complex lanes of two products each; terms k = 0, 2 take the real part of x, k = 1, 3 the imaginary one."""
    return lane // 2 * 2 + 16 * (k // 2) + k % 2


def _complex_right(lane: int, k: int) -> int:
    """The real lanes (even) multiply like with like, the imaginary ones (odd) crosswise."""
    return lane // 2 * 2 + 16 * (k // 2) + (k % 2 ^ lane % 2)


def _signs_8x8(lane: int, k: int) -> int:
    return 4 * (lane & 1) + 2 * (k & 1) + (k >> 2 & 1)


def _signs_elementwise_8x8(lane: int, k: int) -> int:
    del k  # both terms of a lane have the same sign
    return 4 * (lane & 1)


def _signs_64(lane: int, k: int) -> int:
    """The masks that llvm-aie names OP_TERM_NEG_COMPLEX... are in this order too."""
    return 4 * (lane & 1) + k


_SHAPES_16X16_ACC64 = (
    _matrix("2x4x8", 16, 16, _signs_64),  # recorded (with bmode 1)
    _matrix("4x4x4", 16, 16, _signs_64),  # recorded (with bmode 1)
    _elementwise("elem_16_2", 16, 2, 16, _signs_64),  # recorded (with bmode 1)
    _convolution("conv_16x4", 16, 4, 1, _signs_64),  # recorded
    Product("elem_8_2 complex", 16, 16, 4, _complex_left, _complex_right, _signs_64),  # recorded
)

PRODUCTS: dict[tuple[int, int, int], Product] = {
    (ACC32, 0, 0): _matrix("4x16x8", 8, 4),
    (ACC32, 1, 0): _matrix("4x8x8", 8, 8, _signs_8x8),  # recorded
    (ACC32, 1, 1): _elementwise("elem_32_2", 8, 2, 32, _signs_elementwise_8x8),  # recorded
    (ACC32, 1, 2): _convolution("conv_4x4_8ch", 8, 4, 8),
    (ACC32, 1, 3): _convolution("conv_8x8_4ch", 8, 8, 4, _signs_8x8),  # recorded
    (ACC32, 1, 4): _convolution("conv_32x8", 8, 8),
    (ACC32, 2, 0): _matrix("4x4x8", 16, 8),
    (ACC32, 2, 1): Product(
        "4x4x4_2ch",
        16,
        8,
        4,
        _two_channels,
        lambda lane, k: 8 * k + lane % 8,
        lambda lane, k: 4 * (lane >> 1 & 1) + 2 * (lane & 1) + (k >> 1),
    ),  # recorded
    (ACC32, 3, 0): _matrix("4x2x8", 16, 16),
    (ACC32, 3, 1): _elementwise("elem_32", 16, 1, 32),
    (ACC64, 0, 0): _matrix("4x2x4", 32, 16),
    (ACC64, 2, 0): _matrix("2x8x8", 16, 8),
    (ACC64, 2, 1): _matrix("4x8x4", 16, 8),
    **{(ACC64, bmode, v): product for bmode in (1, 3) for v, product in enumerate(_SHAPES_16X16_ACC64)},
}

# (amode, bmode): the variants whose product was recorded to be zero. Some of them have a shape in sparse operations.
_NO_PRODUCT = {
    (0, 0): "2345",
    (0, 1): "67",
    (0, 2): "567",
    (0, 3): "45",
    (1, 0): "23456",
    (1, 1): "7",
    (1, 2): "27",
    (1, 3): "5",
    (2, 0): "25",
    (2, 1): "36",
    (2, 2): "345",
    (2, 3): "37",
    (3, 0): "4",
    (3, 1): "3",
    (3, 2): "6",
    (3, 3): "47",
}


def product_of(configuration: Configuration) -> Product | None:
    """The product that a dense integer multiplication forms; None: none, the accumulators alone are added.

    UnknownConfigurationError for the configurations that nobody has established.
    """
    amode, bmode, variant = configuration.selector
    if str(variant) in _NO_PRODUCT.get((amode, bmode), ""):
        return None
    product = PRODUCTS.get(configuration.selector)
    named = f"configuration word {configuration.word:#x} (amode {amode}, bmode {bmode}, variant {variant})"
    if product is None:
        raise UnknownConfigurationError(
            f"{named}: what an integer multiplication does with it is not established; known are "
            + ", ".join("/".join(map(str, key)) for key in sorted(PRODUCTS))
        )
    if configuration.term_signs and product.sign_bit is None:
        raise UnknownConfigurationError(
            f"{named} turns the signs of single terms (bits 31 to 16 are {configuration.term_signs:#x}), which is not "
            f"established for {product.name}; leave these bits 0"
        )
    return product
