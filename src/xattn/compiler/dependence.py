"""Which operation must wait for which, and how long: the dependence graph of a block or of a loop body.

An edge (source, target, latency, distance) demands issue(target) + distance * II >= issue(source) + latency, where
distance counts loop iterations. Latencies may be zero or negative: late reads and late writes make it legal for a
consumer of an old value to be issued after the producer of the new one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from xattn.compiler.ir import Affine, Counter, Location, Loop, MemoryReference, Operation
from xattn.compiler.machine import LocationAccess, OperationTiming, timings

Terms = tuple[tuple[Counter, int], ...]  # of an offset


@dataclass(frozen=True, slots=True)
class Edge:
    """issue(target) + distance * II >= issue(source) + latency; nodes are positions in program order."""

    source: int
    target: int
    latency: int
    distance: int


@dataclass
class Graph:
    """A block's operations with the timing of their choices and the edges between them."""

    operations: list[Operation]
    timings: list[tuple[OperationTiming, ...]]
    edges: list[Edge]


def build_graph(operations: list[Operation], loop: Loop | None = None, early: bool = False) -> Graph:
    """The dependence graph of a block; with `loop`, of its body, edges to the next iterations included.

    `early`: a write may not even be issued before the last read of the old value (else it only may not land before).
    """
    all_timings = [timings(operation) for operation in operations]
    strongest: dict[tuple[int, int, int], int] = {}

    def add(source: int, target: int, latency: int, distance: int) -> None:
        key = (source, target, distance)
        strongest[key] = max(latency, strongest.get(key, latency))

    for source, target, latency, distance in _register_edges(all_timings, loop is not None, early):
        add(source, target, latency, distance)
    for source, target, latency, distance in _memory_edges(operations, all_timings, loop):
        add(source, target, latency, distance)
    edges = [Edge(s, t, latency, d) for (s, t, d), latency in strongest.items()]
    return Graph(operations, all_timings, edges)


def _register_edges(
    all_timings: list[tuple[OperationTiming, ...]], carried: bool, early: bool
) -> Iterator[tuple[int, int, int, int]]:
    """Walk program order (twice when values are carried round the loop), remembering who wrote and read what last."""
    last_write: dict[Location, tuple[int, int, LocationAccess]] = {}
    reads_since: dict[Location, list[tuple[int, int, LocationAccess]]] = defaultdict(list)
    for iteration in range(2 if carried else 1):
        for node, (timing, *_) in enumerate(all_timings):
            for read in timing.reads:
                if read.location in last_write:
                    source, then, write = last_write[read.location]
                    if (source, then) != (node, iteration) and iteration - then <= 1:
                        bypassed = write.bypass is not None and write.bypass == read.bypass
                        yield source, node, write.cycle - read.cycle + 1 - bypassed, iteration - then
                reads_since[read.location].append((node, iteration, read))
            for write in timing.writes:
                for source, then, read in reads_since[write.location]:
                    if (source, then) != (node, iteration):
                        forwarded = write.bypass is not None and write.bypass == read.bypass
                        lands = 1 if early else write.cycle - forwarded
                        yield source, node, read.cycle - lands, iteration - then
                if write.location in last_write:
                    source, then, earlier = last_write[write.location]
                    yield source, node, earlier.cycle - write.cycle + 1, iteration - then
                last_write[write.location] = (node, iteration, write)
                reads_since[write.location] = []


def _memory_edges(
    operations: list[Operation], all_timings: list[tuple[OperationTiming, ...]], loop: Loop | None
) -> Iterator[tuple[int, int, int, int]]:
    touching = [(node, op.memory) for node, op in enumerate(operations) if op.memory is not None]
    for index, (first, memory) in enumerate(touching):
        for second, other in touching[index:]:
            if memory.array is not other.array or not (memory.is_store or other.is_store):
                continue
            for source, target, distance in _conflicts((first, memory), (second, other), loop):
                yield source, target, _memory_latency(all_timings[source][0], all_timings[target][0]), distance


def _memory_latency(source: OperationTiming, target: OperationTiming) -> int:
    return max(source.memory_cycles) - min(target.memory_cycles) + 1


def _conflicts(
    first: tuple[int, MemoryReference], second: tuple[int, MemoryReference], loop: Loop | None
) -> Iterator[tuple[int, int, int]]:
    """(source, target, distance) for every way in which two references (in program order) may touch the same bytes."""
    (a, one), (b, two) = first, second
    if a != b and _overlap(one, two, loop, 0):
        yield a, b, 0
    if loop is None:
        return
    reach = min(loop.trips - 1, 8)  # a stage count beyond eight does not occur
    for source, target, x, y in ((a, b, one, two), (b, a, two, one)):
        for distance in range(1, reach + 1):
            if _overlap(x, y, loop, distance):
                yield source, target, distance
                break
        if a == b:
            break


def _overlap(x: MemoryReference, y: MemoryReference, loop: Loop | None, distance: int) -> bool:
    """Whether x now and y `distance` iterations of `loop` later may touch a common byte. Unknown offsets may."""
    if x.offset is None or y.offset is None:
        return True
    same_terms = x.offset.terms == y.offset.terms
    if not same_terms and (loop is None or _outside(x.offset, loop) != _outside(y.offset, loop)):
        return True
    ahead = y.offset.constant - x.offset.constant
    if loop is None:
        return -y.bytes < ahead < x.bytes
    return any(-y.bytes < ahead + move < x.bytes for move in _moves(x.offset.terms, y.offset.terms, loop, distance))


@lru_cache(maxsize=4096)
def _moves(x: Terms, y: Terms, loop: Loop, distance: int) -> frozenset[int]:
    """How far an offset with terms `y` can be ahead of one with terms `x`, so many iterations later."""
    here, there = Affine(0, x), Affine(0, y)
    # with one counter and the same terms it is the same from every trip on
    starts = range(1 if x == y and len(loop.shape) == 1 else loop.trips - distance)
    return frozenset(there.at(loop, trip + distance) - here.at(loop, trip) for trip in starts)


def _outside(offset: Affine, loop: Loop) -> list[tuple[Counter, int]]:
    """The terms that the counters of other loops have in an offset."""
    return [(counter, factor) for counter, factor in offset.terms if counter.loop is not loop]
