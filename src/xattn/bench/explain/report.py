"""From a run to the report: each part of it is made in a module of its own and put in its place here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from xattn import __version__
from xattn.bench.explain.bounds import SLOTS, busiest, busy_slots, port_counts, slot_counts
from xattn.bench.explain.execution import Execution
from xattn.bench.explain.levers import PEAK_MACS_PER_CYCLE, Figures, levers
from xattn.bench.explain.loops import MeasuredLoop, hottest, measured_loops
from xattn.bench.explain.multiplies import is_multiply, is_scalar_multiply, shape_of
from xattn.bench.explain.record import (
    BoundRecord,
    Explanation,
    LimitRecord,
    MultiplyRecord,
    PortRecord,
    RegisterRecord,
    SlotRecord,
)
from xattn.bench.explain.registers import live_registers, most_live, named_registers, register_files
from xattn.bench.explain.sources import Sources
from xattn.bench.explain.stalls import stall_records
from xattn.bench.explain.timeline import timeline_of
from xattn.bench.record import CYCLES_ARE
from xattn.isa.table import ports

_COUNTED = "counted in the run: those of the vector multiplier, and every scalar multiply as one"


@dataclass(frozen=True)
class Subject:
    """What the report is about. `macs`: what the mathematics needs, None where nobody says."""

    name: str
    kind: str
    input: str
    tokens: int | None = None
    width: int | None = None
    macs: int | None = None
    exact: bool | None = None
    findings: Sequence[str] = ()


def explain(run: Execution, sources: Sources, subject: Subject) -> Explanation:
    """The report of a run."""
    executed = run.executed
    loops = measured_loops(run, sources)
    hot = hottest(loops)
    multiplies = _multiplies(run, executed)
    bound = _bound(run, subject, multiplies)
    stalls = stall_records(run, sources)
    registers = _registers(run, hot)
    ours = subject.kind == "kernel"
    outside = _outside(run, loops)
    found = levers(
        Figures(
            cycles=run.cycles,
            bound_cycles=bound.cycles,
            loops=loops,
            stalls=stalls,
            registers=registers,
            multiplies=multiplies,
            outside_cycles=sum(times + run.stalls[address] for address, times in outside.items()),
            outside_busy=busiest(run.bundles, outside).cycles,
            ours=ours,
        )
    )
    return Explanation(
        xattn=__version__,
        name=subject.name,
        kind=subject.kind,
        tokens=subject.tokens,
        width=subject.width,
        input=subject.input,
        cycles_are=CYCLES_ARE,
        exact=subject.exact,
        cycles=run.cycles,
        bundles=sum(executed.values()),
        stall_cycles=sum(run.stalls.values()),
        bound=bound,
        limit=_limit(run, executed),
        slots=_slots(run, executed, hot),
        ports=_ports(run, executed),
        loops=[measured.record for measured in loops],
        stalls=stalls,
        registers=registers,
        timeline=timeline_of(run, hot) if hot is not None else None,
        multiplies=multiplies,
        advice=found[0].advice,
        levers=found,
        findings=list(subject.findings),
    )


def _outside(run: Execution, loops: Sequence[MeasuredLoop]) -> dict[int, int]:
    """The bundles that are in no innermost loop, and how often they were issued."""
    inside = {address for measured in loops if measured.loop.innermost for address in measured.loop.body}
    return {address: times for address, times in run.executed.items() if address not in inside}


def _multiplies(run: Execution, executed: Counter[int]) -> MultiplyRecord:
    by_shape: Counter[str] = Counter()
    macs = scalar = 0
    for address, times in executed.items():
        for operation in run.bundles[address].operations:
            if is_multiply(operation):
                shape = shape_of(operation, run.words.get(address))
                by_shape[shape.name] += times
                macs += shape.macs * times
            elif is_scalar_multiply(operation):
                scalar += times
    return MultiplyRecord(vector=sum(by_shape.values()), vector_macs=macs, by_shape=dict(by_shape), scalar=scalar)


def _bound(run: Execution, subject: Subject, multiplies: MultiplyRecord) -> BoundRecord:
    if subject.macs is not None:
        macs, basis = subject.macs, "what the mathematics needs"
    else:
        macs, basis = multiplies.vector_macs + multiplies.scalar, _COUNTED
    cycles = macs / PEAK_MACS_PER_CYCLE
    return BoundRecord(cycles=cycles, macs=macs, fraction=cycles / run.cycles, basis=basis)


def _limit(run: Execution, executed: Counter[int]) -> LimitRecord:
    most = busiest(run.bundles, executed)
    issuing = sum(times for address, times in executed.items() if run.bundles[address].operations)
    return LimitRecord(unit=most.unit, share=most.cycles / run.cycles, empty_share=1 - issuing / run.cycles)


def _slots(run: Execution, executed: Counter[int], hot: MeasuredLoop | None) -> list[SlotRecord]:
    counts = slot_counts(run.bundles, executed)
    busy = busy_slots(counts) | {"lng": counts["lng"]}
    inside: dict[str, float] = {}
    if hot is not None:
        times = {address: executed[address] for address in hot.loop.body}
        there = slot_counts(run.bundles, times)
        inside = {s: n / hot.own_cycles for s, n in (busy_slots(there) | {"lng": there["lng"]}).items()}
    return [
        SlotRecord(
            slot=slot,
            operations=counts[slot],
            share=busy[slot] / run.cycles,
            share_in_hottest_loop=inside.get(slot),
        )
        for slot in SLOTS
    ]


def _ports(run: Execution, executed: Counter[int]) -> list[PortRecord]:
    counts = port_counts(run.bundles, executed)
    return [
        PortRecord(port=port, what=ports()[port], cycles=cycles, share=cycles / run.cycles)
        for port, cycles in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        if cycles
    ]


def _registers(run: Execution, hot: MeasuredLoop | None) -> list[RegisterRecord]:
    live = live_registers(run)
    everywhere = most_live(live, live)
    named = named_registers(run)
    inside = most_live(live, hot.loop.body) if hot is not None else None
    return [
        RegisterRecord(
            file=file.name,
            limit=file.size,
            named=file.live(named),
            live=everywhere[file.name],
            live_in_hottest_loop=inside[file.name] if inside is not None else None,
        )
        for file in register_files()
    ]
