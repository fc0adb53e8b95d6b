"""The tables beside the charts: the same figures as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xattn.bench.record import PEAK_MACS_PER_CYCLE
from xattn.bench.report.charts import roofline_points, stage_shares
from xattn.bench.report.contents import Contents

_NONE = "–"


@dataclass(frozen=True)
class Table:
    """Columns and rows of text; the first cell of a row names it. `open`: shown without being asked for."""

    caption: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    open: bool = False


def ladder_table(contents: Contents) -> Table:
    """One row a kernel, and one for each recorded figure."""
    columns = ("kernel", "exact", "cycles", "µs", "MAC bound", "of peak", "speed-up", "stalls", "program bytes")
    rows: list[tuple[str, ...]] = []
    for page in contents.pages:
        r = page.record
        rows.append(
            (
                r.name,
                "yes" if r.passed else "NO" if r.cycles is not None else "FAILED",
                _number(r.cycles),
                _NONE if r.seconds is None else f"{r.seconds * 1e6:,.1f}",
                f"{page.bound:,.0f}",
                _percent(r.peak_fraction),
                _NONE if r.speedup is None else f"{r.speedup:,.2f}×",
                _number(r.stalls),
                _number(r.program_bytes),
            )
        )
    for other in contents.bench.recorded:
        speedup = _NONE if other.speedup is None else f"{other.speedup:,.2f}×"
        cells = ("not run", _number(other.cycles), f"{other.seconds * 1e6:,.1f}", _NONE)
        rows.append((f"{other.name} (recorded)", *cells, _percent(other.peak_fraction), speedup, _NONE, _NONE))
    return Table("Cycles of the kernels", columns, rows, open=True)


def roofline_table(contents: Contents) -> Table:
    """One row a traced run."""
    moved = {page.record.name: page.traced.memory_bytes for page in contents.pages if page.traced is not None}
    rows = [
        (name, _number(moved[name]), f"{intensity:.3g}", f"{rate:.3g}", f"{100 * rate / PEAK_MACS_PER_CYCLE:.2f} %")
        for name, intensity, rate in roofline_points(contents)
    ]
    columns = ("kernel", "bytes moved", "MACs a byte", "MACs a cycle", "of peak")
    return Table("Roofline", columns, rows)


def stage_table(contents: Contents) -> Table:
    """One row for each stage of each kernel, with what it has alone and in all."""
    rows: list[tuple[str, ...]] = []
    for page in contents.pages:
        if page.traced is None:
            continue
        total = page.traced.stages.cycles
        for names, cycles in stage_shares(page):
            what = " + ".join(names) if names else "no stage"
            rows.append((page.record.name, what, _number(cycles), _percent(cycles / total)))
    columns = ("kernel", "stage, alone or at once", "cycles", "share")
    return Table("Cycles by stage", columns, rows)


def accuracy_table(contents: Contents) -> Table:
    """One row for each kernel that attends."""
    rows = [
        (r.name, f"{r.rel_l2:.4f}", f"{r.cosine:.5f}")
        for r in contents.bench.kernels
        if r.rel_l2 is not None and r.cosine is not None
    ]
    return Table("Accuracy against float attention", ("kernel", "relative L2 error", "cosine"), rows)


def _number(value: int | None) -> str:
    return _NONE if value is None else f"{value:,}"


def _percent(share: float | None) -> str:
    return _NONE if share is None else f"{100 * share:.2f} %"
