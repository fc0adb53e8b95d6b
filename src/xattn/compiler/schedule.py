"""Gives every operation of a section its cycle and its slot.

Straight sections are list-scheduled: operations are placed one by one, those on the longest path to the end first, each
in the earliest cycle that its predecessors and the resources allow. Hardware loops are pipelined by `modulo`; where
that finds nothing, their body is list-scheduled as one iteration whose resources and carried values wrap round.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from xattn.compiler.control import Section
from xattn.compiler.dependence import Edge, Graph, build_graph
from xattn.compiler.interval_bounds import least_interval
from xattn.compiler.machine import OperationTiming
from xattn.compiler.modulo import ModuloSchedule, modulo_schedule
from xattn.compiler.reservation import ReservationTable
from xattn.compiler.scheduled import PipelinedLoop, ScheduledSection, StraightSection
from xattn.errors import XattnError
from xattn.isa.timing import DELAY_SLOTS

# Of an iteration's length: an interval above it is not worth a prologue and an epilogue.
_WORTHWHILE = 0.95
_NARROW = (32, 16, 8)  # windows that are tried for loops
_WIDE = (48, 40, 28)  # and for straight code
_LONGEST = 4096  # cycles; a section that needs more is a defect of the scheduler, not of the kernel

KnownSchedules = Callable[[Graph], Iterable[ModuloSchedule]]  # legal schedules of a loop that somebody found before


@dataclass(frozen=True)
class Policy:
    """How to schedule.

    pipeline: overlap the iterations of hardware loops. There an old value may be read while a new one is under way;
    elsewhere a register is taken from the issue of a write on.
    window: place straight code in program order, each operation at most so many places ahead; fewer values are alive.
    """

    pipeline: bool = False
    window: int | None = None


def schedule_section(
    section: Section, policy: Policy, fits: Callable[[ScheduledSection], bool] = lambda _: True
) -> ScheduledSection:
    """Schedule one section. `fits` says whether a pipelined loop leaves registers enough."""
    if section.loop is not None:
        straight = _shortest_iteration(section, policy.window, fits)
        return (_pipeline(section, straight, fits) if policy.pipeline else None) or straight
    windows = [policy.window, *(_WIDE if policy.window is None else ())]
    found = [_schedule_straight(section, window) for window in windows]
    return min(found, key=lambda straight: (not fits(straight), straight.length))


def _schedule_straight(section: Section, window: int | None) -> StraightSection:
    """Straight code, in which each operation is issued once."""
    operations = list(section.operations)
    count = len(operations)
    if section.branch is not None:
        operations.append(section.branch)
    graph = build_graph(operations, early=True)
    cycles, choices = _place_all(graph, count, window)
    scheduled = StraightSection(section, graph, cycles, choices, 0)
    scheduled.lengthen(scheduled.drained)
    if section.branch is not None:
        _place_branch(scheduled)
    return scheduled


def _pipeline(
    section: Section, straight: StraightSection, fits: Callable[[ScheduledSection], bool]
) -> PipelinedLoop | None:
    """The overlapped loop, when there is one that ends sooner."""
    assert section.loop is not None
    if section.loop.trips < 2:
        return None
    graph = build_graph(section.operations, section.loop)
    longest = int(straight.length * _WORTHWHILE) if fits(straight) else 2 * straight.length
    most_stages = section.loop.trips

    def is_usable(schedule: ModuloSchedule) -> bool:
        return schedule.stages <= most_stages and fits(PipelinedLoop(section, graph, schedule))

    found = modulo_schedule(graph, longest, is_usable)
    if found is None:
        return None
    pipelined = PipelinedLoop(section, graph, found, straight)
    shorter = pipelined.cycles_of_loop < straight.cycles_of_loop
    return pipelined if shorter or not fits(straight) else None


def known_loop(
    found: ScheduledSection, known: KnownSchedules, fits: Callable[[ScheduledSection], bool]
) -> PipelinedLoop | None:
    """The shortest loop with a known schedule that `fits`, when it is shorter than the one found by search."""
    section, loop = found.section, found.section.loop
    assert loop is not None
    graph = found.graph if isinstance(found, PipelinedLoop) else build_graph(section.operations, loop)
    usable = [schedule for schedule in known(graph) if schedule.stages <= loop.trips]
    loops = [PipelinedLoop(section, graph, schedule, found, is_known=True) for schedule in usable]
    shorter = [candidate for candidate in loops if candidate.cycles_of_loop < found.cycles_of_loop]
    return next((best for best in sorted(shorter, key=lambda c: c.cycles_of_loop) if fits(best)), None)


def minimal_loop(
    section: Section, known: KnownSchedules, fits: Callable[[ScheduledSection], bool]
) -> PipelinedLoop | None:
    """The loop with a known schedule that `fits` and whose interval no search can make shorter, if there is one."""
    assert section.loop is not None
    graph = build_graph(section.operations, section.loop)
    usable = [schedule for schedule in known(graph) if schedule.stages <= section.loop.trips]
    shortest = min(usable, key=lambda schedule: schedule.interval, default=None)
    if shortest is None or shortest.interval > least_interval(graph).interval:
        return None
    instead = _shortest_iteration(section, None, fits)
    found = PipelinedLoop(section, graph, shortest, instead, is_known=True)
    return found if found.cycles_of_loop < instead.cycles_of_loop and fits(found) else None


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
    """Place the first `count` operations; cycles and choices of all (0 for the rest)."""
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
    """Program order; no operation before the one `window` places ahead of it."""
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


def _place_branch(scheduled: StraightSection) -> None:
    """Put the branch so that its delay slots are the last bundles."""
    graph, node = scheduled.graph, len(scheduled.cycles) - 1
    table = ReservationTable()
    for other in range(node):
        table.take(graph.timings[other][scheduled.choices[other]], scheduled.cycles[other])
    ready = [scheduled.cycles[e.source] + e.latency for e in graph.edges if e.target == node and e.distance == 0]
    earliest = max([0, scheduled.length - 1 - DELAY_SLOTS, *ready])
    scheduled.cycles[node], scheduled.choices[node] = _first_fit(table, graph.timings[node], earliest)
    scheduled.length = scheduled.cycles[node] + 1 + DELAY_SLOTS


def _shortest_iteration(
    section: Section, window: int | None, fits: Callable[[ScheduledSection], bool]
) -> StraightSection:
    """The shortest iteration that `fits`, of those in narrower windows too: long paths first is not always best."""
    windows = [window, *(narrow for narrow in _NARROW if window is None or narrow < window)]
    found = [_schedule_iteration(section, each) for each in windows]
    return min(found, key=lambda straight: (not fits(straight), straight.length))


def _schedule_iteration(section: Section, window: int | None) -> StraightSection:
    """One iteration after another without overlap, in the shortest length that lets the next one start right after."""
    graph = build_graph(section.operations, section.loop, early=True)
    cycles, choices = _place_all(graph, len(graph.operations), window)
    scheduled = StraightSection(section, graph, cycles, choices, max([1, *(cycle + 1 for cycle in cycles)]))
    while not _repeats(scheduled):
        scheduled.length += 1
    scheduled.loop_last = scheduled.length - 1
    return scheduled


def _repeats(scheduled: StraightSection) -> bool:
    """Whether iterations can follow each other every `length` cycles."""
    for edge in scheduled.graph.edges:
        ready = scheduled.cycles[edge.source] + edge.latency - edge.distance * scheduled.length
        if scheduled.cycles[edge.target] < ready:
            return False
    table = ReservationTable(scheduled.length)
    for issue in scheduled.issues:
        if not table.fits(issue.timing, issue.cycle):
            return False
        table.take(issue.timing, issue.cycle)
    return True
