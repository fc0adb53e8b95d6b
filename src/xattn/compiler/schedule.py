"""The list scheduler: gives every operation of a section its cycle and its slot.

Operations are placed one by one, those on the longest path to the end first, each in the earliest cycle that its
predecessors and the resources allow. A hardware loop's body is one iteration: its length also satisfies the edges that
go round the loop, and its resources wrap round.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from xattn.compiler.control import Section
from xattn.compiler.dependence import Edge, Graph, build_graph
from xattn.compiler.machine import OperationTiming
from xattn.compiler.reservation import ReservationTable
from xattn.errors import XattnError
from xattn.isa.timing import DELAY_SLOTS

_LONGEST = 4096  # cycles; a section that needs more is a defect of the scheduler, not of the kernel


@dataclass
class ScheduledSection:
    """A section in time: issue cycle and choice of each operation, and the number of bundles."""

    section: Section
    graph: Graph
    cycles: list[int]
    choices: list[int]
    length: int

    def timing(self, node: int) -> OperationTiming:
        """Timing of the chosen form of an operation."""
        return self.graph.timings[node][self.choices[node]]

    @property
    def drained(self) -> int:
        """Cycles after the section's end until nothing of it is under way."""
        ends = [cycle + self.timing(node).drained for node, cycle in enumerate(self.cycles)]
        return max([0, *(end - self.length for end in ends)])


def schedule_section(section: Section, window: int | None = None) -> ScheduledSection:
    """Schedule one section. A `window` keeps operations near program order, which keeps fewer values alive."""
    operations = list(section.operations)
    if section.branch is not None:
        operations.append(section.branch)
    graph = build_graph(operations, section.loop)
    if section.loop is not None:
        return _schedule_loop(section, graph, window)
    cycles, choices = _place_all(graph, len(operations) - (section.branch is not None), window)
    scheduled = ScheduledSection(section, graph, cycles, choices, 0)
    scheduled.length = scheduled.drained
    if section.branch is not None:
        _place_branch(scheduled)
    return scheduled


def _heights(graph: Graph) -> list[int]:
    """Longest path to the end of the section, over edges within one iteration."""
    heights = [timing[0].drained for timing in graph.timings]
    after: dict[int, list[Edge]] = {}
    for edge in graph.edges:
        if edge.distance == 0:
            after.setdefault(edge.source, []).append(edge)
    for node in reversed(range(len(heights))):
        for edge in after.get(node, ()):
            heights[node] = max(heights[node], edge.latency + heights[edge.target])
    return heights


def _place_all(graph: Graph, count: int, window: int | None) -> tuple[list[int], list[int]]:
    """Place the first `count` operations; cycles and choices of all (0 for the rest).

    With a window the operations are placed in program order, none before the one `window` places ahead of it.
    """
    table = ReservationTable()
    if window is not None:
        return _place_in_order(graph, table, count, window)
    heights = _heights(graph)
    waiting = [0] * count
    after: dict[int, list[Edge]] = {}
    for edge in graph.edges:
        if edge.distance == 0 and edge.source < count and edge.target < count:
            waiting[edge.target] += 1
            after.setdefault(edge.source, []).append(edge)
    earliest = [0] * count
    ready = [(-heights[node], node) for node in range(count) if not waiting[node]]
    heapq.heapify(ready)
    cycles, choices = [0] * len(graph.operations), [0] * len(graph.operations)
    while ready:
        _, node = heapq.heappop(ready)
        cycles[node], choices[node] = _first_fit(table, graph.timings[node], earliest[node])
        for edge in after.get(node, ()):
            earliest[edge.target] = max(earliest[edge.target], cycles[node] + edge.latency)
            waiting[edge.target] -= 1
            if not waiting[edge.target]:
                heapq.heappush(ready, (-heights[edge.target], edge.target))
    return cycles, choices


def _place_in_order(graph: Graph, table: ReservationTable, count: int, window: int) -> tuple[list[int], list[int]]:
    before: dict[int, list[Edge]] = {}
    for edge in graph.edges:
        if edge.distance == 0:
            before.setdefault(edge.target, []).append(edge)
    cycles, choices = [0] * len(graph.operations), [0] * len(graph.operations)
    for node in range(count):
        ready = [cycles[edge.source] + edge.latency for edge in before.get(node, ())]
        behind = cycles[node - window] if node >= window else 0
        cycles[node], choices[node] = _first_fit(table, graph.timings[node], max([behind, *ready]))
    return cycles, choices


def _first_fit(table: ReservationTable, timings: tuple[OperationTiming, ...], earliest: int) -> tuple[int, int]:
    for cycle in range(max(0, earliest), max(0, earliest) + _LONGEST):
        for choice, timing in enumerate(timings):
            if table.fits(timing, cycle):
                table.take(timing, cycle)
                return cycle, choice
    raise XattnError("an operation fits in no cycle: its slot or ports never become free")


def _place_branch(scheduled: ScheduledSection) -> None:
    """Put the branch so that its delay slots are the last bundles."""
    graph, node = scheduled.graph, len(scheduled.cycles) - 1
    table = ReservationTable()
    for other in range(node):
        table.take(scheduled.timing(other), scheduled.cycles[other])
    ready = [scheduled.cycles[e.source] + e.latency for e in graph.edges if e.target == node and e.distance == 0]
    earliest = max([0, scheduled.length - 1 - DELAY_SLOTS, *ready])
    scheduled.cycles[node], scheduled.choices[node] = _first_fit(table, graph.timings[node], earliest)
    scheduled.length = scheduled.cycles[node] + 1 + DELAY_SLOTS


def _schedule_loop(section: Section, graph: Graph, window: int | None) -> ScheduledSection:
    """One iteration after another without overlap, in the shortest length that lets the next one start right after."""
    count = len(graph.operations)
    cycles, choices = _place_all(graph, count, window)
    length = max([1, *(cycle + 1 for cycle in cycles)])
    while True:
        scheduled = ScheduledSection(section, graph, cycles, choices, length)
        if _repeats(scheduled):
            return scheduled
        length += 1


def _repeats(scheduled: ScheduledSection) -> bool:
    """Whether iterations can follow each other every `length` cycles."""
    for edge in scheduled.graph.edges:
        ready = scheduled.cycles[edge.source] + edge.latency - edge.distance * scheduled.length
        if scheduled.cycles[edge.target] < ready:
            return False
    table = ReservationTable(scheduled.length)
    for node, cycle in enumerate(scheduled.cycles):
        if not table.fits(scheduled.timing(node), cycle):
            return False
        table.take(scheduled.timing(node), cycle)
    return True
