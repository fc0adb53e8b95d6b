"""Where control goes: delay slots, branches, calls and returns, hardware loops; and the rules for them.

A place is a bundle together with what is still to come: the delay slots left, where the branch that they belong to
goes, and the call that control is in (so that a return is followed to its own caller only). Both outcomes of a
conditional branch and of a loop end are followed, whatever the data: a path may be infeasible, for instance the exit
from a loop after its first round. A bundle at an address that le may hold counts as a loop end wherever it is reached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from xattn.compiler.legality.program import Facts, Program, number_of
from xattn.compiler.legality.state import Count, State, finished, left_behind
from xattn.isa.codec import Instruction
from xattn.isa.model import Register
from xattn.isa.timing import DELAY_SLOTS, FETCH_BYTES, LOOP_SETUP_BYTES

Report = Callable[[str, str], None]  # rule, cause
FULL_SIZE = 16  # bytes of the largest bundle


class Goal(NamedTuple):
    """Where a branch goes: to the bundle `at`, or (None) back to the caller; `call`: it is a call itself."""

    at: int | None
    call: bool = False


class Place(NamedTuple):
    """A bundle, the delay slots left (with this bundle), where their branch goes, and where the call returns to."""

    at: int
    slots_left: int = 0
    goal: Goal | None = None
    back: int | None = None


class Step(NamedTuple):
    """Control goes to `place` in `state`, or returns to `back`; a call is to resume at `resume` later."""

    state: State
    place: Place | None
    back: int | None = None
    resume: Place | None = None


def steps(program: Program, place: Place, before: State, after: State, report: Report) -> Iterator[Step]:
    """The places that control can go to from `place`, with the state there."""
    facts = program[place.at]
    _check_nesting(facts, before, report)
    if place.slots_left:
        _check_delay_slot(facts, before, report)
    if facts.stops:
        return
    if facts.branch and not place.slots_left:
        _check_loop_end(facts, before, report)
        for goal in _goals(program, facts.branch, place, before, report):
            yield from _next(program, Place(place.at, DELAY_SLOTS + 1, goal, place.back), after, report)
    elif place.slots_left:
        yield from _next(program, place, after, report)
    else:
        yield from _straight_on(program, place, before, after, report)


def _check_delay_slot(facts: Facts, before: State, report: Report) -> None:
    if facts.branch:
        report(
            "delay-slot", f"{facts.branch.opcode.mnemonic} stands in a delay slot of the branch before it; move it out"
        )
    if facts.address in before.values.get(number_of("LE"), ()):
        report("delay-slot", "a hardware loop ends in a delay slot of a branch; put the branch 6 bundles before le")


def _next(program: Program, place: Place, after: State, report: Report) -> Iterator[Step]:
    """On through the delay slots, and behind the last one to the goal."""
    if place.slots_left == 1 and place.goal:
        yield from _arrivals(program, place, place.goal, after, report)
    elif place.at + 1 < len(program):
        rest = place.slots_left - 1 if place.slots_left > 1 else 0
        yield Step(after, Place(place.at + 1, rest, place.goal if rest else None, place.back))
    else:
        report("fall-off", f"control runs behind the last bundle ({program.end:#x}); end in ret, done or a branch")


def _arrivals(program: Program, place: Place, goal: Goal, after: State, report: Report) -> Iterator[Step]:
    """What the last delay slot of a taken branch leads to."""
    if goal.at is None:
        yield Step(after, None, back=place.back)
    elif not goal.call:
        origin = program[place.at - DELAY_SLOTS].address
        after = left_behind(after, origin, program[goal.at].address)
        yield Step(after, Place(goal.at, 0, None, place.back))
    elif (back := place.at + 1) < len(program):
        yield Step(after, Place(goal.at, 0, None, back), resume=Place(back, 0, None, place.back))
    else:
        report("fall-off", f"the call returns behind the last bundle ({program.end:#x}); end in ret, done or a branch")


def _goals(program: Program, branch: Instruction, place: Place, before: State, report: Report) -> Iterator[Goal | None]:
    flags = branch.opcode.flags
    if "conditional" in flags:
        yield None
    if "return" in flags:
        _check_return(program, place, before, report)
        yield Goal(None)
        return
    for address in sorted(_targets(branch, before, report)):
        index = program.index_of.get(address)
        if index is None:
            report("branch-target", f"{branch.opcode.mnemonic} goes to {address:#x}, but {program.where(address)}")
            continue
        _check_aligned(address, f"the target of {branch.opcode.mnemonic}", report)
        back = place.at + DELAY_SLOTS + 1
        if "call" in flags and back < len(program):
            _check_aligned(program[back].address, "the return point, behind the delay slots of the call,", report)
        yield Goal(index, "call" in flags)


def _targets(branch: Instruction, before: State, report: Report) -> set[int]:
    if "indirect" not in branch.opcode.flags:
        target = branch["cpmaddr"]
        assert isinstance(target, int)
        return {target}
    pointer = next(v for v in reversed(branch.values) if isinstance(v, Register))
    values = before.values.get(number_of(pointer.name))
    if values is None or not all(isinstance(value, int) for value in values):
        report(
            "indirect-target",
            f"{branch.opcode.mnemonic} goes where {pointer.text} points, which is not known on every path: "
            f"write {pointer.text} with movxm, at least one bundle earlier",
        )
    return {value for value in values or () if isinstance(value, int)}


def _check_return(program: Program, place: Place, before: State, report: Report) -> None:
    found = before.values.get(number_of("lr"))
    expected = None if place.back is None else program[place.back].address
    if wrong := [value for value in found or () if value != expected]:
        shown = ", ".join("the entry's lr" if value is None else f"{value:#x}" for value in sorted(wrong, key=str))
        wanted = "the caller of the program" if expected is None else f"{expected:#x}"
        cause = "a call in between has overwritten lr; save it and load it again"
        report("return-address", f"ret goes to {shown} instead of {wanted}: {cause}")


def _straight_on(program: Program, place: Place, before: State, after: State, report: Report) -> Iterator[Step]:
    facts = program[place.at]
    if facts.address not in before.values.get(number_of("LE"), ()):
        yield from _next(program, place, after, report)
        return
    _check_loop_end(facts, before, report)
    for start in sorted(v for v in before.values.get(number_of("LS"), ()) if isinstance(v, int)):
        index = program.index_of.get(start)
        if index is not None:
            yield Step(after, Place(index, 0, None, place.back))
    yield from _next(program, place, finished(after, facts.address), report)


def _check_aligned(address: int, what: str, report: Report) -> None:
    if address % FETCH_BYTES:
        report(
            "alignment", f"{what} is {address:#x}, which is no multiple of {FETCH_BYTES}; make bundles before it larger"
        )


def _check_loop_end(facts: Facts, before: State, report: Report) -> None:
    ends, starts = (before.values.get(number_of(name), frozenset()) for name in ("LE", "LS"))
    if facts.address not in ends:
        return
    _check_aligned(facts.address, "the bundle at le", report)
    if facts.bundle.size != FULL_SIZE:
        report("loop-end", f"the bundle at le has {facts.bundle.size} bytes; encode it in a {FULL_SIZE}-byte format")
    if facts.branch:
        report(
            "loop-end",
            f"{facts.branch.opcode.mnemonic} stands in the bundle at le; end the loop behind its delay slots",
        )
    if store := facts.part_word_store:
        report("loop-end", f"{store.opcode.mnemonic} in the bundle at le may be dropped at the loop-back; move it up")
    if before.bytes_since_setup < LOOP_SETUP_BYTES:
        report(
            "loop-setup",
            f"{before.bytes_since_setup} bytes lie between the last write of ls, le or lc and the bundle at le, "
            f"{LOOP_SETUP_BYTES} are needed",
        )
    if None in starts or not starts:
        report("loop-setup", "ls is not a known constant when control comes to the bundle at le")


def _check_nesting(facts: Facts, before: State, report: Report) -> None:
    """At the last bundle of a loop that control is in, ls, le and lc must still be those of that loop."""
    ends, starts, counts = (before.values.get(number_of(name), frozenset()) for name in ("LE", "LS", "LC"))
    for loop in sorted(loop for loop in before.inside if loop.end == facts.address):
        recounted = any(isinstance(count, Count) and loop in count.inside for count in counts)
        if ends != {loop.end} or starts != {loop.start} or recounted:
            report(
                "loop-nesting",
                f"inside the hardware loop {loop.start:#x} to {loop.end:#x} another one has overwritten ls, le or lc; "
                "save and restore them, or make one of the loops a branch loop",
            )


def check_loop_registers(program: Program, facts: Facts, after: State, report: Report) -> None:
    """The constants written to ls and le: known, and the addresses of bundles."""
    for write in facts.known_writes:
        name = next((name for name in ("LS", "LE") if write.leaf == number_of(name)), None)
        if name is None:
            continue
        values = after.values.get(write.leaf)
        if values is None:
            report("loop-setup", f"{name.lower()} is written with a value that is no known constant; use movxm")
        for value in sorted(v for v in values or () if isinstance(v, int)):
            if value not in program.index_of:
                report("branch-target", f"{name.lower()} is set to {value:#x}, but {program.where(value)}")
            else:
                _check_aligned(value, f"{name.lower()}", report)
