"""What a multiply of the vec slot does, by its configuration word: shape, multiply-accumulates, operands that count."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from xattn.isa.codec import Instruction
from xattn.isa.model import Register
from xattn.isa.semantics.vector_configuration import Configuration, UnknownConfigurationError, product_of

_MULTIPLY = re.compile(r"v(neg|add|sub)?(mul|mac|msc)(\.f)?")
_ACCUMULATOR_BITS, _HALF_VECTOR_BITS = 1024, 256
_FLOAT_MACS = 128  # bfloat16, 4×8×4: AMD AM020
FLOAT, SPARSE, UNKNOWN = "bfloat16", "sparse", "unknown shape"


@dataclass(frozen=True)
class Shape:
    """What one multiply computes: a name such as 4x8x8, and how many multiply-accumulates it is (0: not known)."""

    name: str
    macs: int
    low_half_of_x: bool = False
    reads_accumulator: bool = True


def is_multiply(instruction: Instruction) -> bool:
    """Whether the operation uses the vector multiplier."""
    return instruction.opcode.slot == "vec" and _MULTIPLY.fullmatch(instruction.opcode.mnemonic) is not None


def is_scalar_multiply(instruction: Instruction) -> bool:
    """Whether the operation multiplies two scalars."""
    return instruction.opcode.slot == "alu" and instruction.opcode.mnemonic == "mul"


@lru_cache(maxsize=1024)
def shape_of(instruction: Instruction, word: int | None) -> Shape:
    """The shape of a multiply under a configuration word (None: not known)."""
    if "sparse" in instruction.opcode.name:
        return Shape(SPARSE, 0)
    if instruction.opcode.mnemonic.endswith(".f"):
        return Shape(FLOAT, _FLOAT_MACS)
    if word is None:
        return Shape(UNKNOWN, 0)
    configuration = Configuration(word)
    reads = not configuration.zero_acc1
    try:
        product = product_of(configuration)
    except UnknownConfigurationError:
        return Shape(UNKNOWN, 0, reads_accumulator=reads)
    if product is None:
        return Shape("no product", 0, reads_accumulator=reads)
    lanes = _ACCUMULATOR_BITS // configuration.lane_bits
    furthest = max(product.left(lane, k) for lane in range(lanes) for k in range(product.inner))
    low = (furthest + 1) * product.x_bits <= _HALF_VECTOR_BITS
    return Shape(product.name, lanes * product.inner, low, reads)


def unread(instruction: Instruction, word: int | None) -> frozenset[Register]:
    """Storage that the operation names but does not need: the upper half of x, or an accumulator that counts as 0.

    Storage that it names as another operand too is not among it.
    """
    if not is_multiply(instruction) or "sparse" in instruction.opcode.name:
        return frozenset()
    shape = shape_of(instruction, word)
    named: Counter[Register] = Counter()
    for operand, value in zip(instruction.opcode.operands, instruction.values, strict=True):
        if isinstance(value, Register) and not operand.is_def:
            named.update(value.storage)
    found: list[Register] = []
    if shape.low_half_of_x and isinstance(x := instruction["s1"], Register):
        found += x.storage[len(x.storage) // 2 :]
    if not shape.reads_accumulator and isinstance(first := _operand(instruction, "acc1"), Register):
        found += first.storage
    return frozenset(leaf for leaf in found if named[leaf] == 1)


def _operand(instruction: Instruction, name: str) -> Register | int | None:
    return instruction[name] if name in instruction.opcode.position else None
