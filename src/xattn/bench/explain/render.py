"""The report as text, in the order in which one asks: how far from the bound, what bounds it, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from xattn.bench.explain.record import AccessRecord, Explanation, LoopRecord
from xattn.bench.explain.timeline import timeline_text

COLUMNS = 64  # cycles in one line of the timeline
SHOWN_CYCLES = 2 * COLUMNS  # of the timeline, where not all are asked for
_SHOWN_FINDINGS, _SHOWN_STALLS, _SHOWN_PORTS = 3, 8, 3
_NONE = "–"


def as_text(report: Explanation, timeline_cycles: int | None = SHOWN_CYCLES) -> str:
    """The whole report. `timeline_cycles`: show so many cycles of the timeline at most, None for all."""
    lines = [*_title(report), *_bound(report), *_limit(report), *_loops(report), *_stalls(report), *_registers(report)]
    lines += [*_timeline(report, timeline_cycles), *_multiplies(report), *_advice(report)]
    return "\n".join(lines) + "\n"


def _title(report: Explanation) -> Iterator[str]:
    shape = f" {report.tokens}×{report.width}" if report.tokens is not None else ""
    yield f"{report.name}{shape}: cycles are {report.cycles_are}"
    verdict = {True: "; the output equals the integer model's", False: "; THE OUTPUT IS WRONG", None: ""}
    yield f"input: {report.input}{verdict[report.exact]}"
    for finding in report.findings[:_SHOWN_FINDINGS]:
        yield f"finding: {finding}"
    if len(report.findings) > _SHOWN_FINDINGS:
        yield f"… and {len(report.findings) - _SHOWN_FINDINGS} more findings; --json lists all"


def _section(title: str) -> list[str]:
    return ["", title]


def _bound(report: Explanation) -> Iterator[str]:
    bound = report.bound
    yield from _section("1. Cycles")
    yield f"   {report.cycles:,} cycles (simulated): {report.bundles:,} bundles, {report.stall_cycles:,} stalls"
    yield (
        f"   {_percent(bound.fraction)} of the MAC bound: {bound.macs:,} multiply-accumulates at 256 a cycle are "
        f"{bound.cycles:,.0f} cycles"
    )
    yield f"   ({bound.basis})"


def _limit(report: Explanation) -> Iterator[str]:
    yield from _section("2. What bounds it")
    limit = report.limit
    kind = "port" if limit.unit.isupper() else "slot"
    yield (
        f"   the {limit.unit} {kind}, taken in {_percent(limit.share)} of all cycles; nothing is issued in "
        f"{_percent(limit.empty_share)}"
    )
    rows = [("slot", "operations", "of cycles", "in the hottest loop")]
    rows += [
        (s.slot, f"{s.operations:,}", _percent(s.share), _percent(s.share_in_hottest_loop))
        for s in report.slots
        if s.operations or s.slot != "lng"
    ]
    yield from _table(rows)
    held = ", ".join(f"{port.port} {_percent(port.share)}" for port in report.ports[:_SHOWN_PORTS])
    if held:
        yield f"   ports and units held longest: {held}"
    yield from (f"   {port.port}: {port.what}" for port in report.ports if port.port == limit.unit)


def _loops(report: Explanation) -> Iterator[str]:
    yield from _section("3. Loops: II against its minima, in cycles")
    if not report.loops:
        yield "   nothing loops"
        return
    rows: list[tuple[str, ...]] = [
        ("loop", "II", "resources", "recurrence", "stages", "trips", "entered", "cycles", "share", "in fill")
    ]
    rows += [_loop_row(loop) for loop in report.loops]
    yield from _table(rows)
    yield "   II: from one iteration to the next, with stalls and inner loops; resources: the unit in brackets is taken"
    yield "   most; trips: iterations each time it is entered; cycles: with those of prologue and epilogue (fill)"


def _loop_row(loop: LoopRecord) -> tuple[str, ...]:
    name = loop.name if loop.name == loop.where else f"{loop.name} ({loop.where})"
    return (
        "  " * loop.depth + name,
        _number(loop.interval),
        f"{loop.resource_minimum} ({loop.resource_unit})",
        _NONE if loop.recurrence_minimum is None else str(loop.recurrence_minimum),
        _NONE if loop.stages is None else str(loop.stages),
        _number(loop.trips),
        f"{loop.entries:,}",
        f"{loop.cycles:,}",
        _percent(loop.share),
        _NONE if loop.fill_cycles is None else f"{loop.fill_cycles:,}",
    )


def _stalls(report: Explanation) -> Iterator[str]:
    yield from _section("4. Stalls by cause")
    if not report.stalls:
        yield "   none"
    for stall in report.stalls[:_SHOWN_STALLS]:
        met = "  with  ".join(_access(access) for access in stall.accesses)
        yield f"   {stall.cause}: {stall.cycles:,} cycles ({_percent(stall.share)})  {met}"
    if len(report.stalls) > _SHOWN_STALLS:
        rest = report.stalls[_SHOWN_STALLS:]
        lost = sum(stall.cycles for stall in rest)
        yield f"   … and {len(rest)} more places with {lost:,} cycles; --json lists all"


def _access(access: AccessRecord) -> str:
    array = f" of {access.array}" if access.array else ""
    return f"{access.operation}{array} ({access.where})"


def _registers(report: Explanation) -> Iterator[str]:
    yield from _section("5. Registers: live at once, at most, against the limit")
    used = [record for record in report.registers if record.named]
    rows = [("", *(record.file for record in used))]
    rows.append(("whole run", *(str(record.live) for record in used)))
    if report.timeline is not None:
        rows.append(("hottest loop", *(str(record.live_in_hottest_loop) for record in used)))
    rows.append(("named by the code", *(str(record.named) for record in used)))
    rows.append(("limit", *(str(record.limit) for record in used)))
    yield from _table(rows)


def _timeline(report: Explanation, most: int | None) -> Iterator[str]:
    if report.timeline is None:
        yield from _section("6. Timeline")
        yield "   nothing loops, so there is no steady state"
        return
    yield from _section(f"6. Timeline of the hottest loop, {report.timeline.loop}: {report.timeline.cycles} bundles")
    yield from (f"   {line}" if line else "" for line in timeline_text(report.timeline, COLUMNS, most))


def _multiplies(report: Explanation) -> Iterator[str]:
    yield from _section("7. Is it vectorised?")
    multiplies = report.multiplies
    shapes = ", ".join(f"{times:,} {shape}" for shape, times in multiplies.by_shape.items())
    detail = f" ({shapes}: {multiplies.vector_macs:,} multiply-accumulates)" if shapes else ""
    yield f"   {multiplies.vector:,} vector multiplies{detail}"
    yield f"   {multiplies.scalar:,} scalar multiplies"


def _advice(report: Explanation) -> Iterator[str]:
    yield from _section("8. Next lever")
    yield f"   {report.advice}"


def _percent(share: float | None) -> str:
    if share is None:
        return _NONE
    return f"{100 * share:.1f} %" if share >= 0.001 or not share else f"{100 * share:.2g} %"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns as wide as they need to be, the first one to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        yield "   " + "   ".join(cells).rstrip()
