"""A small writer of LLVM IR: values with operators, variables, loops and conditions, written as text.

Values are named once; variables live in stack slots, which LLVM turns into registers. Types are LLVM's own, as text:
`i32`, `<16 x i32>`, `ptr`. Nothing here knows what is computed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

Number = int | float

_SIGNED = {"add": "add", "sub": "sub", "mul": "mul"}


def lanes_of(type_: str) -> int:
    """Lanes of a vector type, 1 of a scalar."""
    return int(type_[1:].split(" x ")[0]) if type_.startswith("<") else 1


def element_of(type_: str) -> str:
    """The type of a vector's lanes, or the type itself."""
    return type_[1:-1].split(" x ")[1] if type_.startswith("<") else type_


def vector(lanes: int, element: str) -> str:
    """The vector type."""
    return f"<{lanes} x {element}>"


@dataclass(frozen=True)
class Value:
    """A value of the function that is being written."""

    code: Code
    type: str
    name: str

    def _binary(self, integer: str, other: Value | Number) -> Value:
        operation = f"f{integer}" if element_of(self.type) in ("float", "double") else integer
        return self.code.binary(operation, self, other)

    def __add__(self, other: Value | Number) -> Value:
        return self._binary("add", other)

    def __sub__(self, other: Value | Number) -> Value:
        return self._binary("sub", other)

    def __mul__(self, other: Value | Number) -> Value:
        return self._binary("mul", other)

    def __and__(self, other: Value | int) -> Value:
        return self.code.binary("and", self, other)

    def __or__(self, other: Value | int) -> Value:
        return self.code.binary("or", self, other)

    def __xor__(self, other: Value | int) -> Value:
        return self.code.binary("xor", self, other)

    def __lshift__(self, other: Value | int) -> Value:
        return self.code.binary("shl", self, other)


@dataclass(frozen=True)
class Variable:
    """A stack slot for values of one type."""

    code: Code
    type: str
    slot: Value

    def get(self) -> Value:
        """The value that it has now."""
        return self.code.load(self.type, self.slot)

    def set(self, value: Value | Number) -> None:
        """Give it a value."""
        self.code.store(value if isinstance(value, Value) else self.code.constant(self.type, value), self.slot)


