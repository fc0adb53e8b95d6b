"""Proves that encoded bytes are a legal AIE2 program on every path, or says where and why not."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from heapq import heappop, heappush
from itertools import count

from xattn.compiler.legality import flow, pipeline
from xattn.compiler.legality.paths import Earlier, Paths, Unwritten
from xattn.compiler.legality.program import Program
from xattn.compiler.legality.state import State, advance, called, entered, entry_state, join, resumed
from xattn.compiler.legality.violation import RULES, LegalityError, Violation
from xattn.errors import FileFormatError, InputError
from xattn.isa.table import instruction_table
from xattn.isa.timing import FETCH_BYTES, PROGRAM_MEMORY_BYTES


def check_program(
    code: bytes,
    *,
    base: int = 0,
    entries: Iterable[int] = (0,),
    defined_at_entry: Iterable[str] = frozenset(),
    allow_in_flight_reads: bool = False,
    check_late_reads: bool = False,
    check_lock_order: bool = True,
    program_memory: int = PROGRAM_MEMORY_BYTES,
) -> list[Violation]:
    """Every broken rule of `code` (bundles, as they stand in program memory from byte address `base`), by address.

    `entries` are the byte addresses at which control may come in, `defined_at_entry` the registers that hold a value
    then (names of the instruction table; views count for all their parts). `allow_in_flight_reads` accepts reads of the
    old value of a register whose new value is under way. `check_late_reads` also reports a write that lands before a
    late read of an instruction issued before it (a scheduler may use that on purpose). An empty list is a proof, as far
    as the rules go (RULES names them). A path that the data never takes counts all the same.
    """
    _check_arguments(base, entries := tuple(entries), defined := frozenset(defined_at_entry))
    if base + len(code) > program_memory:
        cause = f"the program ends at {base + len(code):#x}, program memory at {program_memory:#x}: make it smaller"
        return [Violation("program-memory", base, None, cause)]
    try:
        program = Program(bytes(code), base)
    except FileFormatError as error:
        return [Violation("decode", base, None, str(error))]
    walk = _Walk(program, entries, entry_state(defined))
    walk.run()
    found = walk.violations(in_flight=not allow_in_flight_reads, late=check_late_reads)
    return [violation for violation in found if check_lock_order or violation.rule != "lock-order"]


def assert_legal(code: bytes, **options: object) -> None:
    """Raise LegalityError when `check_program` (same options) finds anything."""
    violations = check_program(code, **options)  # type: ignore[arg-type]
    if violations:
        raise LegalityError(violations)


def _check_arguments(base: int, entries: tuple[int, ...], defined: frozenset[str]) -> None:
    if base % FETCH_BYTES or base < 0:
        raise InputError(f"base address {base:#x} is no multiple of {FETCH_BYTES}; place the program on one")
    if not entries:
        raise InputError("no entry address was given; name at least one")
    if unknown := sorted(defined - instruction_table().registers.keys()):
        raise InputError(
            f"unknown register {', '.join(unknown)} in defined_at_entry; use names such as r0, p0, x0, cm0"
        )


class _Walk:
    """The states before every place, found by following control from the entries until nothing new comes in."""

    def __init__(self, program: Program, entries: tuple[int, ...], entry: State) -> None:
        self.program = program
        self.before: dict[flow.Place, State] = {}
        self.following: dict[flow.Place, list[flow.Place]] = {}
        self.found: dict[tuple[str, int, str], Violation] = {}
        self.resumes: dict[int, dict[flow.Place, State]] = {}  # by return point: where and how callers wait
        self.returned: dict[int, tuple[set[flow.Place], State]] = {}  # by return point: the returns and their state
        self.waiting: list[tuple[int, int, flow.Place]] = []
        self.queued: set[flow.Place] = set()
        self.ticket = count()  # keeps the heap from comparing places
        for address in entries:
            self._enter(address, entry)

    def _enter(self, address: int, entry: State) -> None:
        index = self.program.index_of.get(address)
        if index is None:
            self._add("branch-target", address, f"the entry is no bundle: {self.program.where(address)}")
            return
        if address % FETCH_BYTES:
            self._add("alignment", address, f"the entry is {address:#x}, which is no multiple of {FETCH_BYTES}")
        self._arrive(flow.Place(index), entry)

    def _arrive(self, place: flow.Place, state: State) -> None:
        state = entered(state, self.program[place.at])
        old = self.before.get(place)
        new = state if old is None else join(old, state)
        if old is not None and new == old:
            return
        self.before[place] = new
        if place not in self.queued:
            self.queued.add(place)
            heappush(self.waiting, (place.at, next(self.ticket), place))

    def run(self) -> None:
        """Follow control until no state changes; reports wait for the final states."""
        while self.waiting:
            place = heappop(self.waiting)[-1]
            self.queued.discard(place)
            before = self.before[place]
            after = advance(before, self.program[place.at])
            self.following[place] = []
            for step in flow.steps(self.program, place, before, after, _ignore):
                self._follow(place, step)

    def _follow(self, place: flow.Place, step: flow.Step) -> None:
        if step.place is not None:
            self.following[place].append(step.place)
            self._arrive(step.place, called(step.state) if step.resume else step.state)
        if step.resume is not None:
            self.resumes.setdefault(step.resume.at, {})[step.resume] = step.state
            if step.resume.at in self.returned:
                self._resume(step.resume.at)
        if step.back is not None:
            places, state = self.returned.get(step.back, (set(), step.state))
            self.returned[step.back] = ({*places, place}, join(state, step.state))
            self._resume(step.back)

    def _resume(self, back: int) -> None:
        """Let every caller that waits at the return point go on."""
        places, state = self.returned[back]
        for resume, caller in self.resumes[back].items():
            for place in places:
                self.following[place] = [*(p for p in self.following[place] if p != resume), resume]
            self._arrive(resume, resumed(state, caller))

    def violations(self, *, in_flight: bool, late: bool) -> list[Violation]:
        """Check every place once, with its final state."""
        paths = Paths(self.program, self.following, self.before)
        for place in self.following:
            self._check(place, paths, in_flight, late)
        return sorted(self.found.values(), key=lambda violation: (violation.address, list(RULES).index(violation.rule)))

    def _check(self, place: flow.Place, paths: Paths, in_flight: bool, late: bool) -> None:
        before, facts = self.before[place], self.program[place.at]
        after = advance(before, facts)

        def report(rule: str, cause: str, trail: Earlier | Unwritten | None = None) -> None:
            if (rule, facts.address, cause) not in self.found:
                self._add(rule, facts.address, cause, paths.describe(place, trail))

        is_read = partial(paths.is_read, place)
        pipeline.check(self.program, facts, before, report, is_read, in_flight=in_flight, late=late)
        flow.check_loop_registers(self.program, facts, after, report)
        for step in flow.steps(self.program, place, before, after, report):
            if step.place is None and step.back is None:
                pipeline.check_exit(self.program, step.state, report)

    def _add(self, rule: str, address: int, cause: str, path: str = "") -> None:
        index = self.program.index_of.get(address)
        bundle = self.program[index].bundle if index is not None else None
        self.found[rule, address, cause] = Violation(rule, address, bundle, cause, path)


def _ignore(_rule: str, _cause: str) -> None:
    pass
