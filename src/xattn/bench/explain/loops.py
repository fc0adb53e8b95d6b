"""Every loop that ran, with what bounds it: the run's figures, and the compiler's where it knows the loop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from xattn.bench.explain.bounds import (
    Busiest,
    busiest,
    busy_slots,
    recurrence_minimum,
    register_dependences,
    resource_minimum,
    single_path,
    slot_counts,
)
from xattn.bench.explain.execution import Execution, Place
from xattn.bench.explain.flow import Loop, find_loops, loop_of, nested
from xattn.bench.explain.record import LoopRecord
from xattn.bench.explain.sources import LoopSource, Sources


@dataclass(frozen=True)
class MeasuredLoop:
    """A loop, its line in the report, and what it asks of the slots in one iteration.

    `own_cycles`: in the steady state, without functions that are called; `fill_cycles`: in prologue and epilogue.
    `busy`: cycles by slot, in one iteration. `busiest`: the slot or port that is taken most, in all. `vector`: whether
    it has vector operations.
    """

    loop: Loop
    record: LoopRecord
    own_cycles: int
    fill_cycles: int
    busy: dict[str, float]
    busiest: Busiest
    vector: bool

    @property
    def minimum(self) -> int:
        """The smallest interval that resources and recurrences allow."""
        return max(self.record.resource_minimum, self.record.recurrence_minimum or 1)


def measured_loops(run: Execution, sources: Sources) -> list[MeasuredLoop]:
    """Every loop of the run, outer ones before inner ones, in order of address."""
    found = {loop.header: loop for loop in find_loops(run)}
    for header, source in sources.loops.items():
        if header not in found and header in run.bundles and source.body:  # its only round goes nowhere back
            found[header] = loop_of(run, header, set(source.body))
    return [_measured(run, sources, loop) for loop in nested(list(found.values()))]


def hottest(loops: Sequence[MeasuredLoop]) -> MeasuredLoop | None:
    """The innermost loop in which most cycles are spent; None where nothing loops."""
    return max((m for m in loops if m.loop.innermost), key=lambda m: m.own_cycles + m.fill_cycles, default=None)


def _measured(run: Execution, sources: Sources, loop: Loop) -> MeasuredLoop:
    executed = run.executed
    times = {address: executed[address] for address in loop.body}
    most = busiest(run.bundles, times)
    source = sources.loops.get(loop.header)
    if source is not None and source.port is not None and source.resource_minimum is not None:
        most = Busiest(source.port, source.resource_minimum * loop.iterations)
    busy = {slot: cycles / loop.iterations for slot, cycles in busy_slots(slot_counts(run.bundles, times)).items()}
    own = sum(times.values()) + loop.stalls
    record = _record(run, sources, loop, most)
    return MeasuredLoop(loop, record, own, record.fill_cycles or 0, busy, most, _has_vectors(run, loop))


def _has_vectors(run: Execution, loop: Loop) -> bool:
    operations = Counter(o.opcode.mnemonic for a in loop.body for o in run.bundles[a].operations)
    return any(mnemonic.startswith("v") for mnemonic in operations)


def _record(run: Execution, sources: Sources, loop: Loop, most: Busiest) -> LoopRecord:
    source = sources.loops.get(loop.header)
    path = single_path(run, loop)
    resource, recurrence = resource_minimum(run, loop), None
    if path is not None:
        recurrence = recurrence_minimum(*register_dependences(run, path), longest=len(path))
    if source is not None and source.resource_minimum is not None:
        resource, recurrence = source.resource_minimum, source.recurrence_minimum
    place = Place(loop.header, "")
    fill = _fill_cycles(run, source)
    cycles = loop.cycles + (fill or 0)
    where = f"line {source.line}" if source is not None and source.line else sources.where(place)
    return LoopRecord(
        name=source.name if source is not None else sources.where(place),
        where=where,
        address=loop.header,
        depth=loop.depth,
        innermost=loop.innermost,
        hardware=loop.hardware,
        interval=loop.interval,
        stalls=loop.stalls / loop.iterations,
        resource_minimum=resource,
        resource_unit=most.unit,
        recurrence_minimum=recurrence,
        stages=source.stages if source is not None else None,
        trips=loop.iterations / loop.entries + (source.pending if source is not None else 0),
        entries=loop.entries,
        cycles=cycles,
        share=cycles / run.cycles,
        fill_cycles=fill,
    )


def _fill_cycles(run: Execution, source: LoopSource | None) -> int | None:
    if source is None or source.stages is None:
        return None
    executed = run.executed
    return sum(executed[address] + run.stalls[address] for address in source.fill)
