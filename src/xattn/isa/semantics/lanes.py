"""The words an opcode's meaning is written in: operations on lanes, as immutable expression trees.

A `Value` is `lanes` lanes of `bits` bits each; a scalar is one lane. Lanes carry no sign: operations that need one say
so (`sext`, `ashr`, `slt`, `smax` …), everything else wraps. Nothing here computes: an engine walks the tree and makes
its own code from it, so that every engine executes the same definition.

Kinds of node (`op`) and what `data` holds:

    operand (name, path)  immediate name  register name  load number  parameter number       the leaves
    const value or values per lane                   undefined why
    add sub mul and or xor not                       wrapping, lane by lane
    clz                                              number of leading zeros of each lane, in lanes of the same width
    shl lshr ashr                                    unsigned amount, one or one a lane; bits and more shift all out
    eq ne slt sle ult ule                            -> 1 bit a lane
    select smin smax umin umax                       lane by lane
    zext sext trunc                                  change the width of each lane
    cast                                             the same bits cut into other lanes, lowest bits first
    take indices                                     lane k of the result is lane indices[k] of the argument
    lane insert                                      one lane read or replaced; a number >= lanes wraps around
    concat splat                                     low lanes first; one lane repeated
    matmul (rows, inner, cols)                       row-major rows x inner times inner x cols, wrapping
    switch Switch, pick number                       see `by_value`
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False, slots=True)
class Value:
    """`lanes` lanes of `bits` bits, as an expression."""

    op: str
    lanes: int
    bits: int
    args: tuple[Value, ...] = ()
    data: Any = None

    def __repr__(self) -> str:
        inside = ", ".join([*map(repr, self.args), *([] if self.data is None else [repr(self.data)])])
        return f"{self.op}<{self.lanes}x{self.bits}>({inside})"

    @property
    def shape(self) -> tuple[int, int]:
        """(lanes, bits)."""
        return self.lanes, self.bits

    def __add__(self, other: Value | int) -> Value:
        return self._with("add", other)

    def __sub__(self, other: Value | int) -> Value:
        return self._with("sub", other)

    def __mul__(self, other: Value | int) -> Value:
        return self._with("mul", other)

    def __and__(self, other: Value | int) -> Value:
        return self._with("and", other)

    def __or__(self, other: Value | int) -> Value:
        return self._with("or", other)

    def __xor__(self, other: Value | int) -> Value:
        return self._with("xor", other)

    def __rsub__(self, other: int) -> Value:
        return self._like(other) - self

    def __invert__(self) -> Value:
        return Value("not", self.lanes, self.bits, (self,))

    def __neg__(self) -> Value:
        return self._like(0) - self

    def clz(self) -> Value:
        """Number of leading zeros of each lane (`bits` for a zero)."""
        return Value("clz", self.lanes, self.bits, (self,))

    def shl(self, amount: Value | int) -> Value:
        """Shift left; an amount of `bits` or more gives 0."""
        return self._shift("shl", amount)

    def lshr(self, amount: Value | int) -> Value:
        """Shift right, zeros come in; an amount of `bits` or more gives 0."""
        return self._shift("lshr", amount)

    def ashr(self, amount: Value | int) -> Value:
        """Shift right, copies of the sign come in; an amount of `bits` or more leaves the sign everywhere."""
        return self._shift("ashr", amount)

    def eq(self, other: Value | int) -> Value:
        """Equal."""
        return self._compare("eq", other)

    def ne(self, other: Value | int) -> Value:
        """Not equal."""
        return self._compare("ne", other)

    def slt(self, other: Value | int) -> Value:
        """Less than, signed."""
        return self._compare("slt", other)

    def sle(self, other: Value | int) -> Value:
        """Less than or equal, signed."""
        return self._compare("sle", other)

    def ult(self, other: Value | int) -> Value:
        """Less than, unsigned."""
        return self._compare("ult", other)

    def ule(self, other: Value | int) -> Value:
        """Less than or equal, unsigned."""
        return self._compare("ule", other)

    def smin(self, other: Value | int) -> Value:
        """The smaller, signed."""
        return self._with("smin", other)

    def smax(self, other: Value | int) -> Value:
        """The larger, signed."""
        return self._with("smax", other)

    def umin(self, other: Value | int) -> Value:
        """The smaller, unsigned."""
        return self._with("umin", other)

    def umax(self, other: Value | int) -> Value:
        """The larger, unsigned."""
        return self._with("umax", other)

    def zext(self, bits: int) -> Value:
        """Widen each lane with zeros (the same width: unchanged)."""
        return self._widen("zext", bits)

    def sext(self, bits: int) -> Value:
        """Widen each lane with its sign (the same width: unchanged)."""
        return self._widen("sext", bits)

    def trunc(self, bits: int) -> Value:
        """Keep the low bits of each lane (the same width: unchanged)."""
        if bits > self.bits:
            raise TypeError(f"trunc from {self.bits} to {bits} bits")
        return self if bits == self.bits else Value("trunc", self.lanes, bits, (self,))

    def cast(self, lanes: int, bits: int) -> Value:
        """The same bits as `lanes` lanes of `bits`; lane 0 has the lowest."""
        if lanes * bits != self.lanes * self.bits:
            raise TypeError(f"cast of {self.lanes} x {self.bits} to {lanes} x {bits} bits")
        return self if lanes == self.lanes else Value("cast", lanes, bits, (self,))

    def cut(self, bits: int) -> Value:
        """The same bits as lanes of `bits` each."""
        return self.cast(self.lanes * self.bits // bits, bits)

    def take(self, indices: Iterable[int]) -> Value:
        """Lane k of the result is lane `indices[k]`."""
        chosen = tuple(indices)
        if any(not 0 <= k < self.lanes for k in chosen):
            raise TypeError(f"take beyond {self.lanes} lanes: {chosen}")
        return Value("take", len(chosen), self.bits, (self,), chosen)

    def part(self, start: int, count: int) -> Value:
        """`count` consecutive lanes from lane `start`."""
        return self.take(range(start, start + count))

    def lane(self, index: Value | int) -> Value:
        """One lane, as a scalar; a number beyond the last wraps around."""
        return Value("lane", 1, self.bits, (self, _number(index)))

    def insert(self, index: Value | int, value: Value) -> Value:
        """The same lanes but one; a number beyond the last wraps around."""
        if value.shape != (1, self.bits):
            raise TypeError(f"insert of {value.shape} into lanes of {self.bits} bits")
        return Value("insert", self.lanes, self.bits, (self, _number(index), value))

    def _like(self, other: Value | int) -> Value:
        return const(other, self.bits, self.lanes) if isinstance(other, int) else other

    def _with(self, op: str, other: Value | int) -> Value:
        other = self._like(other)
        if other.shape != self.shape:
            raise TypeError(f"{op} of {self.shape} and {other.shape} (lanes, bits)")
        return Value(op, self.lanes, self.bits, (self, other))

    def _compare(self, op: str, other: Value | int) -> Value:
        return Value(op, self.lanes, 1, self._with(op, other).args)

    def _shift(self, op: str, amount: Value | int) -> Value:
        amount = _number(amount)
        if amount.lanes not in (1, self.lanes):
            raise TypeError(f"{op} of {self.lanes} lanes by {amount.lanes} amounts")
        return Value(op, self.lanes, self.bits, (self, amount))

    def _widen(self, op: str, bits: int) -> Value:
        if bits < self.bits:
            raise TypeError(f"{op} from {self.bits} to {bits} bits")
        return self if bits == self.bits else Value(op, self.lanes, bits, (self,))


def _number(value: Value | int) -> Value:
    return const(value, 32) if isinstance(value, int) else value


def const(value: int | Sequence[int], bits: int, lanes: int = 1) -> Value:
    """A constant: one number for all lanes, or one a lane; negative numbers stand for their low `bits` bits."""
    mask = (1 << bits) - 1
    if isinstance(value, int):
        return Value("const", lanes, bits, (), value & mask)
    return Value("const", len(value), bits, (), tuple(v & mask for v in value))


def splat(value: Value, lanes: int) -> Value:
    """A scalar in every lane."""
    if value.lanes != 1:
        raise TypeError(f"splat of {value.lanes} lanes")
    return value if lanes == 1 else Value("splat", lanes, value.bits, (value,))


def concat(*values: Value) -> Value:
    """The lanes of all values, those of the first lowest."""
    if len({value.bits for value in values}) != 1:
        raise TypeError(f"concat of lanes of {[value.bits for value in values]} bits")
    return Value("concat", sum(value.lanes for value in values), values[0].bits, values)


def select(condition: Value, a: Value, b: Value | int) -> Value:
    """`condition ? a : b`, lane by lane, or for all lanes by a scalar condition of 1 bit."""
    b = const(b, a.bits, a.lanes) if isinstance(b, int) else b
    if a.shape != b.shape or condition.bits != 1 or condition.lanes not in (1, a.lanes):
        raise TypeError(f"select of {a.shape} and {b.shape} by {condition.shape} (lanes, bits)")
    return Value("select", a.lanes, a.bits, (condition, a, b))


def matmul(x: Value, y: Value, rows: int, inner: int, cols: int) -> Value:
    """Row-major `rows` x `inner` times row-major `inner` x `cols`, lanes of equal width, wrapping at that width."""
    if x.bits != y.bits or x.lanes != rows * inner or y.lanes != inner * cols:
        raise TypeError(f"matmul {rows} x {inner} x {cols} of {x.shape} and {y.shape} (lanes, bits)")
    return Value("matmul", rows * cols, x.bits, (x, y), (rows, inner, cols))


def undefined(lanes: int, bits: int, why: str) -> Value:
    """A result that the machine's description leaves open; an engine reports `why` where it is used."""
    return Value("undefined", lanes, bits, (), why)


