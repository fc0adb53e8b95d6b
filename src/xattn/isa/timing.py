"""When an instruction reads, writes and occupies what: the exposed pipeline of the AIE2 core, from its itineraries.

The core has no interlocks: a read that comes too early gets the old value. `distance` is the rule that a scheduler
obeys and that a checker proves; the simulator executes the same cycles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from xattn.isa.codec import Instruction
from xattn.isa.model import Itinerary, PortUse, Register

# Facts of control flow (public llvm-aie backend): see NOTICE.
DELAY_SLOTS = 5
FETCH_BYTES = 16  # alignment of branch targets, return points and loop starts
LOOP_SETUP_BYTES = 112  # between the last write of ls, le or lc and the bundle at le
PROGRAM_MEMORY_BYTES = 16384
DATA_MEMORY_BASE = 0x70000
DATA_MEMORY_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Access:
    """A register read or written, in which pipeline cycle (1 is the cycle of issue), over which bypass."""

    register: Register
    cycle: int
    bypass: str | None


@dataclass(frozen=True)
class Timing:
    """Everything that one instruction touches."""

    reads: tuple[Access, ...]
    writes: tuple[Access, ...]
    ports: tuple[PortUse, ...]
    memory_cycles: tuple[int, ...]

    @property
    def last_cycle(self) -> int:
        """The last cycle in which the instruction still does something."""
        ends = [port.cycle + port.length - 1 for port in self.ports]
        return max([1, *(a.cycle for a in self.reads), *(a.cycle for a in self.writes), *self.memory_cycles, *ends])


def itinerary_of(instruction: Instruction) -> Itinerary:
    """The itinerary that holds for the register files of this instruction's operands."""
    for when, itinerary in instruction.opcode.itinerary_by_file:
        if all(_in_file(instruction.values[position], file) for position, file in when):
            return itinerary
    return instruction.opcode.itinerary


def _in_file(value: Register | int, file: str) -> bool:
    if not isinstance(value, Register):
        return False
    return value.name.startswith(file) if file in ("wl", "wh") else value.file == file


@lru_cache(maxsize=65536)
def timing_of(instruction: Instruction) -> Timing:
    """Reads, writes, ports and memory cycles of an instruction."""
    opcode, itinerary = instruction.opcode, itinerary_of(instruction)
    reads: list[Access] = []
    writes: list[Access] = []
    for position, (operand, value) in enumerate(zip(opcode.operands, instruction.values, strict=True)):
        if isinstance(value, Register):
            access = Access(value, itinerary.cycle(position), itinerary.bypass(position))
            (writes if operand.is_def else reads).append(access)
    position = len(opcode.operands)
    for implicit, accesses in ((opcode.implicit_defs, writes), (opcode.implicit_uses, reads)):
        for register in implicit:
            accesses.append(Access(register, itinerary.cycle(position), itinerary.bypass(position)))
            position += 1
    return Timing(tuple(reads), tuple(writes), itinerary.ports, itinerary.memory_cycles)


def distance(write: Access, read: Access) -> int:
    """Bundles that must lie between a write and a read of its value (0 and less: the read may come first)."""
    bypassed = write.bypass is not None and write.bypass == read.bypass
    return write.cycle - read.cycle + 1 - bypassed


def anti_distance(read: Access, write: Access) -> int:
    """Least distance from a read of the old value to a write of a new one, which a bypass shows a cycle earlier."""
    bypassed = write.bypass is not None and write.bypass == read.bypass
    return read.cycle - write.cycle + bypassed


def output_distance(first: Access, second: Access) -> int:
    """Least distance between two writes of one register for the second to prevail."""
    return first.cycle - second.cycle + 1


def overlapping(a: Register, b: Register) -> bool:
    """Whether two registers share storage."""
    return a is b or not set(a.storage).isdisjoint(b.storage)


def port_cycles(timing: Timing) -> Iterator[tuple[str, int, bool]]:
    """(port, cycle after issue counted from 0, required) for every cycle in which the instruction holds a port."""
    for use in timing.ports:
        for cycle in range(use.cycle, use.cycle + use.length):
            yield use.port, cycle - 1, use.required
