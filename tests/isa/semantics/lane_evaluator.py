"""A plain evaluator of meanings for tests: lanes are lists of Python integers, one node at a time, no tricks.

It shares nothing with the engines of `xattn.sim` but the definition of the nodes in `xattn.isa.semantics.lanes`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field

from xattn.isa.semantics.lanes import Switch, Value
from xattn.isa.semantics.meaning import meaning_of, width_of
from xattn.isa.table import instruction_table

Lanes = list[int]


def signed(value: int, bits: int) -> int:
    """The number that a lane's bits mean in two's complement."""
    return value - (1 << bits) if value >> (bits - 1) else value


def cut(value: int, bits: int, lanes: int) -> Lanes:
    """A wide number as lanes, lowest first."""
    return [(value >> (bits * k)) & ((1 << bits) - 1) for k in range(lanes)]


def join(lanes: Lanes, bits: int) -> int:
    """Lanes as one wide number, lowest first."""
    return sum((lane & ((1 << bits) - 1)) << (bits * k) for k, lane in enumerate(lanes))


class UndefinedResultError(Exception):
    """The meaning leaves this result open."""


@dataclass
class Evaluator:
    """Values of the leaves: operands and registers by name, loads in order."""

    operands: dict[str, int] = field(default_factory=dict)
    registers: dict[str, int] = field(default_factory=dict)
    loads: list[int] = field(default_factory=list)
    parameters: list[Lanes] = field(default_factory=list)
    _memo: dict[int, object] = field(default_factory=dict)
    _keep: list[Value] = field(default_factory=list)

    def lanes(self, value: Value) -> Lanes:
        """The lanes of an expression, as unsigned numbers."""
        if id(value) not in self._memo:
            mask = (1 << value.bits) - 1
            result = [lane & mask for lane in self._compute(value)]
            assert len(result) == value.lanes, value.op
            self._memo[id(value)] = result
            self._keep.append(value)
        return self._memo[id(value)]  # type: ignore[return-value]

    def _compute(self, value: Value) -> Lanes:
        return getattr(self, f"_{value.op.strip('_')}_", self._lanewise)(value)

    def _operand_(self, value: Value) -> Lanes:
        name, path = value.data
        return [self.operands[name if not path else f"{name}{list(path)}"]]

    def _immediate_(self, value: Value) -> Lanes:
        return [self.operands[value.data]]

    def _register_(self, value: Value) -> Lanes:
        return [self.registers[value.data]]

    def _load_(self, value: Value) -> Lanes:
        return [self.loads[value.data]]

    def _parameter_(self, value: Value) -> Lanes:
        return self.parameters[value.data]

    def _undefined_(self, value: Value) -> Lanes:
        raise UndefinedResultError(value.data)

    def _const_(self, value: Value) -> Lanes:
        return [value.data] * value.lanes if isinstance(value.data, int) else list(value.data)

    def _cast_(self, value: Value) -> Lanes:
        (source,) = value.args
        return cut(join(self.lanes(source), source.bits), value.bits, value.lanes)

    def _take_(self, value: Value) -> Lanes:
        source = self.lanes(value.args[0])
        return [source[k] for k in value.data]

    def _lane_(self, value: Value) -> Lanes:
        source, (index,) = self.lanes(value.args[0]), self.lanes(value.args[1])
        return [source[index % len(source)]]

    def _insert_(self, value: Value) -> Lanes:
        source, (index,), (new,) = (self.lanes(arg) for arg in value.args)
        result = list(source)
        result[index % len(result)] = new
        return result

    def _concat_(self, value: Value) -> Lanes:
        return [lane for arg in value.args for lane in self.lanes(arg)]

    def _splat_(self, value: Value) -> Lanes:
        return self.lanes(value.args[0]) * value.lanes

    def _select_(self, value: Value) -> Lanes:
        condition, a, b = (self.lanes(arg) for arg in value.args)
        condition = condition * value.lanes if len(condition) == 1 else condition
        return [p if c else q for c, p, q in zip(condition, a, b, strict=True)]

    def _matmul_(self, value: Value) -> Lanes:
        (rows, inner, cols), (x, y) = value.data, (self.lanes(arg) for arg in value.args)
        return [sum(x[r * inner + k] * y[k * cols + c] for k in range(inner)) for r in range(rows) for c in range(cols)]

    def _sext_(self, value: Value) -> Lanes:
        return [signed(lane, value.args[0].bits) for lane in self.lanes(value.args[0])]

    def _pick_(self, value: Value) -> Lanes:
        (node,) = value.args
        assert isinstance(node.data, Switch)
        number = self.lanes(node.args[0])[0]
        inner = Evaluator(parameters=[self.lanes(arg) for arg in node.args[1:]])
        return inner.lanes(node.data.case(number)[value.data])

    def _lanewise(self, value: Value) -> Lanes:
        bits = value.args[0].bits
        columns = [self.lanes(arg) for arg in value.args]
        columns = [column * value.lanes if len(column) == 1 else column for column in columns]
        rows = zip(*columns, strict=True)
        if value.op in _OF_WIDTH:
            return [int(_OF_WIDTH[value.op](bits, *row)) for row in rows]
        return [int(_SCALAR[value.op](*row)) for row in rows]


_SCALAR: dict[str, Callable[..., int]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "and": operator.and_,
    "or": operator.or_,
    "xor": operator.xor,
    "not": operator.invert,
    "lshr": operator.rshift,
    "eq": operator.eq,
    "ne": operator.ne,
    "ult": operator.lt,
    "ule": operator.le,
    "umin": min,
    "umax": max,
    "zext": operator.pos,
    "trunc": operator.pos,
}
_OF_WIDTH: dict[str, Callable[..., int]] = {
    "clz": lambda bits, a: bits - a.bit_length(),
    "shl": lambda bits, a, n: a << n if n < bits else 0,
    "ashr": lambda bits, a, n: signed(a, bits) >> n,
    "slt": lambda bits, a, b: signed(a, bits) < signed(b, bits),
    "sle": lambda bits, a, b: signed(a, bits) <= signed(b, bits),
    "smin": lambda bits, a, b: min(a, b, key=lambda v: signed(v, bits)),
    "smax": lambda bits, a, b: max(a, b, key=lambda v: signed(v, bits)),
}


def execute(
    name: str, registers: dict[str, int] | None = None, loads: tuple[int, ...] = (), **operands: int
) -> dict[str, int]:
    """Run one opcode: operands by name, control and other implicit registers by name (0 where not given).

    Returns what it writes, by operand or register name; a store's data are under "store".
    """
    opcode = instruction_table().opcode(name)
    effects = meaning_of(opcode)
    known = dict.fromkeys(instruction_table().registers, 0)
    evaluator = Evaluator(operands, {**known, **(registers or {})}, list(loads))
    results: dict[str, int] = {}
    for write in effects.writes:
        key = write.place.register or f"{write.place.operand}{list(write.place.path) or ''}"
        bits = instruction_table().register(key).bits if write.place.register else width_of(opcode, key)
        results[key] = evaluator.lanes(write.value)[0] & ((1 << bits) - 1)
    if effects.store is not None:
        results["store"] = evaluator.lanes(effects.store.value)[0]
    return results