Build = Callable[..., "Value | tuple[Value, ...]"]


@dataclass(frozen=True, eq=False)
class Switch:
    """What a `switch` node chooses from: `build(number, *parameters)` makes the expression for one selector value."""

    build: Build
    shapes: tuple[tuple[int, int], ...]

    @property
    def parameters(self) -> tuple[Value, ...]:
        """The leaves that stand for the inputs."""
        return tuple(Value("parameter", *shape, (), k) for k, shape in enumerate(self.shapes))

    def case(self, number: int) -> tuple[Value, ...]:
        """The results for selector value `number`, in terms of `parameter` leaves."""
        made = self.build(number, *self.parameters)
        return (made,) if isinstance(made, Value) else made


def by_value(selector: Value, build: Build, *inputs: Value) -> Any:
    """A meaning that depends on a number known only at run time, such as a configuration word or a shuffle mode.

    `build(number, *inputs)` is called with a plain int and stand-ins for `inputs`; it may use nothing else, and returns
    a Value or a tuple of Values whose shapes are those of `build(0, …)`. The result has the same form. An engine makes
    code for one number at a time, when it first meets it, and keeps it.
    """
    if selector.lanes != 1:
        raise TypeError(f"by_value on {selector.lanes} lanes")
    switch = Switch(build, tuple(value.shape for value in inputs))
    made = build(0, *switch.parameters)
    node = Value("switch", 1, 1, (selector, *inputs), switch)
    if isinstance(made, Value):
        return Value("pick", made.lanes, made.bits, (node,), 0)
    return tuple(Value("pick", result.lanes, result.bits, (node,), k) for k, result in enumerate(made))
