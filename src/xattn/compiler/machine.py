"""What an operation on virtual registers reads, writes and occupies, and when: timing before real registers."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cached_property

from xattn.compiler.ir import (
    Choice,
    Half,
    Label,
    Location,
    LowHalf,
    Operation,
    Part,
    Reference,
    VirtualRegister,
    locations,
)
from xattn.isa.codec import Instruction
from xattn.isa.model import CountOf, Immediate, Opcode, Register
from xattn.isa.timing import itinerary_of

WHOLE_BANK_BYTES = 32  # an access that needs both interleaved halves of a bank


@dataclass(frozen=True, slots=True)
class LocationAccess:
    """One storage leaf read or written, in which cycle, over which bypass."""

    location: Location
    cycle: int
    bypass: str | None


@dataclass(frozen=True)
class OperationTiming:
    """Everything that one choice of an operation touches."""

    reads: tuple[LocationAccess, ...]
    writes: tuple[LocationAccess, ...]
    ports: tuple[tuple[str, int, bool], ...]  # port, cycle after issue, required
    memory_cycles: tuple[int, ...]
    slot: str

    @cached_property
    def longest_hold(self) -> int:
        """Cycles from issue to the last cycle in which a port is held."""
        return max([1, *(cycle + 1 for _, cycle, _ in self.ports)])

    def meets_itself(self, interval: int) -> bool:
        """Whether the operation, issued again `interval` cycles later, needs a port that it still holds."""
        if self.longest_hold <= interval:
            return False
        held: dict[tuple[str, int], set[int]] = defaultdict(set)
        for port, cycle, _ in self.ports:
            held[port, cycle % interval].add(cycle)
        return any(required and len(held[port, cycle % interval]) > 1 for port, cycle, required in self.ports)

    @cached_property
    def drained(self) -> int:
        """Cycles after issue until nothing of the operation is under way any more."""
        ends = [access.cycle for access in self.writes] + [access.cycle for access in self.reads]
        return max([1, *ends, *self.memory_cycles, *(cycle + 1 for _, cycle, _ in self.ports)])


def references(choice: Choice) -> tuple[Reference | None, ...]:
    """Operands in machine order; tied, fixed and count operands filled in."""
    return tuple(_reference(choice, operand.name) for operand in choice.opcode.operands)


def _reference(choice: Choice, name: str) -> Reference | None:
    operand = choice.opcode.operands[choice.opcode.position[name]]
    if operand.tied_to is not None:
        return choice.operands[operand.tied_to]
    if isinstance(operand.type, Register):
        return operand.type
    if isinstance(operand.type, CountOf):
        modifier = choice.operands[operand.type.operand]
        assert isinstance(modifier, VirtualRegister) and operand.type.half is None, "3-D modifiers are not used yet"
        return modifier.part(3)  # m, dn, dj, dc
    return choice.operands[name]


def example_instruction(choice: Choice) -> Instruction:
    """The choice with any registers of the right files: enough to know its itinerary."""
    return Instruction(choice.opcode, tuple(_example(choice.opcode, i, r) for i, r in enumerate(references(choice))))


def _example(opcode: Opcode, position: int, reference: Reference | None) -> Register | int:
    if isinstance(reference, (VirtualRegister, Part, Half, LowHalf)):
        return reference.example
    if isinstance(reference, Label):
        return 0
    assert reference is not None, f"{opcode.name} operand {position}"
    return reference


def choice_timing(choice: Choice) -> OperationTiming:
    """Timing of one choice."""
    itinerary = itinerary_of(example_instruction(choice))
    reads: list[LocationAccess] = []
    writes: list[LocationAccess] = []
    refs = list(zip((o.is_def for o in choice.opcode.operands), references(choice), strict=True))
    refs += [(True, register) for register in choice.opcode.implicit_defs]
    refs += [(False, register) for register in choice.opcode.implicit_uses]
    # Status flags (carry, sticky overflow) are never read by compiled code, so they order nothing.
    for position, (is_def, reference) in enumerate(refs):
        if reference is None or isinstance(choice_type(choice.opcode, position), Immediate):
            continue
        if isinstance(reference, Register) and reference.file == "status":
            continue
        for location in locations(reference):
            access = LocationAccess(location, itinerary.cycle(position), itinerary.bypass(position))
            (writes if is_def else reads).append(access)
    ports = tuple((p.port, c - 1, p.required) for p in itinerary.ports for c in range(p.cycle, p.cycle + p.length))
    return OperationTiming(tuple(reads), tuple(writes), ports, itinerary.memory_cycles, choice.opcode.slot)


def choice_type(opcode: Opcode, position: int) -> object:
    """Type of the operand at `position`, None for implicit ones."""
    return opcode.operands[position].type if position < len(opcode.operands) else None


def timings(operation: Operation) -> tuple[OperationTiming, ...]:
    """Timing of every choice. They agree on registers and cycles, and differ in slot and ports only."""
    all_timings = tuple(_with_bank(choice_timing(choice), operation) for choice in operation.choices)
    first = all_timings[0]
    for other in all_timings[1:]:
        assert {(a.location, a.cycle) for a in other.writes} == {(a.location, a.cycle) for a in first.writes}, operation
    return all_timings


def _with_bank(timing: OperationTiming, operation: Operation) -> OperationTiming:
    """A vector access holds its array's memory bank; two in one cycle would stall the core."""
    memory = operation.memory
    if memory is None or memory.array.bank is None or memory.bytes < WHOLE_BANK_BYTES:
        return timing
    held = tuple((f"bank {memory.array.bank}", cycle - 1, True) for cycle in timing.memory_cycles)
    return replace(timing, ports=timing.ports + held)
