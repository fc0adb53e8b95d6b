"""Python source for lane expressions: scalars become ints, vectors NumPy arrays of unsigned lanes.

How a value of (lanes, bits) is held while it is computed with:

    int     one lane of at most 64 bits: 0 <= value < 2**bits (conditions may be bools)
    raw     one lane of more than 64 bits: its bytes, uint8
    bool    several lanes of 1 bit: a bool array
    array   several lanes of at most 64 bits: the next larger of uint8, uint16, uint32, uint64, high bits 0
    wide    several lanes of more than 64 bits: uint64, one row a lane
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import numpy as np

from xattn.isa.semantics.lanes import Switch, Value
from xattn.sim import runtime

Leaf = Callable[[Value, "str | None"], str]


def held_as(value: Value) -> str:
    """int, raw, bool, array or wide (see above)."""
    if value.lanes == 1:
        return "int" if value.bits <= 64 else "raw"
    return "bool" if value.bits == 1 else "array" if value.bits <= 64 else "wide"


def container(bits: int) -> int:
    """Bits of the NumPy type that holds lanes of `bits`."""
    return next(size for size in (8, 16, 32, 64) if bits <= size)


def dtype(bits: int, kind: str = "u") -> str:
    """NumPy name of the type that holds lanes of `bits`."""
    return f"{kind}{container(bits) // 8}"


def is_exact(bits: int) -> bool:
    """Whether lanes of `bits` fill their NumPy type."""
    return bits in (8, 16, 32, 64)


def shares_storage(value: Value) -> bool:
    """Whether the Python object of a value may be a view of a register, and has to be copied to outlive the cycle."""
    if held_as(value) == "int":
        return False
    if value.op in ("operand", "register", "parameter", "pick"):
        return True
    if value.op == "take":
        return _stride(value.data) == 1 and shares_storage(value.args[0])
    if value.op == "select":
        return value.args[0].lanes == 1 and any(map(shares_storage, value.args[1:]))
    if value.op in ("zext", "trunc"):
        return (held_as(value) == "raw" or container(value.bits) == container(value.args[0].bits)) and shares_storage(
            value.args[0]
        )
    return value.op in ("cast", "lane", "splat") and shares_storage(value.args[0])


def _stride(indices: tuple[int, ...]) -> int | None:
    """The step of an arithmetic progression, None for anything else; a single index has step 1."""
    steps = {b - a for a, b in pairwise(indices)} or {1}
    return steps.pop() if len(steps) == 1 else None


def largest(value: Value) -> int:
    """An upper bound of a scalar's value."""
    if value.op == "const" and isinstance(value.data, int):
        return value.data
    if value.op == "and":
        return min(largest(argument) for argument in value.args)
    if value.op == "zext":
        return largest(value.args[0])
    return (1 << value.bits) - 1


