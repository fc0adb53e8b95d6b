"""Integer operations of the vec slot: multiply, multiply-add in all signs, and sums of accumulators.

Each is a sum of up to two accumulators and a product, with signs that the opcode gives and the configuration word may
turn, modulo the width of the accumulator lanes (see `vector_configuration`). The order of everything: result =
sign1 * (acc1 << 16 if asked for, or 0) + sign2 * acc2 + sign * product. Confirmed by recorded outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from xattn.isa.semantics.lanes import Value, by_value, const, matmul
from xattn.isa.semantics.meaning import Operation, means
from xattn.isa.semantics.vector_configuration import Configuration, Product, product_of

ACCUMULATOR_BITS = 1024


class Signs(NamedTuple):
    """How an opcode adds its operands: +1, -1, or 0 for one that it does not have."""

    acc1: int = 0
    acc2: int = 0
    product: int = 0


MULTIPLICATIONS = {
    "VMUL": Signs(product=1),
    "VNEGMUL": Signs(product=-1),
    "VMAC": Signs(acc1=1, product=1),
    "VMSC": Signs(acc1=1, product=-1),
    "VNEGMAC": Signs(acc1=-1, product=-1),
    "VNEGMSC": Signs(acc1=-1, product=1),
    "VADDMAC": Signs(acc1=1, acc2=1, product=1),
    "VADDMSC": Signs(acc1=1, acc2=1, product=-1),
    "VSUBMAC": Signs(acc1=1, acc2=-1, product=1),
    "VSUBMSC": Signs(acc1=1, acc2=-1, product=-1),
}
SUMS = {
    "VADD": Signs(acc1=1, acc2=1),
    "VSUB": Signs(acc1=1, acc2=-1),
    "VNEG": Signs(acc1=-1),
    "VNEGADD": Signs(acc1=-1, acc2=-1),
    "VNEGSUB": Signs(acc1=-1, acc2=1),
}


def _extended(vector: Value, bits: int, signed: bool, wide: int) -> Value:
    """A vector register as lanes of `bits`, extended to `wide`."""
    lanes = vector.cut(bits)
    return lanes.sext(wide) if signed else lanes.zext(wide)


def multiplied(configuration: Configuration, product: Product, x: Value, y: Value) -> Value:
    """The product of two vector registers, in accumulator lanes."""
    wide = configuration.lane_bits
    lanes = ACCUMULATOR_BITS // wide
    left = _extended(x, product.x_bits, configuration.signed_x, wide)
    right = _extended(y, product.y_bits, configuration.signed_y, wide)
    if product.matrix and not configuration.term_signs:
        rows, inner, cols = product.matrix
        return matmul(left.part(0, rows * inner), right.part(0, inner * cols), rows, inner, cols)
    total = const(0, wide, lanes)
    for k in range(product.inner):
        term = left.take(product.left(lane, k) for lane in range(lanes))
        term = term * right.take(product.right(lane, k) for lane in range(lanes))
        if configuration.term_signs:
            assert product.sign_bit is not None
            bits = [configuration.term_signs >> product.sign_bit(lane, k) & 1 for lane in range(lanes)]
            term = term * const([1 - 2 * bit for bit in bits], wide)
        total = total + term
    return total


def _added(total: Value | None, sign: int, value: Value) -> Value:
    if total is None:
        return value if sign > 0 else -value
    return total + value if sign > 0 else total - value


Build = Callable[..., Value]


def _builder(signs: Signs) -> Build:
    """`build(word, *operands)`: the sum for one configuration word, of those operands that the opcode has."""

    def build(word: int, *operands: Value) -> Value:
        configuration = Configuration(word)
        waiting = list(operands)
        total: Value | None = None
        if signs.acc1:
            acc1 = waiting.pop(0).cut(configuration.lane_bits)
            if not configuration.zero_acc1:
                acc1 = acc1.shl(16) if configuration.shift16 else acc1
                total = _added(total, -signs.acc1 if configuration.negate_acc1 else signs.acc1, acc1)
        if signs.acc2:
            acc2 = waiting.pop(0).cut(configuration.lane_bits)
            total = _added(total, -signs.acc2 if configuration.negate_acc2 else signs.acc2, acc2)
        product = product_of(configuration) if signs.product else None
        if product is not None:
            value = multiplied(configuration, product, *waiting)
            total = _added(total, -signs.product if configuration.negate_product else signs.product, value)
        return const(0, ACCUMULATOR_BITS) if total is None else total.cast(1, ACCUMULATOR_BITS)

    return build


_BUILDERS = {name: _builder(signs) for name, signs in (MULTIPLICATIONS | SUMS).items()}


def _write_sum(i: Operation, *operands: str) -> None:
    build = _BUILDERS[i.opcode.name.split("_")[0]]
    i.write("dst", by_value(i.read("c"), build, *(i.read(name) for name in operands)))


@means("VADD", "VSUB", "VNEGADD", "VNEGSUB")
def _sum(i: Operation) -> None:
    _write_sum(i, "acc1", "acc2")


@means("VNEG")
def _negate(i: Operation) -> None:
    _write_sum(i, "acc1")


@means("VMUL_vmac_cm_core_dense", "VNEGMUL_vmac_cm_core_dense")
def _multiply(i: Operation) -> None:
    _write_sum(i, "s1", "s2")


@means(
    "VMAC_vmac_cm_core_dense",
    "VMSC_vmac_cm_core_dense",
    "VNEGMAC_vmac_cm_core_dense",
    "VNEGMSC_vmac_cm_core_dense",
)
def _multiply_add(i: Operation) -> None:
    _write_sum(i, "acc1", "s1", "s2")


@means(
    "VADDMAC_vmac_bm_core_dense",
    "VADDMSC_vmac_bm_core_dense",
    "VSUBMAC_vmac_bm_core_dense",
    "VSUBMSC_vmac_bm_core_dense",
)
def _multiply_add_twice(i: Operation) -> None:
    _write_sum(i, "acc1", "acc2", "s1", "s2")
