"""The alu slot: arithmetic, logic, comparisons, shifts and selection on the 32-bit registers."""

from __future__ import annotations

from collections.abc import Callable

from xattn.isa.semantics.lanes import Value, const, select
from xattn.isa.semantics.meaning import Operation, means

SIGN = 1 << 31


def _result(i: Operation, value: Value) -> None:
    i.write("mRx", value)


def _operands(i: Operation) -> tuple[Value, Value]:
    return i.read("mRx0"), i.read("mRy")


def _flag(condition: Value) -> Value:
    return condition.zext(32)


def _add_with_carry(i: Operation, a: Value, b: Value, carry: Value) -> None:
    total = a.zext(33) + b.zext(33) + carry.zext(33)
    _result(i, total.trunc(32))
    i.set_register("srCarry", total.lshr(32).trunc(1))


def _subtract_with_borrow(i: Operation, a: Value, b: Value, borrow: Value) -> None:
    difference = a.zext(33) - b.zext(33) - borrow.zext(33)
    _result(i, difference.trunc(32))
    i.set_register("srCarry", difference.lshr(32).trunc(1))


@means("ADD")
def _add(i: Operation) -> None:
    _add_with_carry(i, *_operands(i), const(0, 1))


@means("ADD_add_r_ri")
def _add_immediate(i: Operation) -> None:
    _add_with_carry(i, i.read("mRx0"), i.read("c7s"), const(0, 1))


@means("ADC")
def _adc(i: Operation) -> None:
    _add_with_carry(i, *_operands(i), i.register("srCarry"))


@means("SUB")
def _sub(i: Operation) -> None:
    _subtract_with_borrow(i, *_operands(i), const(0, 1))


@means("SBC")
def _sbc(i: Operation) -> None:
    _subtract_with_borrow(i, *_operands(i), i.register("srCarry"))


@means("MUL_mul_r_rr")
def _mul(i: Operation) -> None:
    a, b = _operands(i)
    _result(i, a * b)


@means("ABS")
def _abs(i: Operation) -> None:
    a = i.read("mRx0")
    negative = a.slt(0)
    _result(i, select(negative, -a, a))
    i.set_register("srCarry", negative)


_BINARY: dict[str, Callable[[Value, Value], Value]] = {
    "AND": lambda a, b: a & b,
    "OR": lambda a, b: a | b,
    "XOR": lambda a, b: a ^ b,
    "EQ": lambda a, b: _flag(a.eq(b)),
    "NE": lambda a, b: _flag(a.ne(b)),
    "LT": lambda a, b: _flag(a.slt(b)),
    "LTU": lambda a, b: _flag(a.ult(b)),
    "GE": lambda a, b: _flag(b.sle(a)),
    "GEU": lambda a, b: _flag(b.ule(a)),
}


@means(*_BINARY)
def _binary(i: Operation) -> None:
    _result(i, _BINARY[i.opcode.name](*_operands(i)))


_UNARY: dict[str, Callable[[Value], Value]] = {
    "EQZ": lambda a: _flag(a.eq(0)),
    "NEZ": lambda a: _flag(a.ne(0)),
    "CLZ": lambda a: a.clz(),
    # counts the sign bit itself too, so that 0 and -1 give 32
    "CLB": lambda a: (a ^ a.ashr(31)).clz(),
    "EXTENDs8": lambda a: a.trunc(8).sext(32),
    "EXTENDu8": lambda a: a.trunc(8).zext(32),
    "EXTENDs16": lambda a: a.trunc(16).sext(32),
    "EXTENDu16": lambda a: a.trunc(16).zext(32),
}


@means(*_UNARY)
def _unary(i: Operation) -> None:
    _result(i, _UNARY[i.opcode.name](i.read("mRx0")))


def _shifted(a: Value, amount: Value, right: Callable[[Value, Value], Value]) -> Value:
    """The amount is signed: to the left by amount mod 32, or to the right by (-amount) mod 32."""
    return select(amount.slt(0), right(a, -amount & 31), a.shl(amount & 31))


@means("LSHL")
def _lshl(i: Operation) -> None:
    _result(i, _shifted(*_operands(i), Value.lshr))


@means("ASHL")
def _ashl(i: Operation) -> None:
    _result(i, _shifted(*_operands(i), Value.ashr))


@means("SELNEZ")
def _selnez(i: Operation) -> None:
    _result(i, select(i.read("s2").ne(0), *_operands(i)))


@means("SELEQZ")
def _seleqz(i: Operation) -> None:
    _result(i, select(i.read("s2").eq(0), *_operands(i)))


@means("DIVS")
def _division_step(i: Operation) -> None:
    """One step of restoring division: 32 of them leave the quotient in r31 and the remainder in d0."""
    dividend, divisor = i.read("sd_in"), i.read("s1")
    partial = i.read("s0").shl(1) | dividend.lshr(31)
    fits = divisor.ule(partial)
    i.write("d0", select(fits, partial - divisor, partial))
    i.write("sd_out", dividend.shl(1) | _flag(fits))
