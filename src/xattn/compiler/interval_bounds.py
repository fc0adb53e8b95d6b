"""Lower bounds on a loop's initiation interval, each with the argument that proves it.

Three arguments need no search: operations that compete for slots, operations that compete for a port, and dependence
cycles round the loop.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass

from xattn.compiler.dependence import Edge, Graph
from xattn.compiler.reservation import fits_a_format
from xattn.errors import InputError

Unit = frozenset[str]  # slots of which a bundle holds one at most


@dataclass(frozen=True)
class Bound:
    """No interval is below `interval`, because of `argument` (a clause, for reports)."""

    interval: int
    kind: str  # "slots", "ports" or "recurrence"
    argument: str


def least_interval(graph: Graph) -> Bound:
    """The strongest of the bounds."""
    bounds = (recurrence_bound(graph), slot_bound(graph), port_bound(graph))
    return max(bounds, key=lambda bound: bound.interval)


def slot_bound(graph: Graph) -> Bound:
    """For every set of units, the operations that cannot avoid it, by how much of it each takes at least.

    A unit is a slot, or two that no bundle format holds together: an operation in slot lng takes what alu and what mv
    would take.
    """
    slots = sorted({timing.slot for timings in graph.timings for timing in timings})
    units = slot_units(slots)
    needs = Counter(tuple(sorted({timing.slot for timing in timings})) for timings in graph.timings)
    best = Bound(1, "slots", "no slot is needed twice")
    for size in range(1, len(units) + 1):
        for chosen in itertools.combinations(units, size):
            takes = {need: min(sum(slot in unit for unit in chosen) for slot in need) for need in needs}
            interval = -(-sum(takes[need] * count for need, count in needs.items()) // size)
            if interval > best.interval:
                operations = sum(count for need, count in needs.items() if takes[need])
                names = ", ".join(sorted(set().union(*chosen)))
                plural = "slot" if len(set().union(*chosen)) == 1 else "slots"
                best = Bound(interval, "slots", f"{operations} operations share {plural} {names}")
    return best


def slot_units(slots: list[str]) -> list[Unit]:
    """What a bundle holds once: pairs of slots that fit no format together, and slots that are in no such pair."""
    pairs = [frozenset(pair) for pair in itertools.combinations(slots, 2) if not fits_a_format(frozenset(pair))]
    paired = set().union(*pairs)
    return [*(frozenset((slot,)) for slot in slots if slot not in paired), *pairs]


def port_bound(graph: Graph) -> Bound:
    """For every port, the cycles for which the operations hold it alone, whatever their choice."""
    held: Counter[str] = Counter()
    for timings in graph.timings:
        alone = [Counter(port for port, _ in {(p, c) for p, c, required in t.ports if required}) for t in timings]
        for port in alone[0]:
            held[port] += min(count[port] for count in alone)
    port, cycles = max(held.items(), key=lambda item: (item[1], item[0]), default=("", 1))
    return Bound(max(1, cycles), "ports", f"port {port} is held for {cycles} cycles")


def recurrence_bound(graph: Graph) -> Bound:
    """The dependence cycle that needs the most cycles for each iteration that it goes round."""
    interval, argument = 1, "no dependence goes round the loop"
    while (cycle := _violated_cycle(graph, interval)) is not None:
        latency, distance = sum(e.latency for e in cycle), sum(e.distance for e in cycle)
        if distance == 0:
            names = " → ".join(repr(graph.operations[e.source]) for e in cycle)
            raise InputError(f"operations wait for each other within one iteration: {names}")
        interval = -(-latency // distance)
        rounds = "every iteration" if distance == 1 else f"{distance} iterations"
        argument = f"a dependence cycle through {_through(graph, cycle)} takes {latency} cycles for {rounds}"
    return Bound(interval, "recurrence", argument)


def _through(graph: Graph, cycle: list[Edge]) -> str:
    """The operations of a cycle, as "24 operations: lt, sel.nez, or in line 31"."""
    operations = [graph.operations[edge.source] for edge in cycle]
    names = ", ".join(dict.fromkeys(operation.opcode.mnemonic for operation in operations))
    lines = sorted({operation.line for operation in operations if operation.line})
    where = f" in line {', '.join(map(str, lines))}" if lines else ""
    count = "one operation" if len(operations) == 1 else f"{len(operations)} operations"
    return f"{count} ({names}{where})"


def _violated_cycle(graph: Graph, interval: int) -> list[Edge] | None:
    """A dependence cycle that this interval cannot hold, by relaxation of issue times; None when there is none."""
    earliest = [0] * len(graph.operations)
    because: dict[int, Edge] = {}
    last = None
    for _ in range(len(graph.operations) + 1):
        last = None
        for edge in graph.edges:
            ready = earliest[edge.source] + edge.latency - interval * edge.distance
            if ready > earliest[edge.target]:
                earliest[edge.target], because[edge.target], last = ready, edge, edge.target
        if last is None:
            return None
    assert last is not None
    node = last
    for _ in range(len(graph.operations)):  # back into the cycle itself
        node = because[node].source
    cycle = [because[node]]
    while cycle[-1].source != node:
        cycle.append(because[cycle[-1].source])
    return cycle[::-1]


def least_span(graph: Graph, interval: int) -> int:
    """Cycles from the first issue of an iteration to the last that its dependences alone demand.

    `interval` must be at least the recurrence bound.
    """
    earliest = [0] * len(graph.operations)
    changed = True
    while changed:
        changed = False
        for edge in graph.edges:
            ready = earliest[edge.source] + edge.latency - interval * edge.distance
            if ready > earliest[edge.target]:
                earliest[edge.target], changed = ready, True
    return max(earliest, default=0)


def sufficient_span(graph: Graph, interval: int) -> int:
    """If this interval has a schedule at all, it has one in which an iteration's issues span no more cycles than this.

    Where two neighbouring issues are further apart than an interval and the longest latency, everything after the gap
    can move up by one interval: every slot and port stays taken in the same place, no dependence breaks, and values
    that cross the gap live for one interval less.
    """
    longest = max((abs(edge.latency) for edge in graph.edges), default=0)
    return max(0, len(graph.operations) - 1) * (interval + longest)
