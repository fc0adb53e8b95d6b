"""Executes machine code by its exposed timing, and compares every value that it reads with what program order says.

A bundle a cycle; reads in their use cycle, results visible from their definition cycle on (one cycle earlier over a
bypass that both sides have), five delay slots, the hardware loop, memory touched in its own cycles. Branches go the way
that program order goes, since they read the same values or a difference is reported.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from xattn.compiler.dataflow.difference import Difference
from xattn.compiler.dataflow.nest import HARDWARE_ROUNDS
from xattn.compiler.dataflow.places import LOOP_REGISTERS, Code, Place, PlacedBundle, Read
from xattn.compiler.dataflow.program_order import Footprints, Meaning
from xattn.compiler.dataflow.values import (
    CONFLICT,
    COUNTED,
    STORED,
    UNDEFINED,
    Memory,
    Token,
    leaf_numbers,
    on_entry,
)
from xattn.compiler.ir import Operation
from xattn.isa.model import Register
from xattn.isa.table import instruction_table
from xattn.isa.timing import DELAY_SLOTS

DEPTH = 16  # cycles ahead; the longest latency is 11
_RETURN = -1
_IDLE = 40  # bundles for one operation on average; more is an endless loop of no-operations
_WORD = 4


class _Landing(NamedTuple):
    leaf: int
    token: Token
    bypass: str | None
    value: int | None


class _LateRead(NamedTuple):
    read: Read
    expected: Token
    place: Place
    execution: int


class _Touch(NamedTuple):
    """A memory access that is due. Part-word stores read their word first (`begins`) and write it back later."""

    place: Place
    execution: int
    start: int
    size: int
    is_store: bool
    begins: bool
    part_word: bool

    @property
    def word(self) -> tuple[int, int]:
        """First byte and size of what is read and written back."""
        if not self.part_word:
            return self.start, self.size
        first = self.start // _WORD * _WORD
        return first, (self.start + self.size - first + _WORD - 1) // _WORD * _WORD


class MachineOrder:
    """One run of the code. `run` fills `differences`, at most about `most` of them, and `path`: addresses in time."""

    def __init__(self, code: Code, meaning: Meaning, footprints: Footprints, reduced: bool, most: int) -> None:
        self.code, self.meaning, self.footprints, self.reduced, self.most = code, meaning, footprints, reduced, most
        self.differences: list[Difference] = []
        self.path: list[int] = []
        numbers = leaf_numbers()
        self.state: list[Token] = [on_entry(leaf) for leaf in numbers]
        self.landed = [-1] * len(numbers)
        self.executions = [0] * len(meaning.names.numbered)
        self.memory = Memory()
        self.words: dict[tuple[int, int], tuple[Token | None, ...]] = {}
        self.outside: list[tuple[int, int]] = []
        self.landings: list[list[_Landing]] = [[] for _ in range(DEPTH)]
        self.late_reads: list[list[_LateRead]] = [[] for _ in range(DEPTH)]
        self.touches: list[list[_Touch]] = [[] for _ in range(DEPTH)]
        self.loop_start, self.loop_end, self.loop_count = (
            numbers[instruction_table().registers[name]] for name in LOOP_REGISTERS
        )
        self.loop: dict[int, int | None] = {self.loop_start: None, self.loop_end: None, self.loop_count: None}
        self.time = self.delay = self.target = self.address = 0
        self.stopped = False

    def run(self, entry: int = 0) -> None:
        """Execute from `entry` to the return, and let everything land."""
        self.address = entry
        budget = _IDLE * (sum(map(len, self.meaning.reads)) + len(self.code.bundles))
        while self.address != _RETURN and not self.stopped:
            bundle = self.code.bundles.get(self.address)
            if bundle is None or self.time > budget:
                found = "no bundle there" if bundle is None else f"no end after {self.time} bundles"
                self._differ("control", None, "execution", "a way to the return", found)
                return
            self.path.append(self.address)
            self._cycle(bundle)
            self.address = self._next(bundle)
            self.time += 1
            self.stopped |= len(self.differences) >= self.most
        for _ in range(DEPTH):
            self._cycle(PlacedBundle((), 0))
            self.time += 1

    def _cycle(self, bundle: PlacedBundle) -> None:
        now = self.time % DEPTH
        if self.landings[now]:
            self._land(self.landings[now])
            self.landings[now] = []
        for place in bundle.places:
            self._issue(place)
        if self.late_reads[now]:
            for late in self.late_reads[now]:
                self._compare_late(late)
            self.late_reads[now] = []
        if self.touches[now]:
            self._touch_memory(self.touches[now])
            self.touches[now] = []

    # -- registers ------------------------------------------------------------------------------------------------

    def _land(self, landings: Sequence[_Landing]) -> None:
        for leaf, token, _, value in landings:
            self.state[leaf] = CONFLICT if self.landed[leaf] == self.time else token
            self.landed[leaf] = self.time
            if leaf in self.loop:
                shorten = self.reduced and leaf == self.loop_count and value is not None
                self.loop[leaf] = min(value, HARDWARE_ROUNDS) if shorten and value is not None else value

    def _issue(self, place: Place) -> None:
        number, time, state = place.number, self.time, self.state
        execution = self.executions[number]
        if execution >= len(self.meaning.reads[number]):
            self._differ("count", place.one.operation, "executions", str(execution), "one more")
            self.stopped = True
            return
        self.executions[number] = execution + 1
        expected = self.meaning.reads[number][execution]
        for read in place.reads:
            if read.delay or read.bypass is not None:
                late = _LateRead(read, expected[read.index], place, execution)
                self.late_reads[(time + read.delay) % DEPTH].append(late)
            elif state[read.leaf] != expected[read.index]:
                self._wrong_value(place, read, expected[read.index], state[read.leaf])
        token = self.meaning.names.token(number, execution)
        for write in place.writes:
            landing = _Landing(write.leaf, token + write.result, write.bypass, write.value)
            self.landings[(time + write.delay) % DEPTH].append(landing)
        if self.meaning.starts[number]:
            self._schedule_touches(place, execution)
        flags = place.instruction.opcode.flags
        if flags:
            self._outside_or_branch(place, execution)

    def _compare_late(self, late: _LateRead) -> None:
        read, found = late.read, self.state[late.read.leaf]
        if read.bypass is not None:
            for landing in self.landings[(self.time + 1) % DEPTH]:
                if landing.leaf == read.leaf and landing.bypass == read.bypass:
                    found = landing.token
        if found != late.expected:
            self._wrong_value(late.place, read, late.expected, found)

    def _wrong_value(self, place: Place, read: Read, expected: Token, found: Token) -> None:
        if expected != UNDEFINED:
            names = self.meaning.names
            subject = f"operand {read.operand}"
            self._differ(
                "operand", place.one.operation, subject, names.describe(expected), names.describe(found), place.address
            )

    # -- control --------------------------------------------------------------------------------------------------

    def _outside_or_branch(self, place: Place, execution: int) -> None:
        opcode = place.instruction.opcode
        if not opcode.is_branch:
            self.outside.append((place.number, execution))
            return
        if self.delay:
            self._differ("control", place.one.operation, "the delay slots before it", "no branch", "this branch")
        if "conditional" in opcode.flags and not self.meaning.taken[place.number][execution]:
            return
        target = _RETURN if "return" in opcode.flags else place.instruction["cpmaddr"]
        assert isinstance(target, int)
        self.target, self.delay = target, DELAY_SLOTS + 1

    def _next(self, bundle: PlacedBundle) -> int:
        """The address of the next bundle. A branch wins over the end of a hardware loop."""
        if self.delay == 1:
            self.delay = 0
            return self.target
        if self.delay:
            self.delay -= 1
        if self.address == self.loop[self.loop_end] and self._loops():
            start = self.loop[self.loop_start]
            return start if start is not None else self._unknown("the start of the hardware loop")
        return bundle.end

    def _loops(self) -> bool:
        """At the last bundle of a hardware loop: count down, and say whether to go round again."""
        count = self.loop[self.loop_count]
        if count is None:
            self._unknown("the count of the hardware loop")
            return False
        if count == 0:
            return False
        self.loop[self.loop_count] = count - 1
        self.state[self.loop_count] = COUNTED
        return count > 1

    def _unknown(self, subject: str) -> int:
        self._differ("control", None, subject, "a constant that the program sets", "another value")
        self.stopped = True
        return _RETURN

    # -- memory ---------------------------------------------------------------------------------------------------

    def _schedule_touches(self, place: Place, execution: int) -> None:
        start, size = self.meaning.starts[place.number][execution], self.meaning.sizes[place.number]
        kind = place.instruction.opcode.memory
        assert kind is not None and place.memory_delays
        is_store = kind.kind != "load"
        part_word = kind.kind == "rmw_store"
        if part_word:
            begin = _Touch(place, execution, start, size, False, True, True)
            self.touches[(self.time + place.memory_delays[0]) % DEPTH].append(begin)
        touch = _Touch(place, execution, start, size, is_store, False, part_word)
        self.touches[(self.time + place.memory_delays[-1]) % DEPTH].append(touch)

    def _touch_memory(self, touches: Sequence[_Touch]) -> None:
        """Everything of one cycle: what is read first; two that could go either way are a difference."""
        for one, other in itertools.combinations(touches, 2):
            self._check_race(one, other)
        for touch in sorted(touches, key=lambda t: t.is_store):
            if touch.begins:
                self.words[touch.place.number, touch.execution] = self.memory.load(*touch.word)
            elif touch.is_store:
                self._store(touch)
            else:
                self._load(touch)

    def _check_race(self, one: _Touch, other: _Touch) -> None:
        if not one.is_store:
            one, other = other, one
        if not one.is_store:
            return
        first = one.word if other.is_store else (one.start, one.size)
        second = other.word if other.is_store or other.begins else (other.start, other.size)
        if first[0] < second[0] + second[1] and second[0] < first[0] + first[1]:
            found = f"`{other.place.one.operation!r}` ({other.place.address:#x}) in the same cycle"
            subject = f"store to {self.footprints.name(one.start)}"
            self._differ("memory", one.place.one.operation, subject, "its own cycle", found, one.place.address)

    def _store(self, touch: _Touch) -> None:
        token = self.meaning.names.token(touch.place.number, touch.execution) + STORED
        if touch.part_word:
            before = self.words.pop((touch.place.number, touch.execution))
            first, size = touch.word
            for offset, (old, new) in enumerate(zip(before, self.memory.load(first, size), strict=True)):
                if old != new and not touch.start <= first + offset < touch.start + touch.size:
                    self._wrong_byte(touch, first + offset, new, old)
        self.memory.store(touch.start, touch.size, token)

    def _load(self, touch: _Touch) -> None:
        expected = self.meaning.loaded[touch.place.number][touch.execution]
        found = self.memory.load(touch.start, touch.size)
        if found != expected:
            pairs = enumerate(zip(expected, found, strict=True))
            offset = next(offset for offset, (want, got) in pairs if want != got)
            self._wrong_byte(touch, touch.start + offset, expected[offset], found[offset])

    def _wrong_byte(self, touch: _Touch, byte: int, expected: Token | None, found: Token | None) -> None:
        names, where = self.meaning.names, self.footprints.name(byte)
        verb = "writes back" if touch.is_store else "loads"
        subject = f"{where}, which execution {touch.execution + 1} {verb},"
        self._differ(
            "memory",
            touch.place.one.operation,
            subject,
            names.describe(expected),
            names.describe(found),
            touch.place.address,
        )

    # -- the end --------------------------------------------------------------------------------------------------

    def compare_counts(self) -> None:
        """Every operation as often as program order has it; what is seen outside in the same order."""
        for one, seen, done in zip(self.meaning.names.numbered, self.meaning.reads, self.executions, strict=True):
            if done < len(seen):
                self._differ("count", one.operation, "executions", str(len(seen)), str(done), None)
        for (number, execution), found in zip(self.meaning.outside, self.outside, strict=False):
            if (number, execution) != found:
                operation = self.meaning.names.numbered[number].operation
                other = repr(self.meaning.names.numbered[found[0]].operation)
                self._differ("order", operation, f"execution {execution + 1}", "it next", other, None)
                break

    def compare_end(self, kept: Sequence[Register]) -> None:
        """The registers that outlive the return, and all of memory."""
        names = self.meaning.names
        for leaf in kept:
            expected, found = self.meaning.register(leaf), self.state[leaf_numbers()[leaf]]
            if expected != found:
                self._differ("end", None, leaf.text, names.describe(expected), names.describe(found), None)
        expected_cells, cells = self.meaning.memory.cells, self.memory.cells
        for byte in sorted(expected_cells.keys() | cells.keys()):
            want, got = expected_cells.get(byte), cells.get(byte)
            if want != got:
                where = self.footprints.name(byte)
                self._differ("end", None, where, names.describe(want), names.describe(got), None)
                break

    def _differ(
        self, kind: str, operation: Operation | None, subject: str, expected: str, found: str, address: int | None = -1
    ) -> None:
        shown, line = (repr(operation), operation.line) if operation is not None else ("", 0)
        at = self.address if address == -1 else address
        cycle = self.time if at is not None else None
        self.differences.append(Difference(kind, shown, line, subject, expected, found, at, cycle))
