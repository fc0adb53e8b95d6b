"""An independent judge of modulo schedules: it lays out iterations in absolute time and looks at every cycle.

It knows nothing of wrapped tables, of dependence edges between registers, or of lifetimes: which write a read must see
follows from program order, which one it does see from the cycles.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

import numpy as np

from xattn.compiler.dependence import Graph
from xattn.compiler.ir import Location, VirtualRegister
from xattn.compiler.machine import OperationTiming
from xattn.compiler.modulo import ModuloSchedule

# The widest bundle formats hold these slots together; lng takes the place of alu and mv (public instruction table).
TOGETHER = ({"ldb", "lda", "st", "alu", "mv", "vec"}, {"ldb", "lda", "st", "lng", "vec"})
FILE = {"w": "x", "y": "x", "am": "cm", "bm": "cm"}


def judge(graph: Graph, schedule: ModuloSchedule) -> None:
    """Assert that the schedule is legal."""
    iterations = 2 * _transient(graph, schedule)
    assert min(schedule.cycles) >= 0
    _bundles(graph, schedule, iterations)
    _ports(graph, schedule, iterations)
    _waits(graph, schedule)
    _values(graph, schedule, iterations)


def _transient(graph: Graph, schedule: ModuloSchedule) -> int:
    """Iterations after which every other one looks the same."""
    longest = max(timing.drained for timings in graph.timings for timing in timings)
    return schedule.stages + longest // schedule.interval + 2


def _instances(graph: Graph, schedule: ModuloSchedule, iterations: int) -> Iterator[tuple[int, int, OperationTiming]]:
    """Issue cycle, number in program order, and timing of every operation of every iteration."""
    number = 0
    for iteration in range(iterations):
        for node, timings in enumerate(graph.timings):
            yield schedule.cycles[node] + iteration * schedule.interval, number, timings[schedule.choices[node]]
            number += 1


def _bundles(graph: Graph, schedule: ModuloSchedule, iterations: int) -> None:
    slots: dict[int, list[str]] = defaultdict(list)
    for issue, _, timing in _instances(graph, schedule, iterations):
        slots[issue].append(timing.slot)
    for used in slots.values():
        assert len(used) == len(set(used)) and any(set(used) <= format for format in TOGETHER), used


def _ports(graph: Graph, schedule: ModuloSchedule, iterations: int) -> None:
    held: dict[tuple[str, int], dict[int, bool]] = defaultdict(dict)
    for issue, number, timing in _instances(graph, schedule, iterations):
        for port, after, alone in timing.ports:
            users = held[port, issue + after]
            users[number] = users.get(number, False) or alone
    for place, users in held.items():
        assert len(users) == 1 or not any(users.values()), place


def _waits(graph: Graph, schedule: ModuloSchedule) -> None:
    for edge in graph.edges:  # memory has no other record
        later = schedule.cycles[edge.target] + edge.distance * schedule.interval
        assert later >= schedule.cycles[edge.source] + edge.latency, edge


def _values(graph: Graph, schedule: ModuloSchedule, iterations: int) -> None:
    """Every read sees the write that is the last before it in program order."""
    writes: dict[Location, list[tuple[int, int, str | None]]] = defaultdict(list)  # number, landing, bypass
    for issue, number, timing in _instances(graph, schedule, iterations):
        for write in timing.writes:
            writes[write.location].append((number, issue + write.cycle, write.bypass))
    for issue, number, timing in _instances(graph, schedule, iterations):
        for read in timing.reads:
            expected = max((n for n, _, _ in writes[read.location] if n < number), default=None)
            now = issue + read.cycle - 1
            seen = [
                (landing, n)
                for n, landing, bypass in writes[read.location]
                if landing - (bypass is not None and bypass == read.bypass) <= now
            ]
            assert (max(seen)[1] if seen else None) == expected, (read, number)


def registers_taken(graph: Graph, schedule: ModuloSchedule, held: frozenset[VirtualRegister]) -> dict[str, int]:
    """The most registers of each file that are taken in one cycle when the loop has run for long."""
    transient = _transient(graph, schedule)
    iterations = 2 * transient
    taken: dict[VirtualRegister, set[int]] = defaultdict(set)
    end = iterations * schedule.interval + max(schedule.cycles) + 64
    current: dict[Location, list[int]] = {}
    for issue, _, timing in _instances(graph, schedule, iterations):
        for read in timing.reads:
            if isinstance(read.location[0], VirtualRegister):
                if read.location in current:
                    current[read.location].append(issue + read.cycle - 1)
                else:
                    taken[read.location[0]].update(range(end))
        for write in timing.writes:
            if isinstance(write.location[0], VirtualRegister):
                if write.location in current:
                    taken[write.location[0]].update(_span(current[write.location]))
                landing = issue + write.cycle
                current[write.location] = [landing - (write.bypass is not None), landing]
    for register in held:
        taken[register].update(range(end))
    most: Counter[str] = Counter()
    for cycle in range(transient * schedule.interval, (transient + 1) * schedule.interval):
        most |= Counter(FILE.get(r.file, r.file) for r, cycles in taken.items() if cycle in cycles)
    return dict(most)


def _span(cycles: list[int]) -> range:
    return range(min(cycles), max(cycles) + 1)


def exists(
    graph: Graph, interval: int, stages: int, fits: Callable[[ModuloSchedule], bool] = lambda _: True
) -> ModuloSchedule | None:
    """Some legal schedule within so many stages, by trying all; None when there is none."""
    cycles: list[int] = []
    choices: list[int] = []

    def search() -> ModuloSchedule | None:
        node = len(cycles)
        if node == len(graph.operations):
            first = min(cycles)
            found = ModuloSchedule(interval, [cycle - first for cycle in cycles], list(choices))
            return found if fits(found) else None
        for choice in range(len(graph.timings[node])):
            for cycle in range(interval * stages):
                cycles.append(cycle)
                choices.append(choice)
                found = search() if _latest_is_legal(graph, interval, cycles, choices) else None
                cycles.pop()
                choices.pop()
                if found is not None:
                    return found
        return None

    return search()


def _latest_is_legal(graph: Graph, interval: int, cycles: list[int], choices: list[int]) -> bool:
    """Whether the operation placed last gets along with itself and those before it, in any iterations."""
    last = len(cycles) - 1
    for edge in graph.edges:
        is_new = last in (edge.source, edge.target) and max(edge.source, edge.target) <= last
        if is_new and cycles[edge.target] + edge.distance * interval < cycles[edge.source] + edge.latency:
            return False
    mine = graph.timings[last][choices[last]]
    for other in range(last + 1):
        theirs = graph.timings[other][choices[other]]
        apart = cycles[last] - cycles[other]
        if other != last and apart % interval == 0:
            pair = {mine.slot, theirs.slot}
            if len(pair) == 1 or not any(pair <= format for format in TOGETHER):
                return False
        for port, after, alone in mine.ports:
            for their_port, their_after, their_alone in theirs.ports:
                distance = apart + after - their_after
                meets = distance % interval == 0 and not (other == last and distance == 0)
                if port == their_port and meets and (alone or their_alone):
                    return False
    return True


# -- bounds ------------------------------------------------------------------------------------------------------------


def resource_minimum(graph: Graph) -> int:
    """The smallest interval that the slots allow, each counted for itself."""
    needs = Counter(frozenset(timing.slot for timing in timings) for timings in graph.timings)
    slots = sorted(set().union(*needs)) if needs else []
    least = 1
    for size in range(1, len(slots) + 1):
        for chosen in itertools.combinations(slots, size):
            inside = sum(count for need, count in needs.items() if need <= set(chosen))
            least = max(least, -(-inside // size))
    return least


def recurrence_minimum(graph: Graph) -> int:
    """The smallest interval that the dependence cycles allow, by longest paths between all pairs."""
    interval = 1
    while _goes_round_too_fast(graph, interval):
        interval += 1
    return interval


def _goes_round_too_fast(graph: Graph, interval: int) -> bool:
    count = len(graph.operations)
    paths = np.full((count, count), -(1 << 20))
    for edge in graph.edges:
        place = edge.source, edge.target
        paths[place] = max(paths[place], edge.latency - interval * edge.distance)
    for middle in range(count):
        np.maximum(paths, paths[:, middle, None] + paths[None, middle, :], out=paths)
        np.maximum(paths, -(1 << 20), out=paths)
    return bool((np.diagonal(paths) > 0).any())