class Code:
    """One function, written from its first line to `text`. Arguments are `(type, name)`; it returns nothing."""

    def __init__(self, name: str, arguments: Sequence[tuple[str, str]]) -> None:
        self.name = name
        self.arguments = {argument: Value(self, type_, f"%{argument}") for type_, argument in arguments}
        self.declared: dict[str, str] = {}
        self._head = f"define void @{name}({', '.join(f'{t} %{a}' for t, a in arguments)}) {{"
        self._slots: list[str] = []
        self._lines: list[str] = []
        self._names = itertools.count()

    @property
    def text(self) -> str:
        """The function's definition; the declarations that it needs are in `declared`."""
        return "\n".join([self._head, "entry:", *self._slots, *self._lines, "  ret void", "}", ""])

    # -- values ---------------------------------------------------------------------------------------------------

    def constant(self, type_: str, number: Number | Sequence[Number]) -> Value:
        """A number, in all lanes of a vector; or one number a lane."""
        element = element_of(type_)

        def one(n: Number) -> str:
            return repr(float(n)) if element in ("float", "double") else str(n)

        if lanes_of(type_) == 1:
            assert isinstance(number, (int, float))
            return Value(self, type_, one(number))
        numbers = [number] * lanes_of(type_) if isinstance(number, (int, float)) else number
        return Value(self, type_, "<" + ", ".join(f"{element} {one(n)}" for n in numbers) + ">")

    def value(self, type_: str, operation: str) -> Value:
        """The result of an operation, given as text."""
        name = f"%v{next(self._names)}"
        self._lines.append(f"  {name} = {operation}")
        return Value(self, type_, name)

    def binary(self, operation: str, a: Value, b: Value | Number) -> Value:
        """`operation` of two values of one type."""
        other = b if isinstance(b, Value) else self.constant(a.type, b)
        assert a.type == other.type, (operation, a.type, other.type)
        return self.value(a.type, f"{operation} {a.type} {a.name}, {other.name}")

    def compare(self, condition: str, a: Value, b: Value | Number) -> Value:
        """`icmp`; the result has `i1` lanes."""
        other = b if isinstance(b, Value) else self.constant(a.type, b)
        lanes = lanes_of(a.type)
        return self.value(
            vector(lanes, "i1") if lanes > 1 else "i1", f"icmp {condition} {a.type} {a.name}, {other.name}"
        )

    def select(self, condition: Value, a: Value, b: Value | Number) -> Value:
        """`a` where the condition holds, else `b`."""
        other = b if isinstance(b, Value) else self.constant(a.type, b)
        return self.value(
            a.type, f"select {condition.type} {condition.name}, {a.type} {a.name}, {other.type} {other.name}"
        )

    def convert(self, how: str, a: Value, type_: str) -> Value:
        """`sext`, `zext`, `trunc`, `bitcast`, `sitofp`, `fptosi`, `fpext`, `fptrunc`, `inttoptr`."""
        return a if a.type == type_ else self.value(type_, f"{how} {a.type} {a.name} to {type_}")

    def call(self, function: str, type_: str, *arguments: Value) -> Value:
        """The result of an intrinsic or of a function declared elsewhere."""
        self.declared[function] = f"declare {type_} @{function}({', '.join(a.type for a in arguments)})"
        return self.value(type_, f"call {type_} @{function}({', '.join(f'{a.type} {a.name}' for a in arguments)})")

    def shuffle(self, a: Value, b: Value, indices: Sequence[int]) -> Value:
        """Lanes of two vectors of one type by index."""
        chosen = ", ".join(f"i32 {i}" for i in indices)
        type_ = vector(len(indices), element_of(a.type))
        return self.value(
            type_, f"shufflevector {a.type} {a.name}, {b.type} {b.name}, <{len(indices)} x i32> <{chosen}>"
        )

    def splat(self, scalar: Value, lanes: int) -> Value:
        """A scalar in all lanes."""
        type_ = vector(lanes, scalar.type)
        first = self.value(type_, f"insertelement {type_} poison, {scalar.type} {scalar.name}, i32 0")
        return self.shuffle(first, first, [0] * lanes)

    # -- memory ---------------------------------------------------------------------------------------------------

    def at(self, pointer: Value, *, bytes_: Value | int) -> Value:
        """An address so many bytes further."""
        offset = bytes_ if isinstance(bytes_, Value) else self.constant("i64", bytes_)
        return self.value("ptr", f"getelementptr i8, ptr {pointer.name}, i64 {offset.name}")

    def load(self, type_: str, pointer: Value) -> Value:
        """From an address that need not be aligned to more than a lane."""
        return self.value(type_, f"load {type_}, ptr {pointer.name}, align {_bytes_of(element_of(type_))}")

    def store(self, value: Value, pointer: Value) -> None:
        """To an address that need not be aligned to more than a lane."""
        align = _bytes_of(element_of(value.type))
        self._lines.append(f"  store {value.type} {value.name}, ptr {pointer.name}, align {align}")

    def variable(self, type_: str, first: Value | Number | None = None) -> Variable:
        """A variable, with its first value."""
        slot = f"%s{next(self._names)}"
        self._slots.append(f"  {slot} = alloca {type_}")
        made = Variable(self, type_, Value(self, "ptr", slot))
        if first is not None:
            made.set(first)
        return made

    # -- control --------------------------------------------------------------------------------------------------

    def _label(self) -> str:
        return f"l{next(self._names)}"

    @contextmanager
    def loop(self, start: Value | int, stop: Value | int, step: int = 1) -> Iterator[Value]:
        """For i from `start` up to below `stop`, i64."""
        first = start if isinstance(start, Value) else self.constant("i64", start)
        last = stop if isinstance(stop, Value) else self.constant("i64", stop)
        counter = self.variable("i64", first)
        test, body, end = (self._label() for _ in range(3))
        self._lines += [f"  br label %{test}", f"{test}:"]
        now = counter.get()
        more = self.compare("slt", now, last)
        self._lines += [f"  br i1 {more.name}, label %{body}, label %{end}", f"{body}:"]
        yield now
        counter.set(now + step)
        self._lines += [f"  br label %{test}", f"{end}:"]

    @contextmanager
    def when(self, condition: Value, *, rarely: bool = False) -> Iterator[None]:
        """What follows only where the condition (i1) holds. `rarely`: the compiler keeps it out of the way."""
        body, end = self._label(), self._label()
        if rarely:
            expected = self.constant("i1", 0)
            condition = self.call("llvm.expect.i1", "i1", condition, expected)
        self._lines += [f"  br i1 {condition.name}, label %{body}, label %{end}", f"{body}:"]
        yield
        self._lines += [f"  br label %{end}", f"{end}:"]


def _bytes_of(element: str) -> int:
    return {"i1": 1, "i8": 1, "i16": 2, "i32": 4, "i64": 8, "float": 4, "double": 8, "ptr": 8}[element]
