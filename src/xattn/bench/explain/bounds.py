"""What a run asked of slots and ports, and how fast a loop could go: its resource and its recurrence minimum."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from xattn.bench.explain.execution import Execution
from xattn.bench.explain.flow import Loop
from xattn.bench.explain.multiplies import unread
from xattn.isa.codec import Bundle
from xattn.isa.model import Register
from xattn.isa.table import instruction_table
from xattn.isa.timing import port_cycles, timing_of

SLOTS = ("vec", "mv", "lda", "ldb", "st", "alu", "lng")

_CLEARLY_MORE = 1.02
_STICKY = "status"  # flags, which order nothing


class Dependence(NamedTuple):
    """issue(target) + distance · II ≥ issue(source) + latency; distance in iterations, latency in cycles."""

    source: int
    target: int
    latency: int
    distance: int


def slot_counts(bundles: Mapping[int, Bundle], times: Mapping[int, int]) -> Counter[str]:
    """Operations issued by slot, no-operations left out; `times` says how often each bundle was issued."""
    counts: Counter[str] = Counter()
    for address, count in times.items():
        for operation in bundles[address].operations:
            counts[operation.opcode.slot] += count
    return counts


def port_counts(bundles: Mapping[int, Bundle], times: Mapping[int, int]) -> Counter[str]:
    """Cycles in which each port or unit was held by an operation that needs it for itself."""
    counts: Counter[str] = Counter()
    for address, count in times.items():
        for operation in bundles[address].operations:
            for port, _, required in port_cycles(timing_of(operation)):
                counts[port] += count if required else 0
    return counts


def busy_slots(counts: Mapping[str, int]) -> dict[str, int]:
    """Cycles in which each slot is taken: an operation of the lng slot takes those that it lies over."""
    busy = {slot: counts.get(slot, 0) for slot in SLOTS}
    for under in instruction_table().slots["lng"].overlays:
        busy[under] += busy["lng"]
    del busy["lng"]
    return busy


class Busiest(NamedTuple):
    """What a stretch of code asks most of: a slot or port, and for how many cycles (never fewer than any other)."""

    unit: str
    cycles: int


def busiest(bundles: Mapping[int, Bundle], times: Mapping[int, int]) -> Busiest:
    """The slot that is taken most; or the port that is held longest, where that is clearly more.

    Every operation of a slot may hold a port, so that a few others that hold it too do not make it the bound.
    """
    slots = busy_slots(slot_counts(bundles, times))
    ports = port_counts(bundles, times)
    slot = max(SLOTS[:-1], key=lambda name: slots[name])
    port = max(sorted(ports), key=lambda name: ports[name], default=slot)
    name = port if ports[port] > _CLEARLY_MORE * slots[slot] else slot
    return Busiest(name, max(ports[port], slots[slot]))


def resource_minimum(run: Execution, loop: Loop) -> int:
    """The smallest whole interval that slots and ports allow a loop, each operation in the slot in which it is.

    Of inner loops everything counts that they did; functions that are called do not.
    """
    executed = run.executed
    need = busiest(run.bundles, {address: executed[address] for address in loop.body}).cycles
    return max(1, -(-need // loop.iterations))


def single_path(run: Execution, loop: Loop) -> tuple[int, ...] | None:
    """The bundles of an innermost loop in the order of execution, where each iteration goes the same way; else None."""
    if loop.inner or loop.calls:
        return None
    body = set(loop.body)
    following: dict[int, set[int]] = defaultdict(set)
    for source, target in run.edges:
        if source in body and target in body:
            following[source].add(target)
    path = [loop.header]
    while len(path) <= len(body):
        targets = following[path[-1]]
        if len(targets) != 1:
            return None
        (target,) = targets
        if target == loop.header:
            return tuple(path) if len(path) == len(body) else None
        path.append(target)
    return None


def register_dependences(run: Execution, path: Sequence[int]) -> tuple[int, list[Dependence]]:
    """Operations of a loop body, and which one's result reaches which, `distance` iterations later.

    `path`: the bundles of one iteration. In the steady state each read takes the value that landed last, which tells
    the writer and the iteration it belongs to. Memory is left out: addresses are not known.
    """
    interval = len(path)
    nodes = 0
    writes: dict[Register, list[tuple[int, int, int, str | None]]] = defaultdict(list)  # node, bundle, cycle, bypass
    reads: list[tuple[Register, int, int, int, str | None]] = []
    for place, address in enumerate(path):
        for operation in run.bundles[address].operations:
            timing = timing_of(operation)
            ignored = unread(operation, run.words.get(address))
            for write in timing.writes:
                for leaf in write.register.storage:
                    writes[leaf].append((nodes, place, write.cycle, write.bypass))
            for read in timing.reads:
                wanted = set(read.register.storage) - ignored
                reads += [(leaf, nodes, place, read.cycle, read.bypass) for leaf in wanted]
            nodes += 1
    found: set[Dependence] = set()
    for leaf, reader, place, cycle, bypass in reads:
        if leaf.file == _STICKY or leaf not in writes:
            continue
        now = place + cycle - 1
        candidates = []
        for writer, written, landing, handed in writes[leaf]:
            early = bypass is not None and bypass == handed
            ago = (now + early - written - landing) // interval  # whole iterations before the last landing, or after
            candidates.append((written + landing + ago * interval, writer, landing - cycle + 1 - early, -ago))
        _, writer, latency, distance = max(candidates)
        found.add(Dependence(writer, reader, latency, distance))
    return nodes, sorted(found)


def recurrence_minimum(nodes: int, dependences: Iterable[Dependence], longest: int) -> int:
    """The smallest interval that the cycles of dependences allow, at most `longest`, at which they must be met."""
    edges = list(dependences)
    if not edges:
        return 1
    source, target, latency, distance = (np.array(column, np.int64) for column in zip(*edges, strict=True))

    def possible(interval: int) -> bool:
        """No cycle of dependences asks for more: longest paths settle."""
        start = np.zeros(nodes, np.int64)
        weight = latency - interval * distance
        for _ in range(nodes + 1):
            then = start.copy()
            np.maximum.at(then, target, start[source] + weight)
            if (then == start).all():
                return True
            start = then
        return False

    low, high = 1, longest
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if possible(middle) else (middle + 1, high)
    return low
