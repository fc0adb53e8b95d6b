"""What a program means: its operations executed one after another, each result visible to all that follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from xattn.compiler.control import Section
from xattn.compiler.dataflow.nest import CountedLoop, Trips
from xattn.compiler.dataflow.values import STORED, UNDEFINED, Memory, Names, Numbered, Token, on_entry
from xattn.compiler.ir import Affine, Array, Location, Loop, Operation, VirtualRegister
from xattn.errors import XattnError
from xattn.isa.model import Register

STACK = "stack"
_OUTSIDE = frozenset({"lock", "stream", "cascade", "side_effects"})  # seen from outside of the core


@dataclass
class Meaning:
    """Everything that the operations of a program see and do, by operation number and execution (from 0).

    `reads`: the tokens of an operation's `reads`. `starts`: where it touches memory; `sizes` (one for each operation):
    how many bytes. `loaded`: the tokens of the bytes that it loads. `taken`: whether it branches. `outside`: (number,
    execution) of what is seen outside, in order. `registers`, `memory`: what is left at the return. `pointer`: how far
    the stack pointer is from where it was. `strays`: operations that touch bytes outside of their array.
    """

    names: Names
    reads: list[list[tuple[Token, ...]]]
    starts: list[list[int]]
    sizes: list[int]
    loaded: list[list[tuple[Token | None, ...]]]
    taken: list[list[bool]]
    outside: list[tuple[int, int]] = field(default_factory=list)
    registers: dict[Location, Token] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)
    pointer: int = 0
    strays: dict[int, int] = field(default_factory=dict)  # operation number to the first byte

    def register(self, leaf: Register) -> Token:
        """What a real register holds at the return, as far as operations name it."""
        return self.registers.get((leaf, 0), on_entry(leaf))

    def origin(self, token: Token) -> Token:
        """The value that a token stands for, followed back through the stack: what was saved there."""
        while token >= 0:
            one, execution, _ = self.names.split(token)
            opcode = one.operation.opcode
            if opcode.memory is None or opcode.memory.mode != "sp_imm" or not self.loaded[one.number]:
                break
            stores = set(self.loaded[one.number][execution])
            store = stores.pop()
            if stores or store is None:
                break
            saver, when, _ = self.names.split(store)
            token = self.reads[saver.number][when][0]
        return token


@dataclass(frozen=True)
class Footprint:
    """The bytes that an operation touches: where, how many. offset None: any of the array.

    `first`, `last`: the least and the greatest address at which an access of this size lies inside of its array.
    """

    first: int
    last: int
    offset: Affine | None
    size: int
    is_store: bool
    shifts: tuple[tuple[Loop, tuple[int, ...]], ...]  # what each loop adds, trip by trip

    def start(self, trip: Mapping[Loop, int]) -> int:
        """The first byte's address."""
        start = self.first
        if self.offset is not None:
            start += self.offset.constant
            for loop, shift in self.shifts:
                start += shift[trip[loop]]
        return start


class Footprints:
    """Where operations touch memory. Arrays are numbered; the stack is one of them."""

    def __init__(self, arrays: Sequence[Array], names: Names) -> None:
        touched = [one.operation.memory for one in names.numbered if one.operation.memory is not None]
        self.stored = {memory.array for memory in touched if memory.is_store}
        self.number: dict[object, int] = {array: number for number, array in enumerate(arrays, 1)}
        self.number[STACK] = len(arrays) + 1
        self.names = {number: str(array) for array, number in self.number.items()}

    def of(self, operation: Operation) -> Footprint | None:
        """The footprint of an operation that touches an array; None also for the stack, whose pointer moves."""
        memory = operation.memory
        if memory is None:
            return None
        first = self.number[memory.array] << 32
        if memory.offset is None:
            size = memory.array.size if memory.array in self.stored else 0  # else there is nothing to tell apart
            return Footprint(first, first, None, size, memory.is_store, ())
        loops = dict.fromkeys(counter.loop for counter, _ in memory.offset.terms)
        shifts = tuple((loop, tuple(memory.offset.at(loop, t) for t in range(loop.trips))) for loop in loops)
        last = first + memory.array.size - memory.bytes
        return Footprint(first, last, memory.offset, memory.bytes, memory.is_store, shifts)

    def name(self, address: int) -> str:
        """A byte of memory in words."""
        number = (address + (1 << 31)) >> 32
        return f"{self.names[number]}[{address - (number << 32)}]"


