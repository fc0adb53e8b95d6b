"""Scalars of the kernel language: 32-bit integers in registers, with Python's operators.

A `Variable` can be changed (`total += x`, `best.set(x)`), also inside loops; every other scalar is a value.
Comparisons give a `Condition`, used with `select`. Constants fold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xattn.compiler.ir import Label, Reference, VirtualRegister
from xattn.errors import InputError
from xattn.isa.table import instruction_table

if TYPE_CHECKING:
    from xattn.compiler.language.kernel import Kernel

ScalarLike = "Scalar | int"


class Scalar:
    """A 32-bit integer in a register."""

    def __init__(self, kernel: Kernel, register: VirtualRegister) -> None:
        self.kernel = kernel
        self.register = register

    def __add__(self, other: Scalar | int) -> Scalar:
        return self.kernel.binary("add", self, other)

    __radd__ = __add__

    def __sub__(self, other: Scalar | int) -> Scalar:
        return self.kernel.binary("sub", self, other)

    def __rsub__(self, other: int) -> Scalar:
        return self.kernel.binary("sub", other, self)

    def __mul__(self, other: Scalar | int) -> Scalar:
        return self.kernel.binary("mul", self, other)

    __rmul__ = __mul__

    def __and__(self, other: Scalar | int) -> Scalar:
        return self.kernel.binary("and", self, other)

    def __or__(self, other: Scalar | int) -> Scalar:
        return self.kernel.binary("or", self, other)

    def __neg__(self) -> Scalar:
        return self.kernel.binary("sub", 0, self)

    def __lshift__(self, amount: Scalar | int) -> Scalar:
        return self.kernel.shift(self, amount, left=True)

    def __rshift__(self, amount: Scalar | int) -> Scalar:
        """Arithmetic shift: rounds towards minus infinity."""
        return self.kernel.shift(self, amount, left=False)

    def __lt__(self, other: Scalar | int) -> Condition:
        return Condition(self.kernel, "LT", self, other)

    def __ge__(self, other: Scalar | int) -> Condition:
        return Condition(self.kernel, "GE", self, other)

    def __gt__(self, other: Scalar | int) -> Condition:
        return Condition(self.kernel, "LT", other, self)

    def __le__(self, other: Scalar | int) -> Condition:
        return Condition(self.kernel, "GE", other, self)

    def __bool__(self) -> bool:
        raise InputError("a kernel's value has no truth at compile time; use select(condition, a, b)")


@dataclass(frozen=True)
class ByteOffset:
    """A distance from the start of an array, in a register that addresses (see `Kernel.load_offset`)."""

    register: VirtualRegister


class Variable(Scalar):
    """A scalar that can be changed. It keeps its register, also round loops."""

    def set(self, value: Scalar | int) -> None:
        """Assign."""
        self.kernel.copy_into(self.register, value)

    def __iadd__(self, other: Scalar | int) -> Variable:
        self.kernel.binary("add", self, other, into=self.register)
        return self

    def __isub__(self, other: Scalar | int) -> Variable:
        self.kernel.binary("sub", self, other, into=self.register)
        return self


class Condition:
    """A comparison, not yet computed."""

    def __init__(self, kernel: Kernel, opcode: str, a: Scalar | int, b: Scalar | int) -> None:
        self.kernel, self.opcode, self.a, self.b = kernel, opcode, a, b


def select(condition: Condition, if_true: Scalar | int, if_false: Scalar | int) -> Scalar:
    """One of two scalars."""
    return condition.kernel.select(condition, if_true, if_false)


def maximum(a: Scalar, b: Scalar | int) -> Scalar:
    """The larger of two signed scalars."""
    return select(a < b, b, a)


def minimum(a: Scalar, b: Scalar | int) -> Scalar:
    """The smaller of two signed scalars."""
    return select(a < b, a, b)


def clamp(a: Scalar, low: int, high: int) -> Scalar:
    """`a` held between two constants."""
    return minimum(maximum(a, low), high)


def leading_zeros(value: Scalar) -> Scalar:
    """How many of the 32 bits before the first 1 are 0; 32 for zero."""
    kernel = value.kernel
    target = kernel.new_register("r")
    kernel.emit("CLZ", {"mRx": target, "mRx0": value.register})
    return Scalar(kernel, target)


def divide(numerator: Scalar, denominator: Scalar, bits: int) -> Scalar:
    """Quotient of unsigned scalars, rounded down; the numerator has at most `bits` bits, the denominator is not 0.

    One restoring step of the divs operation a bit.
    """
    kernel = numerator.kernel
    r31 = instruction_table().registers["r31"]
    remainder = kernel.variable(0)
    kernel.copy_into(r31, numerator << (32 - bits))
    for _ in range(bits):
        operands: dict[str, Reference] = {
            "d0": remainder.register,
            "s0": remainder.register,
            "s1": kernel.in_register(denominator),
        }
        kernel.emit("DIVS", operands)
    quotient = kernel.new_register("r")
    kernel.copy_into(quotient, r31)
    return Scalar(kernel, quotient)


__all__ = [
    "Condition",
    "Label",
    "Scalar",
    "Variable",
    "clamp",
    "divide",
    "leading_zeros",
    "maximum",
    "minimum",
    "select",
]
