"""What may be under way, and what must have happened, when control stands before a bundle.

One state stands for every path that leads to a bundle. What may break a rule is a union over the paths (writes in
flight, ports held, late reads, recent memory and lock operations); what a rule demands is an intersection (registers
defined) or a minimum (bytes since the last write of a loop register). Nothing is under way for more than about a dozen
bundles, so states stay small and the walk over loops ends quickly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from xattn.compiler.legality.program import Facts, KnownWrite, Touch, number_of, numbers_of
from xattn.isa.table import instruction_table
from xattn.isa.timing import LOOP_SETUP_BYTES

LOCK_RESUMES = 9  # a memory operation with memory cycle m is issued at least 9 - m bundles after a lock operation
WIDE_MASK, WIDE_VALUE = 0xF8, 0x08  # configuration: 8 x 8 bits, matrix form: only 256 bits of X count
ZERO_ACCUMULATOR = 1


class InFlight(NamedTuple):
    """A write by bundle `origin` with result cycle `cycle`: reads in cycle 1 see it in `left` bundles."""

    leaf: int
    left: int
    cycle: int
    bypass: str | None
    origin: int


class Held(NamedTuple):
    """A port that an earlier bundle holds in `left` bundles."""

    port: str
    left: int
    cycle: int
    required: bool
    origin: int


class LateRead(NamedTuple):
    """A read that an earlier bundle makes in `left` bundles."""

    leaf: int
    left: int
    cycle: int
    bypass: str | None
    origin: int


class Need(NamedTuple):
    """A late read that no write before it has served: one must become visible within `left` bundles."""

    leaf: int
    left: int
    cycle: int
    bypass: str | None
    origin: int


class Recent(NamedTuple):
    """A memory or lock operation that was issued `ago` bundles ago; `last` is its last cycle in memory."""

    is_lock: bool
    ago: int
    last: int
    origin: int


class Loop(NamedTuple):
    """A hardware loop: the addresses of its first and last bundle."""

    start: int
    end: int


class Count(NamedTuple):
    """What lc holds: the count written by bundle `origin`, inside the loops `inside`."""

    origin: int
    inside: frozenset[Loop]


BYPASSES = (None, "MOV", "VEC")
Waits = tuple[int, int, int]  # bundles until a value is visible to reads without a bypass and over each of the two
HERE: Waits = (0, 0, 0)
Value = int | Count | None  # None: what the register held at entry


@dataclass(frozen=True, slots=True)
class State:
    """See the head of this file. `values` lacks leaves about which nothing is known."""

    in_flight: frozenset[InFlight]
    held: frozenset[Held]
    late: frozenset[LateRead]
    needs: frozenset[Need]
    recent: frozenset[Recent]
    defined: int  # bit n: leaf n is visible on every path
    arriving: dict[int, Waits]  # leaf to bundles until it is first visible on every path
    values: dict[int, frozenset[Value]]
    rewritten: int  # bit n: the call that control is in may have written leaf n, one of those in `values`
    bytes_since_setup: int
    inside: frozenset[Loop]

    def is_defined(self, leaf: int, cycle: int, bypass: str | None) -> bool:
        """Whether a read in `cycle` finds a value on every path."""
        if self.defined >> leaf & 1:
            return True
        return leaf in self.arriving and self.arriving[leaf][BYPASSES.index(bypass)] < cycle


def entry_state(defined: frozenset[str]) -> State:
    """The state at an entry: nothing under way, the registers named (and the hardware's own) defined."""
    registers = instruction_table().registers
    mask = 0
    for name in (*defined, "CORE_ID", "tile_cntr"):
        for leaf in numbers_of(registers[name]):
            mask |= 1 << leaf
    nothing: frozenset[Value] = frozenset({None})
    values = {number_of(name): nothing for name in ("LS", "LE", "LC", "lr")}
    empty: frozenset[InFlight] = frozenset()
    return State(
        empty, frozenset(), frozenset(), frozenset(), frozenset(), mask, {}, values, 0, LOOP_SETUP_BYTES, frozenset()
    )


def join(a: State, b: State) -> State:
    """What holds when either state may."""
    if a == b:
        return a
    arriving: dict[int, Waits] = {}
    for leaf in a.arriving.keys() | b.arriving.keys():
        one = HERE if a.defined >> leaf & 1 else a.arriving.get(leaf)
        two = HERE if b.defined >> leaf & 1 else b.arriving.get(leaf)
        if one and two:
            arriving[leaf] = (max(one[0], two[0]), max(one[1], two[1]), max(one[2], two[2]))
    return State(
        a.in_flight | b.in_flight,
        a.held | b.held,
        a.late | b.late,
        a.needs | b.needs,
        a.recent | b.recent,
        a.defined & b.defined,
        arriving,
        {leaf: a.values[leaf] | b.values[leaf] for leaf in a.values.keys() & b.values.keys()},
        a.rewritten | b.rewritten,
        min(a.bytes_since_setup, b.bytes_since_setup),
        a.inside | b.inside,
    )


def advance(state: State, facts: Facts) -> State:
    """The state behind a bundle, one cycle later."""
    origin = facts.index
    in_flight = [w._replace(left=w.left - 1) for w in state.in_flight if w.left > 1]
    in_flight += [InFlight(w.leaf, w.cycle - 1, w.cycle, w.bypass, origin) for w in facts.writes if w.cycle > 1]
    held = [h._replace(left=h.left - 1) for h in state.held if h.left > 0]
    held += [Held(p.port, p.cycle - 1, p.cycle, p.required, origin) for p in facts.ports if p.cycle > 0]
    late = [r._replace(left=r.left - 1) for r in state.late if r.left > 0]
    late += [LateRead(r.leaf, r.cycle - 2, r.cycle, r.bypass, origin) for r in facts.reads if r.cycle > 1]
    defined, arriving = _definitions(state, facts)
    size = min(state.bytes_since_setup + facts.bundle.size, LOOP_SETUP_BYTES)
    return State(
        frozenset(in_flight),
        frozenset(held),
        frozenset(late),
        _needs(state, facts),
        _recent(state, facts),
        defined,
        arriving,
        _values(state, facts),
        state.rewritten | facts.rewrites,
        0 if facts.sets_loop else size,
        state.inside,
    )


def _definitions(state: State, facts: Facts) -> tuple[int, dict[int, Waits]]:
    arriving = dict(state.arriving)
    for write in facts.writes:
        if not state.defined >> write.leaf & 1:
            waits = _waits(write.cycle, write.bypass)
            one, two, three = arriving.get(write.leaf, waits)
            arriving[write.leaf] = (min(one, waits[0]), min(two, waits[1]), min(three, waits[2]))
    defined = state.defined
    for leaf, (one, two, three) in list(arriving.items()):
        if one == 1:
            del arriving[leaf]
            defined |= 1 << leaf
        else:
            arriving[leaf] = (one - 1, two - 1, three - 1)
    return defined, arriving


def _waits(cycle: int, bypass: str | None) -> Waits:
    return cycle, cycle - (bypass == "MOV"), cycle - (bypass == "VEC")


def is_needed(read: Touch, state: State) -> bool:
    """Whether a multiply reads this leaf at all; it does unless its configuration word is known to leave it out."""
    if not read.needed:
        return True
    words = state.values.get(read.config)
    if not words:
        return True
    if read.needed == "wide x":
        return not all(isinstance(word, int) and word & WIDE_MASK == WIDE_VALUE for word in words)
    return not all(isinstance(word, int) and word & ZERO_ACCUMULATOR for word in words)


def _needs(state: State, facts: Facts) -> frozenset[Need]:
    late = [r for r in facts.reads if r.cycle > 1 and not state.is_defined(r.leaf, r.cycle, r.bypass)]
    late = [r for r in late if is_needed(r, state)]
    if not (state.needs or late):
        return state.needs
    needs = [*state.needs, *(Need(r.leaf, r.cycle - 1, r.cycle, r.bypass, facts.index) for r in late)]
    return frozenset(n._replace(left=n.left - 1) for n in needs if n.left > 0 and not _served(n, facts))


def _served(need: Need, facts: Facts) -> bool:
    """Whether a write of this bundle is visible in time."""
    return any(
        w.leaf == need.leaf and w.cycle <= need.left + (w.bypass is not None and w.bypass == need.bypass)
        for w in facts.writes
    )


def _recent(state: State, facts: Facts) -> frozenset[Recent]:
    if not (state.recent or facts.memory or facts.locks):
        return state.recent
    recent = [r._replace(ago=r.ago + 1) for r in state.recent if r.ago < (LOCK_RESUMES if r.is_lock else r.last)]
    recent += [Recent(False, 1, last, facts.index) for _, _, last in facts.memory]
    recent += [Recent(True, 1, 0, facts.index) for _ in facts.locks]
    return frozenset(recent)


def _values(state: State, facts: Facts) -> dict[int, frozenset[Value]]:
    if not facts.known_writes:
        return state.values
    values = dict(state.values)
    lands_later = {w.leaf for w in state.in_flight if w.left > 1}
    for write in facts.known_writes:
        value = None if write.leaf in lands_later else _value(state, write)
        if write.leaf == number_of("LC") and not _is_count(value):
            value = frozenset({Count(facts.index, state.inside)})
        if value is None:
            values.pop(write.leaf, None)
        else:
            values[write.leaf] = value
    return values


def _value(state: State, write: KnownWrite) -> frozenset[Value] | None:
    if write.constant is not None:
        return frozenset({write.constant})
    return state.values.get(write.source) if write.source is not None else None


def _is_count(value: frozenset[Value] | None) -> bool:
    return value is not None and all(isinstance(one, Count) for one in value)


def entered(state: State, facts: Facts) -> State:
    """The state with the hardware loops that start at this bundle entered."""
    starts = state.values.get(number_of("LS"), frozenset())
    if facts.address not in starts:
        return state
    ends = state.values.get(number_of("LE"), frozenset())
    loops = {Loop(facts.address, end) for end in ends if isinstance(end, int) and end >= facts.address}
    return state if loops <= state.inside else replace(state, inside=state.inside | loops)


def left_behind(state: State, origin: int, target: int) -> State:
    """The state after a branch between two addresses: hardware loops that hold only the first of them are left."""
    inside = frozenset(loop for loop in state.inside if _holds(loop, target) or not _holds(loop, origin))
    return state if inside == state.inside else replace(state, inside=inside)


def _holds(loop: Loop, address: int) -> bool:
    return loop.start <= address <= loop.end


def finished(state: State, end: int) -> State:
    """The state after control fell through the loop end at `end`."""
    return replace(state, inside=frozenset(loop for loop in state.inside if loop.end != end))


def called(state: State) -> State:
    """The state at the start of a function."""
    return replace(state, rewritten=0)


def resumed(returned: State, caller: State) -> State:
    """The state behind a call: as the function left it; what it left alone is as the caller knew it."""
    defined = returned.defined | caller.defined
    for leaf in caller.arriving:  # a call and its return take longer than any write
        defined |= 1 << leaf
    values = {leaf: value for leaf, value in caller.values.items() if not returned.rewritten >> leaf & 1}
    values |= {leaf: value for leaf, value in returned.values.items() if returned.rewritten >> leaf & 1}
    rewritten = returned.rewritten | caller.rewritten
    return replace(returned, defined=defined, values=values, rewritten=rewritten, inside=caller.inside)
