"""LLVM IR for lane expressions: the second evaluator of `xattn.isa.semantics.lanes`.

How a value of (lanes, bits) is typed, in the terms of `xattn.sim.expressions.held_as`:

    int     iBITS
    raw     <BITS/8 x i8>                   one lane of more than 64 bits
    bool    <LANES x i1>
    array   <LANES x iBITS>
    wide    <LANES*BITS/64 x i64>           several lanes of more than 64 bits, each in neighbouring elements

Shifts by the width and more are poison in LLVM and 0 (or the sign) here, so amounts are bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xattn.errors import XattnError
from xattn.isa.semantics.lanes import Switch, Value
from xattn.sim.expressions import held_as, largest
from xattn.sim.translate.ir import Writer, constant, integer_type, vector_type
from xattn.sim.translate.products import product

Leaf = Callable[[Value], str]
# What a switch becomes: given the node, the names of its inputs; the names of its results.
SwitchCode = Callable[["LaneCode", Value], Sequence[str]]


class UntranslatableError(XattnError):
    """Something that the interpreter has to do: a result that nothing defines, an opcode without a meaning."""


def type_of(value: Value) -> str:
    """The LLVM type of a value."""
    held = held_as(value)
    if held == "int":
        return integer_type(value.bits)
    if held == "raw":
        return vector_type(value.bits // 8, 8)
    if held == "wide":
        return vector_type(value.lanes * value.bits // 64, 64)
    return vector_type(value.lanes, value.bits)


_SAME = {"add": "add", "sub": "sub", "mul": "mul", "and": "and", "or": "or", "xor": "xor"}
_COMPARE = {"eq": "eq", "ne": "ne", "slt": "slt", "sle": "sle", "ult": "ult", "ule": "ule"}
_EXTREME = {"smin": "slt", "smax": "sgt", "umin": "ult", "umax": "ugt"}
_BITWISE = ("and", "or", "xor", "not")


class LaneCode:
    """Writes the code of values into a `Writer`; each node once.

    `leaf(value)` gives the name of a leaf, `switch` the results of a switch (see `switches.py`).
    """

    def __init__(self, writer: Writer, leaf: Leaf, switch: SwitchCode):
        self.writer, self.leaf, self.switch = writer, leaf, switch
        self.known: dict[Value, str] = {}
        self._switched: dict[Value, Sequence[str]] = {}

    def name(self, value: Value) -> str:
        """The name (or the literal) that holds a value."""
        if value not in self.known:
            self.known[value] = self._compute(value)
        return self.known[value]

    def nested(self, leaf: Leaf) -> LaneCode:
        """Another evaluator into the same code, whose leaves are different ones."""
        return LaneCode(self.writer, leaf, self.switch)

    def case(self, switch: Switch, number: int, inputs: Sequence[str]) -> list[str]:
        """The results of a switch for one selector value."""
        names = dict(enumerate(inputs))
        inner = self.nested(lambda leaf: names[leaf.data])
        return [inner.name(result) for result in switch.case(number)]

    def _compute(self, value: Value) -> str:
        op = value.op
        if op in ("operand", "register", "immediate", "load", "parameter"):
            return self.leaf(value)
        if op == "undefined":
            raise UntranslatableError(str(value.data))
        if op in _SAME or op in _COMPARE or op in _EXTREME or op in ("not", "clz"):
            held = held_as(value.args[0])
            if held not in ("int", "array") and op not in _BITWISE and not (op in ("eq", "ne") and held == "bool"):
                raise TypeError(f"{op} on {value.args[0].shape} (lanes, bits): cut or widen it first")
        if op in _SAME:
            a, b = map(self.name, value.args)
            return self.writer.line(f"{_SAME[op]} {type_of(value)} {a}, {b}")
        if op in _COMPARE:
            a, b = map(self.name, value.args)
            return self.writer.line(f"icmp {_COMPARE[op]} {type_of(value.args[0])} {a}, {b}")
        if op in _EXTREME:
            return self._extreme(value)
        return str(getattr(self, f"_{op}")(value))

    def _extreme(self, value: Value) -> str:
        a, b = map(self.name, value.args)
        type_ = type_of(value)
        first = self.writer.line(f"icmp {_EXTREME[value.op]} {type_} {a}, {b}")
        condition = integer_type(1) if value.lanes == 1 else vector_type(value.lanes, 1)
        return self.writer.line(f"select {condition} {first}, {type_} {a}, {type_} {b}")

    def _const(self, value: Value) -> str:
        held = held_as(value)
        data = value.data
        if held == "int":
            return str(data if isinstance(data, int) else data[0])
        numbers = list(data) if isinstance(data, tuple) else [data] * value.lanes
        if held in ("bool", "array"):
            return constant(numbers, value.bits)
        piece = 8 if held == "raw" else 64
        mask = (1 << piece) - 1
        return constant([n >> shift & mask for n in numbers for shift in range(0, value.bits, piece)], piece)

    def _not(self, value: Value) -> str:
        type_ = type_of(value)
        ones = "-1" if held_as(value) == "int" else _splat_of(type_, -1)
        return self.writer.line(f"xor {type_} {self.name(value.args[0])}, {ones}")

    def _clz(self, value: Value) -> str:
        suffix = f"i{value.bits}" if value.lanes == 1 else f"v{value.lanes}i{value.bits}"
        type_ = type_of(value)
        return self.writer.line(
            self.writer.intrinsic(f"llvm.ctlz.{suffix}", type_, [(type_, self.name(value.args[0])), ("i1", "false")])
        )

    # shifts

    def _shift(self, value: Value) -> str:
        a, amount = value.args
        if held_as(value) not in ("int", "array"):
            raise TypeError(f"{value.op} on {value.shape} (lanes, bits)")
        type_ = type_of(value)
        bounded = max(largest(v) for v in (amount,)) < value.bits if amount.lanes == 1 else False
        count = self._amount(value, amount)
        limit = str(value.bits) if value.lanes == 1 else _splat_of(type_, value.bits)
        if value.op == "ashr":
            if not bounded:
                count = self._least(type_, count, value.bits - 1, value.lanes)
            return self.writer.line(f"ashr {type_} {self.name(a)}, {count}")
        shifted = self.writer.line(f"{value.op} {type_} {self.name(a)}, {count}")
        if bounded:
            return shifted
        inside = self.writer.line(f"icmp ult {type_} {count}, {limit}")
        zero = "0" if value.lanes == 1 else "zeroinitializer"
        condition = "i1" if value.lanes == 1 else vector_type(value.lanes, 1)
        return self.writer.line(f"select {condition} {inside}, {type_} {shifted}, {type_} {zero}")

    _shl = _lshr = _ashr = _shift

    def _least(self, type_: str, name: str, bound: int, lanes: int) -> str:
        limit = str(bound) if lanes == 1 else _splat_of(type_, bound)
        condition = "i1" if lanes == 1 else vector_type(lanes, 1)
        less = self.writer.line(f"icmp ult {type_} {name}, {limit}")
        return self.writer.line(f"select {condition} {less}, {type_} {name}, {type_} {limit}")

    def _amount(self, value: Value, amount: Value) -> str:
        """Amounts in the type of what is shifted; those of `bits` and more are at least `bits` there."""
        if held_as(amount) not in ("int", "array", "bool"):
            raise TypeError(f"{value.op} by {amount.shape} (lanes, bits)")
        name, bits = self.name(amount), amount.bits
        scalar = amount.lanes == 1
        if bits > value.bits:
            most = (1 << value.bits) - 1
            name = self._least(type_of(amount), name, most, amount.lanes)
            name = self.writer.line(f"trunc {type_of(amount)} {name} to {_with_bits(amount, value.bits)}")
        elif bits < value.bits:
            name = self.writer.line(f"zext {type_of(amount)} {name} to {_with_bits(amount, value.bits)}")
        if scalar and value.lanes > 1:
            name = self.writer.repeated(name, integer_type(value.bits), value.lanes)
        return name

    # conditions and widths

    def _select(self, value: Value) -> str:
        condition, a, b = value.args
        type_, chooser = type_of(value), self.name(condition)
        chooser_type = "i1"
        if condition.lanes > 1:
            chooser_type = vector_type(condition.lanes, 1)
            if held_as(value) == "wide":
                each = value.bits // 64
                wanted = [k // each for k in range(value.lanes * each)]
                chooser = self.writer.shuffled(chooser, chooser_type, wanted)
                chooser_type = vector_type(len(wanted), 1)
        return self.writer.line(f"select {chooser_type} {chooser}, {type_} {self.name(a)}, {type_} {self.name(b)}")

    def _zext(self, value: Value) -> str:
        (inner,) = value.args
        name, held, before = self.name(inner), held_as(value), held_as(inner)
        if held == "raw":
            if before == "int":
                wide = self.writer.line(f"zext {type_of(inner)} {name} to i{value.bits}")
                return self.writer.line(f"bitcast i{value.bits} {wide} to {type_of(value)}")
            return self.writer.resized(name, inner.bits // 8, value.bits // 8, zeros=True)
        return self._converted("zext", value, name)

    def _sext(self, value: Value) -> str:
        return self._converted("sext", value, self.name(value.args[0]))

    def _converted(self, op: str, value: Value, name: str) -> str:
        if held_as(value) not in ("int", "array", "bool") or held_as(value.args[0]) not in ("int", "array", "bool"):
            raise TypeError(f"{op} of {value.args[0].shape} to {value.shape} (lanes, bits)")
        return self.writer.line(f"{op} {type_of(value.args[0])} {name} to {type_of(value)}")

    def _trunc(self, value: Value) -> str:
        (inner,) = value.args
        name = self.name(inner)
        if held_as(inner) != "raw":
            return self._converted("trunc", value, name)
        if held_as(value) == "raw":
            return self.writer.resized(name, inner.bits // 8, value.bits // 8)
        size = -(-value.bits // 8)
        low = self.writer.resized(name, inner.bits // 8, size)
        number = self.writer.line(f"bitcast {vector_type(size, 8)} {low} to i{8 * size}")
        return number if 8 * size == value.bits else self.writer.line(f"trunc i{8 * size} {number} to i{value.bits}")

    # the same bits in other lanes

    def _cast(self, value: Value) -> str:
        (inner,) = value.args
        name, type_ = self.name(inner), type_of(inner)
        if held_as(inner) == "array" and inner.bits == 4:
            name, type_ = self._join_nibbles(name, inner.lanes), vector_type(inner.lanes // 2, 8)
        elif held_as(inner) == "array" and inner.bits not in (8, 16, 32, 64):
            raise TypeError(f"cast of {inner.shape} (lanes, bits)")
        if held_as(value) == "array" and value.bits == 4:
            target = vector_type(value.lanes // 2, 8)
            return self._nibbles_of(self._bitcast(name, type_, target), value.lanes)
        if held_as(value) == "array" and value.bits not in (8, 16, 32, 64):
            raise TypeError(f"cast to {value.shape} (lanes, bits)")
        return self._bitcast(name, type_, type_of(value))

    def _bitcast(self, name: str, before: str, after: str) -> str:
        return name if before == after else self.writer.line(f"bitcast {before} {name} to {after}")

    def _nibbles_of(self, name: str, lanes: int) -> str:
        type_ = vector_type(lanes // 2, 8)
        high = self.writer.line(f"lshr {type_} {name}, {_splat_of(type_, 4)}")
        order = [k // 2 + (lanes // 2 if k % 2 else 0) for k in range(lanes)]
        both = self.writer.line(
            f"shufflevector {type_} {name}, {type_} {high}, {vector_type(lanes, 32)} {constant(order, 32)}"
        )
        return self.writer.line(f"trunc {vector_type(lanes, 8)} {both} to {vector_type(lanes, 4)}")

    def _join_nibbles(self, name: str, lanes: int) -> str:
        wide = self.writer.line(f"zext {vector_type(lanes, 4)} {name} to {vector_type(lanes, 8)}")
        low = self.writer.shuffled(wide, vector_type(lanes, 8), range(0, lanes, 2))
        high = self.writer.shuffled(wide, vector_type(lanes, 8), range(1, lanes, 2))
        type_ = vector_type(lanes // 2, 8)
        shifted = self.writer.line(f"shl {type_} {high}, {_splat_of(type_, 4)}")
        return self.writer.line(f"or {type_} {low}, {shifted}")

    def _elements(self, value: Value) -> tuple[str, int, int]:
        """A value as (name, elements a lane, bits of an element), of a vector type also where it has one lane."""
        name, held = self.name(value), held_as(value)
        if held == "int":
            type_ = vector_type(1, value.bits)
            return self.writer.line(f"insertelement {type_} poison, i{value.bits} {name}, i32 0"), 1, value.bits
        if held == "raw":
            return self._bitcast(name, type_of(value), vector_type(value.bits // 64, 64)), value.bits // 64, 64
        return name, (value.bits // 64 if held == "wide" else 1), (64 if held == "wide" else value.bits)

    def _from_elements(self, name: str, value: Value, each: int, bits: int) -> str:
        """A vector of elements as `type_of(value)`."""
        if held_as(value) == "int":
            return self.writer.line(f"extractelement {vector_type(1, bits)} {name}, i32 0")
        return self._bitcast(name, vector_type(value.lanes * each, bits), type_of(value))

    def _take(self, value: Value) -> str:
        (inner,) = value.args
        if held_as(value) == "int" and held_as(inner) != "int":
            return self.writer.line(f"extractelement {type_of(inner)} {self.name(inner)}, i32 {value.data[0]}")
        name, each, bits = self._elements(inner)
        order = [index * each + part for index in value.data for part in range(each)]
        taken = self.writer.shuffled(name, vector_type(inner.lanes * each, bits), order)
        return self._from_elements(taken, value, each, bits)

    def _splat(self, value: Value) -> str:
        (inner,) = value.args
        if held_as(inner) == "int":
            return self.writer.repeated(self.name(inner), type_of(inner), value.lanes)
        name, each, bits = self._elements(inner)
        order = [part for _ in range(value.lanes) for part in range(each)]
        return self.writer.shuffled(name, vector_type(each, bits), order)

    def _index(self, index: Value, lanes: int) -> str:
        name = self.name(index)
        if held_as(index) != "int":
            raise TypeError(f"a lane number of {index.shape} (lanes, bits)")
        if index.bits > 32:
            assert lanes & (lanes - 1) == 0
            name = self.writer.line(f"trunc i{index.bits} {name} to i32")
        elif index.bits < 32:
            name = self.writer.line(f"zext i{index.bits} {name} to i32")
        if largest(index) < lanes:
            return name
        op = f"and i32 {name}, {lanes - 1}" if lanes & (lanes - 1) == 0 else f"urem i32 {name}, {lanes}"
        return self.writer.line(op)

    def _lane(self, value: Value) -> str:
        vector, index = value.args
        if vector.lanes == 1:
            return self.name(vector)
        at = self._index(index, vector.lanes)
        if held_as(vector) != "wide":
            return self.writer.line(f"extractelement {type_of(vector)} {self.name(vector)}, i32 {at}")
        each, type_, result = value.bits // 64, type_of(vector), "poison"
        first = self.writer.line(f"mul i32 {at}, {each}")
        for part in range(each):
            place = self.writer.line(f"add i32 {first}, {part}")
            piece = self.writer.line(f"extractelement {type_} {self.name(vector)}, i32 {place}")
            result = self.writer.line(f"insertelement {vector_type(each, 64)} {result}, i64 {piece}, i32 {part}")
        return self._bitcast(result, vector_type(each, 64), type_of(value))

    def _insert(self, value: Value) -> str:
        vector, index, lane = value.args
        if held_as(value) not in ("array", "bool"):
            raise TypeError(f"insert into {value.shape} (lanes, bits)")
        at = self._index(index, value.lanes)
        return self.writer.line(
            f"insertelement {type_of(value)} {self.name(vector)}, {type_of(lane)} {self.name(lane)}, i32 {at}"
        )

    def _concat(self, value: Value) -> str:
        pieces = [self._elements(argument) for argument in value.args]
        each, bits = pieces[0][1:]
        joined, count = pieces[0][0], value.args[0].lanes * each
        for (name, _, _), argument in zip(pieces[1:], value.args[1:], strict=True):
            joined, count = self.writer.joined(joined, count, name, argument.lanes * each, bits)
        return self._from_elements(joined, value, each, bits)

    def _matmul(self, value: Value) -> str:
        return product(self, value)

    # choice by a run-time number

    def _switch_results(self, node: Value) -> Sequence[str]:
        if node not in self._switched:
            self._switched[node] = self.switch(self, node)
        return self._switched[node]

    def _pick(self, value: Value) -> str:
        number: int = value.data
        return self._switch_results(value.args[0])[number]


def _with_bits(value: Value, bits: int) -> str:
    return integer_type(bits) if value.lanes == 1 else vector_type(value.lanes, bits)


def _splat_of(type_: str, number: int) -> str:
    """A constant of equal elements of a vector type."""
    element = type_.rpartition(" ")[2].rstrip(">")
    bits = int(element[1:])
    number &= (1 << bits) - 1
    return f"splat ({element} {_literal(number, bits)})"


def _literal(number: int, bits: int) -> str:
    return str(bool(number)).lower() if bits == 1 else str(number)