class Expressions:
    """Writes expressions as source.

    `leaf(value, dtype)` gives the source of a leaf, as lanes of `dtype` or (None) as it is held.
    `site()` gives the name of what reports findings. `constants`: the names that the source uses and what they are.
    """

    def __init__(self, leaf: Leaf, site: Callable[[], str], constants: dict[str, Any]):
        self.leaf = leaf
        self.site = site
        self.constants = constants
        self.known: dict[Value, str] = {}
        self.lines: list[str] = []
        self._uses: dict[Value, int] = {}

    def count_uses(self, roots: Iterable[Value]) -> None:
        """Note how often each node is used, so that only shared ones get a name."""
        for root in roots:
            self._uses[root] = self._uses.get(root, 0) + 1
            if self._uses[root] == 1 and root not in self.known:
                self.count_uses(root.args)

    def constant(self, thing: Any) -> str:
        """A name for an object that the source refers to."""
        name = f"c{len(self.constants)}"
        self.constants[name] = thing
        return name

    def named(self, value: Value) -> str:
        """Like `source`, but always a name (or a literal)."""
        source = self.source(value)
        if source.isidentifier() or source.isdigit():
            return source
        return self._name(value, source)

    def _name(self, value: Value, source: str) -> str:
        name = self.known[value] = self.free_name("t")
        self.lines.append(f"{name} = {source}")
        return name

    def free_name(self, letter: str) -> str:
        """A name that no known value has; values carried from an earlier cycle bring theirs along."""
        taken, number = set(self.known.values()), len(self.known)
        while f"{letter}{number}" in taken:
            number += 1
        return f"{letter}{number}"

    def source(self, value: Value, elementwise: bool = False) -> str:
        """Source of a value. `elementwise`: one number will do for equal lanes."""
        if value in self.known:
            return self.known[value]
        if value.op == "const":
            return self._const(value, elementwise)
        if value.op == "splat" and elementwise and held_as(value) == "array":
            return f"np_{dtype(value.bits)}({self.source(value.args[0])})"
        source = self._compute(value)
        if self._uses.get(value, 0) > 1 and not source.isidentifier():
            return self._name(value, source)
        return source

    def _compute(self, value: Value) -> str:
        if value.op in ("operand", "register", "immediate", "load", "parameter"):
            return self.leaf(value, None)
        if value.op == "undefined":
            return f"unspecified({self.site()}, {value.data!r}, {held_as(value)!r}, {value.lanes}, {value.bits})"
        special = getattr(self, f"_{value.op}", None)
        if special is not None:
            return str(special(value))
        held = held_as(value.args[0])
        if held == "int":
            return self._int(value)
        if held in ("array", "bool"):
            return self._array(value)
        if value.op in ("and", "or", "xor", "not"):
            return _BOOL[value.op].format(*map(self.source, value.args))
        raise TypeError(f"{value.op} on {value.args[0].shape} (lanes, bits): cut it into lanes first")

    def _const(self, value: Value, elementwise: bool) -> str:
        held = held_as(value)
        if held == "int":
            return str(value.data if isinstance(value.data, int) else value.data[0])
        if held in ("raw", "wide"):
            values = value.data if isinstance(value.data, tuple) else (value.data,) * value.lanes
            raw = b"".join(v.to_bytes(value.bits // 8, "little") for v in values)
            array = np.frombuffer(raw, np.uint8)
            return self.constant(array if held == "raw" else array.view("u8").reshape(value.lanes, -1))
        type_: Any = np.bool_ if held == "bool" else np.dtype(dtype(value.bits)).type
        if isinstance(value.data, tuple):
            return self.constant(np.array(value.data, type_))
        return self.constant(type_(value.data) if elementwise else np.full(value.lanes, value.data, type_))

    # scalars

    def _int(self, value: Value) -> str:
        bits = value.args[0].bits
        a, b = (self.source(v) for v in (*value.args, *value.args)[:2])
        mask, sign = (1 << value.bits) - 1, 1 << (bits - 1)
        if value.op == "slt" and b == "0":
            return f"({a} >= {sign})"
        return _INT[value.op].format(a=a, b=b, mask=mask, sign=sign, bits=bits)

    def _scalar_shift(self, value: Value) -> str:
        a, amount = value.args
        mask, sign = (1 << value.bits) - 1, 1 << (value.bits - 1)
        x, n = self.source(a), self.source(amount)
        if value.op == "lshr":
            return f"({x} >> {n})"
        if value.op == "ashr":
            return f"(({x} ^ {sign}) - {sign} >> {n} & {mask})"
        if largest(amount) < value.bits:
            return f"({x} << {n} & {mask})"
        return f"shift_left({x}, {n}, {value.bits})"

    # arrays

    def _array(self, value: Value) -> str:
        bits = value.args[0].bits
        if held_as(value.args[0]) == "bool":
            template = _BOOL.get(value.op)
            if template is None:
                raise TypeError(f"{value.op} on lanes of 1 bit: widen them first")
            return template.format(*map(self.source, value.args))
        signed = value.op in _SIGNED
        # one number will do for an operand of equal lanes, if another one has the lanes
        brief = is_exact(bits) and any(v.op not in ("const", "splat") for v in value.args)
        args = [self._signed(v, brief) if signed else self.source(v, brief) for v in value.args]
        result = _ARRAY[value.op].format(*args, u=dtype(bits), bits=bits)
        overflows = value.op in ("add", "sub", "mul", "not", "smin", "smax") and not is_exact(bits)
        return self._masked(result, bits) if overflows else result

    def _masked(self, source: str, bits: int) -> str:
        mask = self.constant(np.dtype(dtype(bits)).type((1 << bits) - 1))
        return f"({source} & {mask})"

    def _signed(self, value: Value, elementwise: bool = False) -> str:
        source = self.source(value, elementwise)
        view = f"{source}.view('{dtype(value.bits, 'i')}')"
        if is_exact(value.bits):
            return view
        spare = container(value.bits) - value.bits
        return f"(({source} << {spare}).view('{dtype(value.bits, 'i')}') >> {spare})"

    def _shl(self, value: Value) -> str:
        if held_as(value) == "int":
            return self._scalar_shift(value)
        if held_as(value) != "array":
            raise TypeError(f"{value.op} on {value.shape} (lanes, bits)")
        a, amount = value.args
        x, n = self.source(a), self.source(amount)
        if value.op == "ashr":
            shifted = f"ashr({self._signed(a)}, {n}, {value.bits}).view('{dtype(value.bits)}')"
        else:
            shifted = f"{value.op}({x}, {n}, {value.bits})"
        return shifted if is_exact(value.bits) or value.op == "lshr" else self._masked(shifted, value.bits)

    _lshr = _ashr = _shl

    # conditions and widths

    def _select(self, value: Value) -> str:
        condition, a, b = value.args
        if condition.lanes == 1:
            return f"({self.source(a)} if {self.source(condition)} else {self.source(b)})"
        x, y = (self.source(v, elementwise=True) for v in (a, b))
        if held_as(value) == "wide":
            return f"np.where({self.source(condition)}[:, None], {self.source(a)}, {self.source(b)})"
        return f"np.where({self.source(condition)}, {x}, {y})"

    def _zext(self, value: Value) -> str:
        inner = value.args[0]
        source, held, before = self.source(inner), held_as(value), held_as(inner)
        if held == "int":
            return f"(+{source})" if inner.bits == 1 else source
        if held == "raw":
            size = inner.bits // 8
            if before == "int":
                return f"raw_of({source}, {value.bits // 8})"
            return f"padded({source}, {value.bits // 8 - size})"
        if before == "bool" or container(inner.bits) != container(value.bits):
            return f"{source}.astype('{dtype(value.bits)}')"
        return source

    def _sext(self, value: Value) -> str:
        inner = value.args[0]
        if held_as(value) == "int":
            sign, mask = 1 << (inner.bits - 1), (1 << value.bits) - 1
            return f"(({self.source(inner)} ^ {sign}) - {sign} & {mask})"
        if held_as(inner) == "bool":
            widened = f"(-{self.source(inner)}.astype('{dtype(value.bits, 'i')}')).view('{dtype(value.bits)}')"
        elif held_as(inner) == "array":
            target = dtype(value.bits, "i")
            widened = f"{self._signed(inner)}.astype('{target}').view('{dtype(value.bits)}')"
        else:
            raise TypeError(f"sext of {inner.shape} (lanes, bits)")
        return widened if is_exact(value.bits) else self._masked(widened, value.bits)

    def _trunc(self, value: Value) -> str:
        inner = value.args[0]
        source, held, before = self.source(inner), held_as(value), held_as(inner)
        mask = (1 << value.bits) - 1
        if before == "int":
            return f"({source} & {mask})"
        if before == "raw":
            cut = f"{source}[:{-(-value.bits // 8)}]"
            return cut if held == "raw" else f"(int.from_bytes({cut}.tobytes(), 'little') & {mask})"
        if before != "array":
            raise TypeError(f"trunc of {inner.shape} (lanes, bits)")
        if held == "bool":
            return f"({source} & {self.constant(np.dtype(dtype(inner.bits)).type(1))}).astype(bool)"
        same = container(inner.bits) == container(value.bits)
        narrowed = source if same else f"{source}.astype('{dtype(value.bits)}')"
        return narrowed if is_exact(value.bits) else self._masked(narrowed, value.bits)

    # the same bits in other lanes

    def _cast(self, value: Value) -> str:
        inner = value.args[0]
        held, before = held_as(value), held_as(inner)
        if inner.op in ("operand", "register") and before == "raw" and held == "array" and is_exact(value.bits):
            return self.leaf(inner, dtype(value.bits))
        if before == held == "array" and is_exact(value.bits) and is_exact(inner.bits):
            return f"{self.source(inner)}.view('{dtype(value.bits)}')"
        raw = self._bytes_of(inner)
        if held == "int":
            return raw if before == "int" else f"int.from_bytes({raw}.tobytes(), 'little')"
        if held == "raw":
            return raw
        if held == "wide":
            return f"{raw}.view('u8').reshape({value.lanes}, {value.bits // 64})"
        if held == "bool":
            return f"bits_of({raw})"
        if value.bits == 4:
            return f"nibbles_of({raw})"
        if not is_exact(value.bits):
            raise TypeError(f"cast to {value.shape} (lanes, bits)")
        return raw if value.bits == 8 else f"{raw}.view('{dtype(value.bits)}')"

    def _bytes_of(self, value: Value) -> str:
        source, held = self.source(value), held_as(value)
        if held == "int":
            return f"raw_of({source}, {-(-value.bits // 8)})"
        if held == "raw":
            return source
        if held == "wide":
            return f"{source}.reshape(-1).view('u1')"
        if held == "bool":
            return f"join_bits({source})"
        if value.bits == 4:
            return f"join_nibbles({source})"
        if not is_exact(value.bits):
            raise TypeError(f"cast of {value.shape} (lanes, bits)")
        return source if value.bits == 8 else f"{source}.view('u1')"

    def _take(self, value: Value) -> str:
        source, indices = self.source(value.args[0]), value.data
        held, before = held_as(value), held_as(value.args[0])
        if held in ("int", "raw"):
            return self._one_lane(value.args[0], source, str(indices[0]))
        if before in ("int", "raw"):
            return self._repeated(value, source)
        if _stride(indices) == 1:
            return f"{source}[{indices[0]}:{indices[-1] + 1}]"
        return f"{source}.take({self.constant(np.array(indices, np.intp))}, axis=0)"

    def _splat(self, value: Value) -> str:
        return self._repeated(value, self.source(value.args[0]))

    def _repeated(self, value: Value, source: str) -> str:
        if held_as(value) == "wide":
            return f"np.tile({source}.view('u8'), ({value.lanes}, 1))"
        type_ = "bool" if held_as(value) == "bool" else dtype(value.bits)
        return f"np.full({value.lanes}, {source}, '{type_}')"

    def _lane(self, value: Value) -> str:
        vector, index = value.args
        if vector.lanes == 1:
            return self.source(vector)
        n = self.source(index)
        if largest(index) >= vector.lanes:
            n = f"{n} % {vector.lanes}"
        elif index.bits == 1:
            n = f"+{n}"  # a bool would be taken for a mask
        return self._one_lane(vector, self.source(vector), n)

    def _one_lane(self, vector: Value, source: str, index: str) -> str:
        held = held_as(vector)
        if held in ("int", "raw"):
            return source
        return f"{source}[{index}].view('u1')" if held == "wide" else f"int({source}[{index}])"

    def _insert(self, value: Value) -> str:
        vector, index, lane = value.args
        if held_as(value) not in ("array", "bool"):
            raise TypeError(f"insert into {value.shape} (lanes, bits)")
        return f"inserted({self.source(vector)}, {self.source(index)} % {value.lanes}, {self.source(lane)})"

    def _concat(self, value: Value) -> str:
        if held_as(value) == "wide":
            pieces = [f"{self._bytes_of(v)}.view('u8').reshape({v.lanes}, -1)" for v in value.args]
        else:
            type_ = "bool" if held_as(value) == "bool" else dtype(value.bits)
            pieces = [
                f"np.array([{self.source(v)}], '{type_}')" if v.lanes == 1 else self.source(v) for v in value.args
            ]
        return f"np.concatenate(({', '.join(pieces)},))"

    def _matmul(self, value: Value) -> str:
        rows, inner, cols = value.data
        x, y = map(self._as_array, value.args)
        product = f"(({x}).reshape({rows}, {inner}) @ ({y}).reshape({inner}, {cols})).reshape(-1)"
        return product if is_exact(value.bits) else self._masked(product, value.bits)

    def _as_array(self, value: Value) -> str:
        return f"np.array([{self.source(value)}], '{dtype(value.bits)}')" if value.lanes == 1 else self.source(value)

    # choice by a run-time number

    def _switch(self, value: Value) -> str:
        selector, *inputs = value.args
        cases = self.constant(cases_of(value.data))
        return f"{cases}[{self.source(selector)}]({self.site()}, {', '.join(self.source(v) for v in inputs)})"

    def _pick(self, value: Value) -> str:
        return f"{self.named(value.args[0])}[{value.data}]"


_INT = {
    "add": "({a} + {b} & {mask})",
    "sub": "({a} - {b} & {mask})",
    "mul": "({a} * {b} & {mask})",
    "and": "({a} & {b})",
    "or": "({a} | {b})",
    "xor": "({a} ^ {b})",
    "not": "({a} ^ {mask})",
    "clz": "({bits} - int.bit_length({a}))",
    "eq": "({a} == {b})",
    "ne": "({a} != {b})",
    "slt": "({a} ^ {sign} < {b} ^ {sign})",
    "sle": "({a} ^ {sign} <= {b} ^ {sign})",
    "ult": "({a} < {b})",
    "ule": "({a} <= {b})",
    "smin": "(min({a} ^ {sign}, {b} ^ {sign}) ^ {sign})",
    "smax": "(max({a} ^ {sign}, {b} ^ {sign}) ^ {sign})",
    "umin": "min({a}, {b})",
    "umax": "max({a}, {b})",
}
_SIGNED = ("slt", "sle", "smin", "smax")
_ARRAY = {
    "add": "({0} + {1})",
    "sub": "({0} - {1})",
    "mul": "({0} * {1})",
    "and": "({0} & {1})",
    "or": "({0} | {1})",
    "xor": "({0} ^ {1})",
    "not": "(~{0})",
    "clz": "leading_zeros({0}, {bits})",
    "eq": "({0} == {1})",
    "ne": "({0} != {1})",
    "slt": "({0} < {1})",
    "sle": "({0} <= {1})",
    "ult": "({0} < {1})",
    "ule": "({0} <= {1})",
    "smin": "np.minimum({0}, {1}).view('{u}')",
    "smax": "np.maximum({0}, {1}).view('{u}')",
    "umin": "np.minimum({0}, {1})",
    "umax": "np.maximum({0}, {1})",
}
_BOOL = {
    "and": "({0} & {1})",
    "or": "({0} | {1})",
    "xor": "({0} ^ {1})",
    "not": "(~{0})",
    "eq": "({0} == {1})",
    "ne": "({0} != {1})",
}

_cases: dict[tuple[Any, ...], Cases] = {}


class Cases(dict[int, Callable[..., Any]]):
    """The functions of a switch, by selector value; each is made when it is first asked for."""

    def __init__(self, switch: Switch):
        super().__init__()
        self._switch = switch

    def __missing__(self, number: int) -> Callable[..., Any]:
        self[number] = function = case_function(self._switch, number)
        return function


def cases_of(switch: Switch) -> Cases:
    """The functions of a switch; shared by all switches with the same build function and shapes."""
    return _cases.setdefault((switch.build, switch.shapes), Cases(switch))


def case_function(switch: Switch, number: int) -> Callable[..., Any]:
    """`function(site, *inputs) -> tuple of results` for one selector value."""
    results = switch.case(number)
    constants: dict[str, Any] = dict(runtime.NAMES)
    writer = Expressions(lambda leaf, _: f"a{leaf.data}", lambda: "site", constants)
    writer.count_uses(results)
    returned = "".join(f"{writer.source(result)}, " for result in results)
    parameters = ", ".join(["site", *(f"a{k}" for k in range(len(switch.shapes)))])
    body = "".join(f"    {line}\n" for line in writer.lines)
    source = f"def case({parameters}):\n{body}    return ({returned})\n"
    exec(compile(source, f"<case {number}>", "exec"), constants)
    function: Callable[..., Any] = constants["case"]
    return function