class ProgramOrder:
    """Executes sections in order. `arguments`: the registers in which virtual ones arrive."""

    def __init__(
        self,
        names: Names,
        sections: Sequence[Section],
        loops: Mapping[Section, CountedLoop],
        trips: Trips,
        footprints: Footprints,
        arguments: Mapping[VirtualRegister, Register],
        skip: bool = False,
    ) -> None:
        self.names, self.sections, self.loops, self.trips = names, sections, loops, trips
        self.skip = skip  # conditional parts, and do what is there for them otherwise
        self.footprints = footprints
        self.by_name = {section.name: position for position, section in enumerate(sections)}
        self.state: list[Token] = []
        self.index: dict[Location, int] = {}
        self.arguments = arguments
        self.trip: dict[Loop, int] = {}
        self.pointer = 0
        count = len(names.numbered)
        self.meaning = Meaning(
            names,
            [[] for _ in range(count)],
            [[] for _ in range(count)],
            [0] * count,
            [[] for _ in range(count)],
            [[] for _ in range(count)],
        )
        self.steps = [self._step(one) for one in names.numbered]

    def _step(self, one: Numbered) -> _Step:
        reads = tuple(self._place(location) for location in one.reads)
        writes = tuple((result, self._place(location)) for result, location in enumerate(one.writes))
        flags = one.operation.opcode.flags
        kind = one.operation.opcode.memory
        on_stack = kind is not None and kind.mode == "sp_imm"
        if kind is not None and one.operation.memory is None and not on_stack:
            raise XattnError(f"`{one.operation!r}` touches memory, but does not say which array")
        moves = any(isinstance(register, Register) and register.name == "SP" for register, _ in one.writes)
        special = on_stack or moves or bool(flags & _OUTSIDE)
        return _Step(one, reads, writes, self.footprints.of(one.operation), special)

    def _place(self, location: Location) -> int:
        if location not in self.index:
            self.index[location] = len(self.state)
            register = location[0]
            real = register if isinstance(register, Register) else self.arguments.get(register)
            self.state.append(UNDEFINED if real is None else on_entry(real))
        return self.index[location]

    def run(self) -> Meaning:
        """From the first section to the return."""
        position: int | None = 0
        rounds: dict[Section, int] = dict.fromkeys(self.loops, 0)
        self.trip = {loop.loop: 0 for loop in self.loops.values() if loop.loop is not None}
        while position is not None:
            section = self.sections[position]
            self._section(section)
            position = self._next(section, position, rounds)
        self.meaning.registers = {location: self.state[place] for location, place in self.index.items()}
        self.meaning.pointer = self.pointer
        return self.meaning

    def _section(self, section: Section) -> None:
        steps = [self.steps[self.names[operation].number] for operation in section.operations]
        for trip in range(self.trips.of[section] if section.loop is not None else 1):
            if section.loop is not None:
                self.trip[section.loop] = trip
            for step in steps:
                self._execute(step)

    def _next(self, section: Section, position: int, rounds: dict[Section, int]) -> int | None:
        """Where control goes from the end of a section; None for the return."""
        if section.branch is None:
            return position + 1
        step = self.steps[self.names[section.branch].number]
        self._execute(step)
        if section.target is None:
            return None
        if section not in self.loops:
            taken = self.skip or section.always_branches
            self.meaning.taken[step.one.number].append(taken)
            return self.by_name[section.target] if taken else position + 1
        loop = self.loops[section]
        rounds[section] = (rounds[section] + 1) % self.trips.of[section]
        if loop.loop is not None:
            self.trip[loop.loop] = rounds[section]
        taken = rounds[section] != 0
        self.meaning.taken[step.one.number].append(taken)
        return loop.first if taken else position + 1

    def _execute(self, step: _Step) -> None:
        state, number = self.state, step.one.number
        seen = self.meaning.reads[number]
        token = self.names.token(number, len(seen))
        seen.append(tuple([state[place] for place in step.reads]))
        for result, place in step.writes:
            state[place] = token + result
        if step.footprint is not None:
            footprint = step.footprint
            start = footprint.start(self.trip)
            if not footprint.first <= start <= footprint.last:
                self.meaning.strays.setdefault(number, start)
            self._touch(number, start, footprint.size, footprint.is_store, token)
        if step.special:
            self._special(step, token)

    def _touch(self, number: int, start: int, size: int, is_store: bool, token: Token) -> None:
        self.meaning.starts[number].append(start)
        self.meaning.sizes[number] = size
        if is_store:
            self.meaning.memory.store(start, size, token + STORED)
        else:
            self.meaning.loaded[number].append(self.meaning.memory.load(start, size))

    def _special(self, step: _Step, token: Token) -> None:
        """The stack, and what is seen outside."""
        number, opcode = step.one.number, step.one.operation.opcode
        if opcode.flags & _OUTSIDE:
            self.meaning.outside.append((number, len(self.meaning.reads[number]) - 1))
        numbers = [value for value in step.one.operation.choices[0].operands.values() if isinstance(value, int)]
        if opcode.memory is not None and opcode.memory.mode == "sp_imm":
            start = (self.footprints.number[STACK] << 32) + self.pointer + numbers[0]
            assert opcode.memory.bytes is not None
            self._touch(number, start, opcode.memory.bytes, opcode.memory.kind != "load", token)
        elif opcode.name in ("PADDA_sp_imm", "PADDB_sp_imm"):
            self.pointer += numbers[0]


@dataclass(frozen=True)
class _Step:
    """An operation ready to execute: places of its reads, results and places of its writes."""

    one: Numbered
    reads: tuple[int, ...]
    writes: tuple[tuple[int, int], ...]
    footprint: Footprint | None
    special: bool
