"""One instruction for the translator: its stages, the registers of each, and the LLVM functions that compute them.

What a stage computes is one LLVM function for all instructions of a shape: its inputs are registers, immediates, what
was loaded, and what earlier stages handed on; its outputs what is stored, written, handed on, and where to branch.
A value that only passes an input on needs no function.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from xattn.isa.codec import Instruction
from xattn.isa.model import Register
from xattn.isa.semantics.lanes import Value
from xattn.isa.semantics.meaning import ADDRESS_BITS
from xattn.sim.accesses import Accesses, Shape, Spot, leaves
from xattn.sim.expressions import held_as
from xattn.sim.stages import Landing, Stages, leaf_key, place_key
from xattn.sim.state import storage_index
from xattn.sim.translate.fold import is_foldable
from xattn.sim.translate.ir import Writer, vector_type
from xattn.sim.translate.lanes import LaneCode, type_of
from xattn.sim.translate.modes import Choice, choices_of, looked_up

Modes = tuple["int | None", ...]
"""The numbers of an operation's selectors, None where one is not known beforehand."""


@lru_cache(maxsize=8192)
def stages_of(shape: Shape) -> Stages:
    """The stages of a shape."""
    return Stages(shape)


class Operation:
    """One instruction: its accesses and stages."""

    def __init__(self, instruction: Instruction):
        self.instruction = instruction
        self.accesses = Accesses(instruction)
        self.shape = self.accesses.shape
        self.stages = stages_of(self.shape)
        self.effects = self.accesses.effects
        self.selectors = tuple(node.args[0] for node in choices_of(self.shape.opcode))
        self._indices: dict[Any, tuple[int, ...]] = {}

    def indices(self, key: Any) -> tuple[int, ...]:
        """The numbers of the registers that an access' register is stored in."""
        if key not in self._indices:
            self._indices[key] = tuple(storage_index()[part.name] for part in self.register(key).storage)
        return self._indices[key]

    @cached_property
    def numbers(self) -> list[tuple[Any, Value]]:
        """What a known number could be written to, by its key."""
        writes = [(place_key(write.place), write.value) for write in self.effects.writes]
        return [(key, value) for key, value in writes if is_foldable(value)]

    def scalars_of(self, value: Value) -> set[int]:
        """The numbers of the scalar registers that a value is made from."""
        found: set[int] = set()
        for leaf in leaves([value]):
            key = leaf_key(leaf)
            if key in self.accesses.all and self.stages.spots[key].kind == "scalar":
                found |= set(self.indices(key))
        return found

    def register(self, key: Any) -> Register:
        """The register that an access names."""
        return self.accesses.all[key].register

    def immediate(self, name: str) -> int:
        """An immediate as 32 bits."""
        value = self.instruction[name]
        assert isinstance(value, int)
        return value & 0xFFFFFFFF


@lru_cache(maxsize=65536)
def operation_of(instruction: Instruction) -> Operation:
    """The operation of an instruction; UnimplementedOpcodeError where it has no meaning."""
    return Operation(instruction)


class Input(NamedTuple):
    """One parameter of a stage function: (what, detail): see `StageCode.inputs`."""

    what: str  # register, immediate, loaded, kept, return address, counter; state, bad: places in memory
    key: Any
    piece: int = 0  # of a register that is read in pieces (two scalars, two vectors)


class Output(NamedTuple):
    """One result of a stage function."""

    what: str  # address, store address, store value, landing, kept, target, condition, lock, event
    number: int = 0
    piece: int = 0


@dataclass
class StageCode:
    """The function of one stage, or of the load addresses of stage 1. `passed`: outputs that are inputs or literals."""

    name: str = ""
    inputs: dict[Input, str] = field(default_factory=dict)
    """Parameters by what they are, with their LLVM types."""
    outputs: dict[Output, str] = field(default_factory=dict)
    """Results that the function returns, with their LLVM types."""
    passed: dict[Output, Input | str] = field(default_factory=dict)
    types: dict[Output, str] = field(default_factory=dict)
    text: str = ""
    cost: int = 0


