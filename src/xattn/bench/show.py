"""Results of every kind as a person reads them. Simulated and measured figures never share a table."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from xattn.bench.record import AccuracyRecord, BenchRecord, MeasuredRecord, MeasuredRow, Result
from xattn.bench.table import MIN_WIDTH, print_bench

_NONE = "–"
_MEASURED_WIDTH = 120  # no figure is cut off


def print_result(result: Result, console: Console) -> None:
    """Print a result of any kind. Widens a console that is too narrow."""
    console.width = max(console.width, MIN_WIDTH)
    if isinstance(result, BenchRecord):
        print_bench(result, console)
    elif isinstance(result, MeasuredRecord):
        _print_measured(result, console)
    else:
        _print_accuracy(result, console)


def new_table(*columns: str, left: int = 1) -> Table:
    """A table without frames; the first `left` columns are text, the others numbers."""
    table = Table(pad_edge=False, show_edge=False, box=None)
    for i, name in enumerate(columns):
        table.add_column(name, justify="left" if i < left else "right", no_wrap=True)
    return table


def _print_accuracy(result: AccuracyRecord, console: Console) -> None:
    line(console, f"accuracy of the arithmetics: integer models, no program runs; {result.description}")
    line(console, f"{result.cases} tiles of {result.tokens}×{result.width}, each attending to itself; means over them")
    console.print()
    table = new_table("model", "cosine", "rel. L2", "worst rel. L2")
    for row in result.rows:
        table.add_row(row.name, f"{row.cosine:.4f}", f"{row.rel_l2:.4f}", f"{row.worst_rel_l2:.4f}")
    console.print(table, crop=False)
    console.print()
    for row in result.rows:
        line(console, f"{row.name}: {row.summary}")


def _print_measured(result: MeasuredRecord, console: Console) -> None:
    console.width = max(console.width, _MEASURED_WIDTH)
    made = result.provenance
    heads = "1 head" if result.heads == 1 else f"{result.heads} heads"
    line(console, f"measured on this host: {made.cpu}, {made.cpus} processors; nothing simulated, no NPU")
    line(console, f"{heads} of {result.tokens}×{result.width}; {result.description}")
    console.print()
    table = new_table(
        "implementation", "precision", "threads", "min, ms", "median", "95 % interval", "p95", "other load", "rel. L2",
        left=2,
    )  # fmt: skip
    for row in result.rows:
        table.add_row(*_measured_row(row))
    console.print(table, crop=False)
    console.print()
    for row in result.rows:
        if row.fault is not None:
            console.print(Text(f"{row.name}: {row.fault}", style="bold red"), soft_wrap=True)
    for missing in result.missing:
        line(console, missing)
    if any(row.timing is not None and row.timing.disturbed for row in result.rows):
        console.print(
            Text("!: other programs kept processors busy meanwhile: these times may be too high", style="yellow"),
            soft_wrap=True,
        )
    libraries = dict.fromkeys(row.library for row in result.rows)
    line(console, f"interval: of the median, by bootstrap; other load: in processors; made with {', '.join(libraries)}")


def _measured_row(row: MeasuredRow) -> list[str]:
    timing = row.timing
    head = [row.name, row.precision, str(row.threads)]
    if timing is None:
        return [*head, *("FAILED", *[_NONE] * 5)]
    load = _NONE if timing.other_load is None else f"{timing.other_load:.2f}{'!' if timing.disturbed else ''}"
    times = [milliseconds(timing.min), milliseconds(timing.median)]
    interval = f"{milliseconds(timing.low)}–{milliseconds(timing.high)}"
    error = _NONE if row.rel_l2 is None else f"{row.rel_l2:.4f}"
    return [*head, *times, interval, milliseconds(timing.p95), load, error]


def milliseconds(seconds: float) -> str:
    """Four digits or three decimals, in ms."""
    value = seconds * 1e3
    return f"{value:,.1f}" if value >= 100 else f"{value:.2f}" if value >= 10 else f"{value:.3f}"


def line(console: Console, text: str) -> None:
    """Print a line that is not wrapped, nor coloured."""
    console.print(Text(text), soft_wrap=True)
