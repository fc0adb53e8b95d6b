"""The loops of a program laid out in sections: which, how often, and which loop of the kernel each one is.

A hardware loop is a section of its own. A counted loop is a range of sections that ends in a branch back to the first;
its trip count is what its counter starts at, since it counts down by one to zero. A branch ahead skips a conditional
part and is no loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xattn.compiler.control import Section
from xattn.compiler.ir import Label, Loop, Operation, VirtualRegister
from xattn.errors import XattnError


class UnknownLoopError(XattnError):
    """Control flow that is no counted loop."""


@dataclass(frozen=True)
class CountedLoop:
    """Sections `first` to `last` (positions), done `trips` times; `loop` is known where memory references need it."""

    first: int
    last: int
    trips: int
    loop: Loop | None


def counted_loops(sections: Sequence[Section]) -> dict[Section, CountedLoop]:
    """The counted loops, by the section that ends in their branch. UnknownLoopError where a branch is no loop's."""
    position = {section.name: index for index, section in enumerate(sections)}
    ranges = {s: position[s.target] for s in sections if s.branch is not None and s.target is not None}
    ranges = {s: first for s, first in ranges.items() if first <= position[s.name]}  # others skip a conditional part
    loops = _loops_of(sections, ranges)
    found = {}
    for section, first in ranges.items():
        trips = _trips(sections, section)
        loop = loops.get(section)
        if loop is not None and loop.trips != trips:
            raise UnknownLoopError(
                f"loop {loop.name} is to be done {loop.trips} times, but the counter at the end of section "
                f"{section.name} starts at {trips}: a defect of the compiler's control flow"
            )
        found[section] = CountedLoop(first, position[section.name], trips, loop)
    return found


def _trips(sections: Sequence[Section], section: Section) -> int:
    """What the counter of the branch starts at."""
    assert section.branch is not None
    counter = next((v for v in section.branch.choices[0].operands.values() if isinstance(v, VirtualRegister)), None)
    if section.branch.opcode.name != "JNZ" or counter is None:
        raise UnknownLoopError(f"section {section.name} ends in {section.branch!r}, expected jnz on a loop counter")
    writers = [op for s in sections for op in s.operations if counter in _written(op)]
    starts = [value for op in writers if (value := _constant(op)) is not None]
    steps = [op for op in section.operations if op in writers and _steps_down(op, counter)]
    if len(starts) != 1 or len(steps) != 1 or len(writers) != 2:
        shown = ", ".join(repr(op) for op in writers)
        raise UnknownLoopError(
            f"{counter!r}, the counter of section {section.name}, is written by {shown}; expected one constant and one "
            "step down by 1"
        )
    return starts[0]


def _written(operation: Operation) -> list[object]:
    choice = operation.choices[0]
    names = [operand.name for operand in choice.opcode.operands if operand.is_def]
    return [choice.operands.get(name) for name in names]


def _constant(operation: Operation) -> int | None:
    """The constant that an operation writes, if that is all it does."""
    choice = operation.choices[0]
    values = list(choice.operands.values())
    numbers = [value for value in values if isinstance(value, int)]
    is_move = choice.opcode.name.startswith("MOV") and len(values) == 2
    return numbers[0] if is_move and numbers and not any(isinstance(v, Label) for v in values) else None


def _steps_down(operation: Operation, counter: VirtualRegister) -> bool:
    values = list(operation.choices[0].operands.values())
    return operation.opcode.name.startswith("ADD") and values.count(counter) == 2 and values.count(-1) == 1


def _loops_of(sections: Sequence[Section], ranges: Mapping[Section, int]) -> dict[Section, Loop]:
    """The kernel's loop for each counted branch: the loops round a hardware loop are matched from the inside out."""
    parents = _parents(sections)
    found: dict[Section, Loop] = {}
    for inner, section in enumerate(sections):
        loop = section.loop
        around = (s for s in sections[inner:] if s in ranges and ranges[s] <= inner)
        for branch in around:
            loop = parents.get(loop) if loop is not None else None
            if loop is not None:
                found[branch] = loop
    return found


def _parents(sections: Sequence[Section]) -> dict[Loop, Loop]:
    """Loops to the loops around them, as far as hardware loops and memory references name them."""
    waiting = [section.loop for section in sections if section.loop is not None]
    for section in sections:
        for operation in section.operations:
            if operation.memory is not None and operation.memory.offset is not None:
                waiting += [counter.loop for counter, _ in operation.memory.offset.terms]
    parents: dict[Loop, Loop] = {}
    seen: set[Loop] = set()
    while waiting:
        loop = waiting.pop()
        if loop not in seen:
            seen.add(loop)
            inside = [item for item in loop.body if isinstance(item, Loop)]
            parents.update(dict.fromkeys(inside, loop))
            waiting += inside
    return parents


@dataclass(frozen=True)
class Trips:
    """How often each loop is done here, by the section that is its body or ends in its branch; full or reduced."""

    of: Mapping[Section, int]
    reduced: bool


COUNTED_TRIPS = 2  # of a counted loop in a reduced run: into it, round it, out of it
HARDWARE_ROUNDS = 3  # of a hardware loop in a reduced run, besides the iterations that start before it


def trips_of(
    sections: Sequence[Section], loops: Mapping[Section, CountedLoop], counts: Mapping[Section, int], most: int
) -> Trips:
    """All trips where that takes at most `most` executions of operations; else few of each.

    `counts`: what the machine code sets its loop counter to for a hardware loop; the difference from the trips is what
    it does before and after the loop proper, and must stay.
    """
    full = {section: section.loop.trips for section in sections if section.loop is not None}
    full |= {section: loop.trips for section, loop in loops.items()}
    if _executions(sections, loops, full) <= most:
        return Trips(full, False)
    few = dict(full)
    for section, loop in loops.items():
        few[section] = min(loop.trips, COUNTED_TRIPS)
    for section, rounds in counts.items():
        few[section] = full[section] - rounds + min(rounds, HARDWARE_ROUNDS)
    return Trips(few, True)


def _executions(sections: Sequence[Section], loops: Mapping[Section, CountedLoop], trips: Mapping[Section, int]) -> int:
    total = 0
    for position, section in enumerate(sections):
        times = trips[section] if section.loop is not None else 1
        for end, loop in loops.items():
            if loop.first <= position <= loop.last:
                times *= trips[end]
        total += times * (len(section.operations) + 1)
    return total