class Functions:
    """The stage functions of one module; each is written when it is first asked for."""

    def __init__(self, features: frozenset[str] = frozenset()):
        self.features = features
        self.intrinsics: dict[str, str] = {}
        self.choices: dict[Choice, int] = {}
        """What is chosen from only when the code runs, with its number."""
        self._codes: dict[tuple[Any, ...], StageCode] = {}

    def code(self, shape: Shape, stage: int, addresses: bool, modes: Modes) -> StageCode:
        """The code of a stage (or of the addresses that it loads from) for these modes."""
        key = (shape, stage, addresses, modes)
        if key not in self._codes:
            name = f"f{len(self._codes)}"
            self._codes[key] = _StageWriter(self, shape, stage, modes, name).made(addresses)
        return self._codes[key]

    def all(self) -> Iterable[StageCode]:
        """Every function that was asked for and is one."""
        return [code for code in self._codes.values() if code.text]


class _StageWriter:
    def __init__(self, functions: Functions, shape: Shape, stage: int, modes: Modes, name: str):
        self.stages = stages_of(shape)
        self.functions, self.stage, self.modes = functions, stage, modes
        self.result = StageCode(name)
        self.writer = Writer(functions.intrinsics, functions.features)
        self.code = LaneCode(self.writer, self._leaf, self._switch)
        for number, value in enumerate(self.stages.carried_into(stage)):
            self.code.known[value] = self._input(Input("kept", number), type_of(value))

    def made(self, addresses: bool) -> StageCode:
        """The finished code."""
        wanted = self._addresses() if addresses else self._results()
        names: dict[Output, tuple[str, str]] = {}
        literal_or_input = {name: what for what, name in self._parameters().items()}
        for output, (name, type_) in wanted.items():
            self.result.types[output] = type_
            if name in literal_or_input:
                self.result.passed[output] = literal_or_input[name]
            elif not name.startswith("%"):
                self.result.passed[output] = name
            else:
                names[output] = (name, type_)
        if names:
            self._finish(names)
        return self.result

    def _finish(self, names: dict[Output, tuple[str, str]]) -> None:
        result = self.result
        types = [type_ for _, type_ in names.values()]
        returned = types[0] if len(types) == 1 else f"{{{', '.join(types)}}}"
        last = next(iter(names.values()))[0]
        if len(types) > 1:
            last = "poison"
            for k, (name, type_) in enumerate(names.values()):
                last = self.writer.line(f"insertvalue {returned} {last}, {type_} {name}, {k}")
        used = "\n".join(self.writer.lines)
        result.outputs = {output: type_ for output, (_, type_) in names.items()}
        parameters = ", ".join(f"{type_} %a{k}" for k, type_ in enumerate(result.inputs.values()))
        result.cost = len(self.writer.lines)
        head = f"define internal fastcc {returned} @{result.name}({parameters}) #INLINE"
        result.text = f"{head} {{\n{used}\nret {returned} {last}\n}}\n"

    def _parameters(self) -> dict[Input, str]:
        return {what: f"%a{k}" for k, what in enumerate(self.result.inputs)}

    def _input(self, what: Input, type_: str) -> str:
        self.result.inputs.setdefault(what, type_)
        return f"%a{list(self.result.inputs).index(what)}"

    # leaves

    def _leaf(self, leaf: Value) -> str:
        if leaf.op == "load":
            return self._input(Input("loaded", leaf.data), type_of(leaf))
        if leaf.op == "immediate":
            return self._input(Input("immediate", leaf.data), "i32")
        if leaf.data == "return address":
            return self._input(Input("return address", None), f"i{ADDRESS_BITS}")
        if leaf.data == "tile_cntr":
            return self._input(Input("counter", None), "i64")
        key = leaf_key(leaf)
        spot = self.stages.spots[key]
        if spot.kind == "scalar":
            name = self._input(Input("register", key), f"i{spot.bits}")
            return self._fitted(name, spot.bits, leaf.bits)
        if spot.kind == "pair":
            low, high = (
                self.writer.line(f"zext i32 {self._input(Input('register', key, k), 'i32')} to i64") for k in range(2)
            )
            shifted = self.writer.line(f"shl i64 {high}, 32")
            return self._fitted(self.writer.line(f"or i64 {low}, {shifted}"), 64, leaf.bits)
        return self._vector_leaf(leaf, key, spot)

    def _vector_leaf(self, leaf: Value, key: Any, spot: Spot) -> str:
        size = spot.bits // 8
        if spot.kind == "compound":
            sizes = PIECES[spot.bits]
            names = [self._input(Input("register", key, k), vector_type(count, 8)) for k, count in enumerate(sizes)]
            name, size = self.writer.joined(names[0], sizes[0], names[1], sizes[1], 8)
        else:
            name = self._input(Input("register", key), vector_type(size, 8))
        if held_as(leaf) == "int":
            number = self.writer.line(f"bitcast {vector_type(size, 8)} {name} to i{8 * size}")
            return self._fitted(number, 8 * size, leaf.bits)
        return self.writer.resized(name, size, leaf.bits // 8, zeros=True)

    def _fitted(self, name: str, before: int, after: int) -> str:
        if before == after:
            return name
        op = "zext" if before < after else "trunc"
        return self.writer.line(f"{op} i{before} {name} to i{after}")

    # switches

    def _switch(self, code: LaneCode, node: Value) -> Sequence[str]:
        opcode = self.stages.opcode.name
        position = choices_of(opcode).index(node)
        number = self.modes[position]
        if number is not None:
            return code.case(node.data, number, [code.name(value) for value in node.args[1:]])
        choices = self.functions.choices
        chosen = choices.setdefault((opcode, position), len(choices))
        state, bad = (self._input(Input(what, None), "ptr") for what in ("state", "bad"))
        return looked_up(code, node, chosen, state, bad)

    # results

    def _addresses(self) -> dict[Output, tuple[str, str]]:
        return {
            Output("address", k): (self.code.name(load.address), f"i{ADDRESS_BITS}")
            for k, load in enumerate(self.stages.effects.loads)
        }

    def _results(self) -> dict[Output, tuple[str, str]]:
        stages, effects = self.stages, self.stages.effects
        found: dict[Output, tuple[str, str]] = {}
        if stages.following(self.stage) is not None:
            for k, value in enumerate(stages.needed_later(self.stage)):
                found[Output("kept", k)] = (self.code.name(value), type_of(value))
        store = effects.store
        if store is not None and (
            stages.store_in(self.stage) or (self.stage == 1 and stages.part_word_distance is not None)
        ):
            found[Output("store address")] = (self.code.name(store.address), f"i{ADDRESS_BITS}")
        if store is not None and stages.store_in(self.stage):
            found[Output("store value")] = (self.code.name(store.value), type_of(store.value))
        for k, landing in enumerate(stages.landings(self.stage)):
            for piece, made in enumerate(self._landing(landing)):
                found[Output("landing", k, piece)] = made
        if self.stage == 1:
            found |= self._control()
        return found

    def _control(self) -> dict[Output, tuple[str, str]]:
        effects = self.stages.effects
        found: dict[Output, tuple[str, str]] = {}
        if effects.branch:
            found[Output("target")] = (self.code.name(effects.branch.target), f"i{ADDRESS_BITS}")
            if effects.branch.condition:
                found[Output("condition")] = (self.code.name(effects.branch.condition), "i1")
        if effects.lock and effects.lock.condition:
            found[Output("lock")] = (self.code.name(effects.lock.condition), "i1")
        if effects.event:
            found[Output("event")] = (self.code.name(effects.event), type_of(effects.event))
        return found

    def _landing(self, landing: Landing) -> list[tuple[str, str]]:
        value, spot = landing.write.value, landing.spot
        name = self.code.name(value)
        if spot.kind == "scalar":
            return [(self._fitted(name, value.bits, spot.bits), f"i{spot.bits}")]
        if spot.kind == "pair":
            wide = self._fitted(name, value.bits, 64)
            high = self.writer.line(f"lshr i64 {wide}, 32")
            return [(self.writer.line(f"trunc i64 {n} to i32"), "i32") for n in (wide, high)]
        size = spot.bits // 8
        if held_as(value) == "int":
            if value.bits % 8:
                name, bits = self._fitted(name, value.bits, 8 * -(-value.bits // 8)), 8 * -(-value.bits // 8)
            else:
                bits = value.bits
            name = self.writer.line(f"bitcast i{bits} {name} to {vector_type(bits // 8, 8)}")
            return [(self.writer.resized(name, bits // 8, size, zeros=True), vector_type(size, 8))]
        return [(self.writer.resized(name, value.bits // 8, size, zeros=True), vector_type(size, 8))]


PIECES = {512 + 128: (64, 16), 64 + 256: (8, 32)}
"""Bytes of the two parts of registers made of a vector and a sparsity mask, by their bits together."""
