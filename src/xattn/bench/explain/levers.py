"""What would make a program faster: levers, each with the cycles that it could save at most. The largest is advised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xattn.bench.explain.loops import MeasuredLoop, hottest
from xattn.bench.explain.record import LeverRecord, MultiplyRecord, RegisterRecord, StallRecord

PEAK_MACS_PER_CYCLE = 256  # int8 × int8 on one AIE2 core: AMD AM020
_WORTHWHILE = 0.05  # of all cycles: below that there is no lever, only the rest of prologue and epilogue
_FULL = 0.9  # of the cycles of a loop: the vec slot has no room left
_SLOT_HELP = {
    "mv": "shuffles, srs and moves share it: merge shuffles, or let lda, vst.srs and alu do some of the work",
    "lda": "load wider, or by ldb as well",
    "ldb": "load by lda as well, or keep operands in registers for more products (a larger register block)",
    "st": "store wider, or keep results in registers",
    "alu": "move scalar work to other slots (mv, lda) or to vectors",
}


@dataclass(frozen=True)
class Figures:
    """The numbers that the rules look at.

    `outside_cycles`: those that are in no innermost loop's steady state; `outside_busy`: of those, how long the unit
    that is busiest there would take if nothing else held it up.
    """

    cycles: int
    bound_cycles: float
    loops: Sequence[MeasuredLoop]
    stalls: Sequence[StallRecord]
    registers: Sequence[RegisterRecord]
    multiplies: MultiplyRecord
    outside_cycles: int
    outside_busy: int
    ours: bool  # a kernel in the kernel language, not a foreign program

    def percent(self, cycles: float) -> str:
        """A share of all cycles."""
        return f"{100 * cycles / self.cycles:.0f} %"

    @property
    def innermost(self) -> list[MeasuredLoop]:
        """Loops without loops in them."""
        return [measured for measured in self.loops if measured.loop.innermost]


def levers(figures: Figures) -> list[LeverRecord]:
    """All levers, the largest first; the last word when none is worth while."""
    rules = (_no_vector_mac, _scalar_loops, _bank_stalls, _slow_loops, _outside_loops)
    found = sorted((lever for rule in rules for lever in rule(figures)), key=lambda lever: -lever.cycles)
    worthwhile = [lever for lever in found if lever.cycles >= _WORTHWHILE * figures.cycles]
    return worthwhile or [_nothing_left(figures)]


def _no_vector_mac(figures: Figures) -> Iterator[LeverRecord]:
    scalar = figures.multiplies.scalar
    if figures.multiplies.vector or not scalar:
        return
    how = "k.product of 4×8 and 8×8 blocks, as in kernel vectorized" if figures.ours else "aie::mmul<4, 8, 8>"
    yield LeverRecord(
        kind="vectorise",
        cycles=round(figures.cycles - figures.bound_cycles),
        advice=f"no vector MAC is used: {scalar:,} scalar multiplies do what the vector multiplier does "
        f"{PEAK_MACS_PER_CYCLE} of in a cycle; form the products on it ({how})",
    )


def _scalar_loops(figures: Figures) -> Iterator[LeverRecord]:
    scalar = [m for m in figures.innermost if not m.vector]
    if not figures.multiplies.vector or not scalar:
        return
    cycles = sum(m.own_cycles + m.fill_cycles for m in scalar)
    worst = hottest(scalar)
    assert worst is not None
    yield LeverRecord(
        kind="scalar loops",
        cycles=cycles,
        advice=f"{figures.percent(cycles)} of cycles go to loops without a vector operation: vectorise "
        f"{_called(worst)} next ({figures.percent(worst.own_cycles + worst.fill_cycles)})",
    )


def _bank_stalls(figures: Figures) -> Iterator[LeverRecord]:
    lost = sum(stall.cycles for stall in figures.stalls if stall.cause == "bank")
    if not lost:
        return
    worst = next(stall for stall in figures.stalls if stall.cause == "bank")
    arrays = list(dict.fromkeys(access.array for access in worst.accesses if access.array))
    if len(arrays) > 1:
        what = f"put {' and '.join(arrays)} in different banks (bank=)"
    elif arrays:
        what = f"{arrays[0]} is accessed twice in one cycle: split it over two banks, or load it in one slot only"
    else:
        met = " and ".join(f"{access.operation} ({access.where})" for access in worst.accesses)
        what = f"put what these touch in different banks: {met}"
    yield LeverRecord(
        kind="bank stalls", cycles=lost, advice=f"bank stalls take {figures.percent(lost)} of cycles: {what}"
    )


def _slow_loops(figures: Figures) -> Iterator[LeverRecord]:
    """For each innermost loop: above its minimum; or at it, and held there by a recurrence, or by a unit but vec."""
    for measured in figures.innermost:
        record, passes = measured.record, measured.loop.iterations
        interval, resource = record.interval - record.stalls, record.resource_minimum
        recurrence = record.recurrence_minimum or 1
        yield LeverRecord(
            kind="schedule",
            cycles=round((interval - measured.minimum) * passes),
            advice=f"{_called(measured)} takes {interval:.4g} cycles an iteration, its resources allow {resource} and "
            f"its recurrences {recurrence}: {_how_to_schedule(figures, measured)}",
        )
        yield LeverRecord(
            kind="recurrence",
            cycles=(recurrence - resource) * passes,
            advice=f"a recurrence of {recurrence} cycles bounds {_called(measured)}, resources allow {resource}: "
            "break the chain into several (more accumulators, partial sums)",
        )
        vec = measured.busy["vec"]
        if measured.vector and measured.busiest.unit != "vec":
            unit, busy = record.resource_unit, measured.busiest.cycles / passes
            how = _SLOT_HELP.get(unit, "use operations that do not need it")
            how = "spread its arrays over several banks (bank=)" if unit.startswith("bank") else how
            yield LeverRecord(
                kind="slot",
                cycles=round((min(busy, interval) - vec) * passes),
                advice=f"{_the(unit)} bounds {_called(measured)}: it is busy for {busy:.4g} of "
                f"{interval:.4g} cycles, vec for {vec:.4g}; {how}",
            )


def _how_to_schedule(figures: Figures, measured: MeasuredLoop) -> str:
    full = [r.file for r in figures.registers if (r.live_in_hottest_loop or 0) >= r.limit]
    if full and measured is hottest(figures.loops):
        return f"the {', '.join(full)} registers are full: unroll less, or keep fewer values alive"
    if (measured.record.stages or 1) > 1:
        return "its iterations overlap, but a tighter schedule may exist"
    return "overlap its iterations (software pipelining)"


def _outside_loops(figures: Figures) -> Iterator[LeverRecord]:
    outside = figures.outside_cycles
    saved = outside - figures.outside_busy
    hot = hottest(figures.loops)
    if hot is None:
        advice = "nothing loops: every cycle is straight code, whose latencies nothing overlaps"
        yield LeverRecord(kind="outside loops", cycles=saved, advice=advice)
        return
    most = max(figures.innermost, key=lambda m: m.fill_cycles)
    fill = most.fill_cycles
    vec = hot.busy["vec"] / hot.record.interval
    advice = f"the vec slot is {100 * vec:.0f} % busy in the hottest loop, but " if vec >= _FULL else ""
    advice += f"{figures.percent(outside)} of cycles lie outside of the innermost loops' steady state"
    if fill:
        advice += f", {figures.percent(fill)} in prologue and epilogue of {_called(most)}"
    if most.loop.entries > 1:
        advice += ": run nested loops as one" + (" (k.grid)" if figures.ours else "")
    else:
        advice += ": let it run longer, or overlap it with what comes before and after"
    yield LeverRecord(kind="outside loops", cycles=saved, advice=advice)


def _nothing_left(figures: Figures) -> LeverRecord:
    hot = hottest(figures.loops)
    if hot is None:
        return LeverRecord(kind="none", cycles=0, advice="no lever was found")
    unit = hot.record.resource_unit
    share = hot.busiest.cycles / hot.loop.iterations / hot.record.interval
    return LeverRecord(
        kind="none",
        cycles=0,
        advice=f"{_the(unit)} is {100 * share:.0f} % busy in {_called(hot)}, the hottest: nothing left but "
        "prologue and epilogue",
    )


def _called(measured: MeasuredLoop) -> str:
    return f"loop {measured.record.name}"


def _the(unit: str) -> str:
    """A slot, a port or a memory bank as a sentence calls it."""
    return unit if unit.startswith("bank") else f"the {unit} {'port' if unit.isupper() else 'slot'}"
