"""Which registers an instruction touches, when and over which bypass: its meaning and its itinerary laid together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from xattn.isa.codec import Instruction
from xattn.isa.model import Register
from xattn.isa.semantics.lanes import Value
from xattn.isa.semantics.meaning import Effects, meaning_of, part_of
from xattn.isa.table import instruction_table
from xattn.isa.timing import itinerary_of
from xattn.sim.state import BYPASS_OF, is_scalar, mask_of


@dataclass(frozen=True)
class Spot:
    """One register that an instruction touches, as far as its code depends on it."""

    kind: str  # scalar, pair, vector, compound
    bits: int
    cycle: int
    bypassed: bool
    twice: bool  # its file has a copy for bypassed reads


@dataclass(frozen=True)
class Shape:
    """What the code of an instruction depends on, besides which registers it names."""

    opcode: str
    spots: tuple[tuple[Any, Spot], ...]
    memory_cycles: tuple[int, ...]


@dataclass
class Access:
    """A register or part of one that an operation touches: which, when, over which bypass, and how to name it."""

    key: Any  # ("r" or "w", operand name, path) or ("r" or "w", register name)
    register: Register
    cycle: int
    bypass: str | None


class Accesses:
    """The registers that one instruction touches, found from its meaning and its itinerary."""

    def __init__(self, instruction: Instruction):
        self.instruction = instruction
        self.effects = meaning_of(instruction.opcode)
        self.itinerary = itinerary_of(instruction)
        self.all: dict[Any, Access] = {}
        for leaf in leaves(roots(self.effects)):
            if leaf.op == "operand" or (leaf.op == "register" and leaf.data != "return address"):
                self._add("r", leaf.data)
        for write in self.effects.writes:
            self._add("w", write.place.register or (write.place.operand, write.place.path))

    def _add(self, role: str, data: Any) -> None:
        opcode = self.instruction.opcode
        if isinstance(data, str):
            listed = opcode.implicit_defs if role == "w" else opcode.implicit_uses
            register = instruction_table().register(data)
            if register not in listed:
                raise ValueError(f"the meaning of {opcode.name} touches {data}, which the table does not list")
            position = len(opcode.operands) + listed.index(register) + (len(opcode.implicit_defs) if role == "r" else 0)
            key: Any = (role, data)
        else:
            name, path = data
            position = opcode.position[name]
            whole = self.instruction.values[position]
            assert isinstance(whole, Register)
            register = part_of(whole, path)
            key = (role, name, path)
        self.all[key] = Access(key, register, self.itinerary.cycle(position), self.itinerary.bypass(position))

    @property
    def reads(self) -> list[Access]:
        """What is read."""
        return [access for access in self.all.values() if access.key[0] == "r"]

    @property
    def writes(self) -> list[Access]:
        """What is written."""
        return [access for access in self.all.values() if access.key[0] == "w"]

    @property
    def early_reads(self) -> list[tuple[int, Access]]:
        """What is read in cycle 1, each with its mask of registers."""
        return [(mask_of(access.register), access) for access in self.reads if access.cycle == 1]

    @property
    def shape(self) -> Shape:
        """What the instruction's code depends on."""
        spots = tuple((key, _spot(access)) for key, access in self.all.items())
        return Shape(self.instruction.opcode.name, spots, self.itinerary.memory_cycles)


def _spot(access: Access) -> Spot:
    register = access.register
    kind = "vector"
    if is_scalar(register):
        kind = "scalar"
    elif register.file == "l":
        kind = "pair"
    elif register.file in ("qx", "qw"):
        kind = "compound"
    bypassed = access.bypass is not None and BYPASS_OF.get(register.file) == access.bypass
    return Spot(kind, register.bits, access.cycle, bypassed, register.file in BYPASS_OF)


def issue_order(operations: Sequence[Accesses]) -> tuple[list[int], bool]:
    """An order in which each operation reads before another writes at once, and loads come before stores.

    False when there is none (two operations exchange registers): then results have to wait for the end of the cycle.
    """
    loads = [bool(operation.effects.loads) for operation in operations]
    stores = [operation.effects.store is not None for operation in operations]
    reads = [union(mask for mask, _ in operation.early_reads) for operation in operations]
    writes = [union(mask_of(a.register) for a in operation.writes if a.cycle == 1) for operation in operations]
    waiting = sorted(range(len(operations)), key=lambda k: stores[k] and not loads[k])
    first_choice, order = list(waiting), []
    while waiting:
        for k in waiting:
            others = [other for other in waiting if other != k]
            stores_early = stores[k] and any(loads[other] for other in others)
            if not stores_early and not any(reads[other] & writes[k] for other in others):
                break
        else:
            return first_choice, False
        waiting.remove(k)
        order.append(k)
    return order, True


def union(masks: Iterable[int]) -> int:
    """All bits that are in any of the masks."""
    bits = 0
    for mask in masks:
        bits |= mask
    return bits


def roots(effects: Effects) -> list[Value]:
    """The values that an operation's effects are made of."""
    found = [write.value for write in effects.writes] + [load.address for load in effects.loads]
    if effects.store:
        found += [effects.store.address, effects.store.value]
    if effects.branch:
        found += [effects.branch.target, *([effects.branch.condition] if effects.branch.condition else [])]
    if effects.lock:
        found += [effects.lock.id, effects.lock.value, *([effects.lock.condition] if effects.lock.condition else [])]
    return found + ([effects.event] if effects.event else [])


def leaves(values: Iterable[Value]) -> Iterable[Value]:
    """The leaves of expressions, each once."""
    seen: set[Value] = set()
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if value not in seen:
            seen.add(value)
            waiting.extend(value.args)
            if not value.args:
                yield value
