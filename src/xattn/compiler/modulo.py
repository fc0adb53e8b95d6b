"""Modulo scheduling: iterations of a hardware loop start every II cycles and overlap.

The operations of the busiest slot are placed first, in program order; all others then go as near as possible to those
that use their results, the one with the least freedom next (lifetime-sensitive modulo scheduling after Huff). An
operation that finds no place evicts the ones in its way, within a budget; then the interval grows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xattn.compiler.dependence import Graph
from xattn.compiler.interval_bounds import least_interval
from xattn.compiler.ir import Location
from xattn.compiler.machine import OperationTiming
from xattn.compiler.reservation import ReservationTable

_FAR = 1 << 20  # stands for no path
_FAILURES = 2  # heuristics that find no place for an operation, before the interval grows
_EVICTIONS = 2  # for each operation


@dataclass(frozen=True)
class Heuristic:
    """What to place next. An operation with less than `tight` cycles of freedom is urgent; the others go in program
    order, none more than `overlap` cycles before the one ahead of it."""

    tight: int
    overlap: int


_HEURISTICS = (Heuristic(_FAR, _FAR), Heuristic(4, 64), Heuristic(4, 8), Heuristic(4, 16), Heuristic(4, 4))


@dataclass
class ModuloSchedule:
    """Issue cycle and choice of each operation of one iteration; the next one starts `interval` cycles later."""

    interval: int
    cycles: list[int]
    choices: list[int]

    @property
    def stages(self) -> int:
        """Iterations that are under way at once."""
        return max(self.cycles) // self.interval + 1


def modulo_schedule(
    graph: Graph, longest: int, fits: Callable[[ModuloSchedule], bool] = lambda _: True
) -> ModuloSchedule | None:
    """A schedule that `fits` with an interval as short as was found; None when there is none below `longest`.

    `fits` says whether there are registers enough. Intervals are tried from the lower bound upwards in growing steps,
    and from the first that has a schedule downwards again.
    """
    least = least_interval(graph).interval
    failed, interval, found = least - 1, least, None
    while found is None and interval < longest:
        found = _schedule_with(graph, interval, fits)
        if found is None:
            step = max(1, (interval - least) // 2)
            failed, interval = interval, min(interval + step, max(longest - 1, interval + 1))
    while found is not None and found.interval - 1 > failed:
        shorter = _schedule_with(graph, found.interval - 1, fits)
        if shorter is None:
            break
        found = shorter
    return found


def _schedule_with(graph: Graph, interval: int, fits: Callable[[ModuloSchedule], bool]) -> ModuloSchedule | None:
    paths = _longest_paths(graph, interval)
    failures = 0
    for heuristic in _HEURISTICS:
        found = _Attempt(graph, interval, heuristic, paths).run()
        if found is not None and fits(found):
            return found
        failures += found is None
        if failures == _FAILURES:
            break
    return None


def _longest_paths(graph: Graph, interval: int) -> NDArray[np.int32]:
    """[n, n]: least issue distance from one operation to another that the edges imply; -_FAR without a path."""
    count = len(graph.operations)
    paths = np.full((count, count), -_FAR, np.int32)
    for edge in graph.edges:
        weight = edge.latency - interval * edge.distance
        paths[edge.source, edge.target] = max(paths[edge.source, edge.target], weight)
    for middle in range(count):
        via = paths[:, middle, None] + paths[None, middle, :]
        np.maximum(paths, via, out=paths)
    np.maximum(paths, -_FAR, out=paths)
    return paths


def consumers(graph: Graph) -> list[set[int]]:
    """For each operation those that use the data it produces in the same iteration (addresses are not data)."""
    found: list[set[int]] = [set() for _ in graph.operations]
    last_write: dict[Location, int] = {}
    for node, (timing, *_) in enumerate(graph.timings):
        for read in timing.reads:
            if read.location in last_write and _is_data(read.location):
                found[last_write[read.location]].add(node)
        for write in timing.writes:
            last_write[write.location] = node
    return found


def _is_data(location: Location) -> bool:
    return location[0].file not in ("p", "m", "d", "dj", "dn", "dc")


class _Attempt:
    """One try at one interval."""

    def __init__(self, graph: Graph, interval: int, heuristic: Heuristic, paths: NDArray[np.int32]) -> None:
        self.graph = graph
        self.heuristic = heuristic
        self.interval = interval
        self.paths = paths
        self.table = ReservationTable(interval)
        count = len(graph.operations)
        self.cycle: list[int | None] = [None] * count
        self.choice = [0] * count
        self.consumers = consumers(graph)
        fed = set().union(*self.consumers)
        self.sources = {node for node, users in enumerate(self.consumers) if users and node not in fed}
        self.in_order: int | None = None  # the operation last chosen for its place in the program, and its cycle
        self.front: int | None = None
        self.forced: dict[int, int] = {}
        self.earliest = np.full(count, -_FAR, np.int64)
        self.latest = np.full(count, _FAR, np.int64)
        self.budget = _EVICTIONS * count

    def run(self) -> ModuloSchedule | None:
        anchors = self._anchors()
        while True:
            node = next((a for a in anchors if self.cycle[a] is None), None)
            downward = False
            if node is not None:
                self.earliest[node] = max(self.earliest[node], 0)  # in program order, from cycle 0 on
            else:
                node = self._next()
                if node is None:
                    return self._result()
                downward = self._has_placed(self.consumers[node])
                if node == self.in_order and not downward:
                    self._keep_order(node)
            if not self._place(node, downward) and not self._force(node, downward):
                return None
            if node == self.in_order:
                self.front = self.cycle[node]

    def _keep_order(self, node: int) -> None:
        """Start little before what comes before it in the program: values computed early would only wait."""
        if self.front is not None and self.front - self.heuristic.overlap <= self.latest[node]:
            self.earliest[node] = max(self.earliest[node], self.front - self.heuristic.overlap)

    def _anchors(self) -> list[int]:
        """Operations that can go only into the busiest slot, in program order."""
        only = Counter(timings[0].slot for timings in self.graph.timings if len(timings) == 1)
        if not only:
            return []
        slot = max(only, key=lambda s: (only[s], s == "vec"))
        return [n for n, timings in enumerate(self.graph.timings) if len(timings) == 1 and timings[0].slot == slot]

    def _next(self) -> int | None:
        """The operation with least freedom, if any has little; else producers of what is placed, last one first; then
        the rest in program order."""
        waiting = [node for node, cycle in enumerate(self.cycle) if cycle is None]
        if not waiting:
            return None
        freedom = self.latest[waiting] - np.maximum(self.earliest[waiting], -_FAR // 2)
        tightest = int(np.argmin(freedom))
        if freedom[tightest] < self.heuristic.tight:
            return waiting[tightest]
        producers = [node for node in waiting if self._has_placed(self.consumers[node])]
        if producers:
            return producers[-1]
        # a source is placed when a user of its data has its place
        self.in_order = next((node for node in waiting if node not in self.sources), waiting[0])
        return self.in_order

    def _has_placed(self, nodes: set[int]) -> bool:
        return any(self.cycle[node] is not None for node in nodes)

    def _place(self, node: int, downward: bool) -> bool:
        early, late = self._bounds(node)
        cycles = (
            range(late, max(early, late - self.interval + 1) - 1, -1)
            if downward
            else range(early, min(late, early + self.interval - 1) + 1)
        )
        for cycle in cycles:
            for choice, timing in enumerate(self.graph.timings[node]):
                if self.table.fits(timing, cycle):
                    self._take(node, cycle, choice, timing)
                    return True
        return False

    def _bounds(self, node: int) -> tuple[int, int]:
        early, late = int(self.earliest[node]), int(self.latest[node])
        if early <= -_FAR // 2:
            early = late - self.interval + 1 if late < _FAR // 2 else 0
        return early, late if late < _FAR // 2 else early + self.interval - 1

    def _take(self, node: int, cycle: int, choice: int, timing: OperationTiming) -> None:
        self.table.take(timing, cycle, node)
        self.cycle[node], self.choice[node] = cycle, choice
        self._bound_by(node, cycle)

    def _bound_by(self, node: int, cycle: int) -> None:
        reach = self.paths[node]
        np.maximum(self.earliest, np.where(reach > -_FAR // 2, cycle + reach, -_FAR), out=self.earliest)
        reached = self.paths[:, node]
        np.minimum(self.latest, np.where(reached > -_FAR // 2, cycle - reached, _FAR), out=self.latest)

    def _force(self, node: int, downward: bool) -> bool:
        """Put the operation somewhere and evict what stands in its way."""
        self.budget -= 1
        if self.budget < 0:
            return False
        early, late = self._bounds(node)
        cycle = late if downward else early
        if node in self.forced:  # elsewhere than last time, within one interval of where it should be
            if downward:
                cycle = late - (late - self.forced[node] + 1) % self.interval
            else:
                cycle = early + (self.forced[node] - early + 1) % self.interval
        self.forced[node] = cycle
        choice = min(
            range(len(self.graph.timings[node])),
            key=lambda c: len(self._in_the_way(node, cycle, self.graph.timings[node][c])),
        )
        timing = self.graph.timings[node][choice]
        for other in self._in_the_way(node, cycle, timing):
            self._evict(other)
        if not self.table.fits(timing, cycle):
            return False
        self._rebound()
        self._take(node, cycle, choice, timing)
        return True

    def _in_the_way(self, node: int, cycle: int, timing: OperationTiming) -> set[int]:
        """Placed operations that a placement contradicts, by dependence or by resources."""
        placed = [other for other, there in enumerate(self.cycle) if there is not None]
        there = np.array([self.cycle[other] for other in placed], np.int64)
        wrong = (there + self.paths[placed, node] > cycle) | (cycle + self.paths[node, placed] > there)
        found = {other for other, bad in zip(placed, wrong, strict=True) if bad}
        return found | self.table.in_the_way(timing, cycle)

    def _evict(self, node: int) -> None:
        cycle = self.cycle[node]
        assert cycle is not None
        self.table.release(self.graph.timings[node][self.choice[node]], cycle, node)
        self.cycle[node] = None

    def _rebound(self) -> None:
        placed = [node for node, cycle in enumerate(self.cycle) if cycle is not None]
        self.earliest[:] = -_FAR
        self.latest[:] = _FAR
        if not placed:
            return
        cycles = np.array([self.cycle[node] for node in placed], np.int64)[:, None]
        reach, reached = self.paths[placed], self.paths[:, placed].T
        self.earliest[:] = np.where(reach > -_FAR // 2, cycles + reach, -_FAR).max(axis=0)
        self.latest[:] = np.where(reached > -_FAR // 2, cycles - reached, _FAR).min(axis=0)

    def _result(self) -> ModuloSchedule:
        cycles = [cycle for cycle in self.cycle if cycle is not None]
        first = min(cycles)
        return ModuloSchedule(self.interval, [cycle - first for cycle in cycles], list(self.choice))
