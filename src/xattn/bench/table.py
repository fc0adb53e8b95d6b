"""The benchmark as a person reads it: what was run, one row a kernel, and what the figures mean."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from xattn.bench.record import BenchRecord, InputRecord, KernelRecord, RecordedRecord

MIN_WIDTH = 104  # a figure is never cut off; a narrow terminal wraps the line
_NONE = "–"
_EXACT_IN = {
    1: "in one run on this tile",
    2: "in two runs on this tile",
    3: "in two runs on this tile and one on another",
}
_ABOUT_BLOCKS = (
    "64 more keys of the head for 64 queries; Q, K and V int8 with scales of channels; exact is the whole state (sums, "
    "running sums, references), accurate what division makes of it, over all keys so far; that division, once a "
    "sequence, is not counted, so no speed-up is given over a whole attention of 64 tokens"
)


def print_bench(record: BenchRecord, console: Console) -> None:
    """Print header, table, findings and what Amdahl's law leaves. Widens a console that is too narrow."""
    console.width = max(console.width, MIN_WIDTH)
    for line in header_lines(record):
        console.print(Text(line), soft_wrap=True)
    console.print(_table(record), crop=False)
    for kernel in record.kernels:
        for fault in kernel.faults:
            console.print(Text(f"{kernel.name}: {fault}", style="bold red"), soft_wrap=True)
        for warning in kernel.warnings:
            console.print(Text(f"{kernel.name}: {warning}", style="yellow"), soft_wrap=True)
    for line in footer_lines(record):
        console.print(Text(line), soft_wrap=True)


def header_lines(record: BenchRecord) -> list[str]:
    """What was run: activations, tile, arithmetic, and what cycles and times are."""
    tile = record.input
    lines = [
        f"model   {tile.description}",
        f"input   {_place(tile)}",
        f"tile    {tile.tokens}×{tile.width}, attending to itself; Q, K, V int8 with one scale a head each; "
        f"scores shifted right by {tile.shift}",
        f"cycles  {record.cycles_are}; µs at {_clock(record.clock_hz)}; nothing ran on an NPU",
    ]
    return [*lines, *(f"note    {note}" for note in tile.notes), ""]


def footer_lines(record: BenchRecord) -> list[str]:
    """What the columns and the recorded row mean, and what Amdahl's law leaves."""
    lines = [""]
    if any(kernel.exact for kernel in record.kernels):
        where = _EXACT_IN[min(kernel.runs for kernel in record.kernels)]
        lines.append(f"exact: every element equals the integer model's, {where}")
    lines.append("cosine, rel. L2: dequantized output against float attention on the original floats")
    blocks = [kernel for kernel in record.kernels if kernel.computes == "block"]
    lines += [f"{kernel.name}: {kernel.summary}" for kernel in blocks]
    if blocks:
        lines.append(f"{', '.join(kernel.name for kernel in blocks)}: {_ABOUT_BLOCKS}")
    if products := [kernel.name for kernel in record.kernels if kernel.computes in ("scores", "product")]:
        lines.append(
            f"{', '.join(products)}: one matrix product, not attention: nothing to compare its speed or accuracy"
        )
    lines += [f"{recorded.name}: {recorded.origin}" for recorded in record.recorded]
    if (amdahl := record.amdahl) is not None:
        lines.append(
            f"Amdahl: Q·Kᵀ is {amdahl.scores_fraction:.1%} of baseline's cycles, so alone it cannot give more than "
            f"{amdahl.limit:.2f}× (the seed claims 2–3×); {amdahl.kernel} reaches {amdahl.reached:.2f}×"
        )
    lines += [f"note: {note}" for note in record.notes]
    return lines


def _place(tile: InputRecord) -> str:
    tokens = f"tokens {tile.first_token}–{tile.first_token + tile.tokens - 1} of {tile.head_tokens:,}"
    if tile.clip is None:
        return tokens
    return f"{tile.clip} ({tile.clip_seconds:.1f} s), encoder layer {tile.layer}, head {tile.head}, {tokens}"


def _clock(hertz: float) -> str:
    return f"{hertz / 1e9:g} GHz" if hertz >= 1e9 else f"{hertz / 1e6:g} MHz"


def _table(record: BenchRecord) -> Table:
    real = record.input.source == "speech"
    table = Table(
        title=None if real else "SYNTHETIC activations", title_justify="left", pad_edge=False, show_edge=False, box=None
    )
    table.add_column("kernel", no_wrap=True)
    table.add_column("exact", no_wrap=True)
    for name in (
        "cycles",
        "µs",
        "of peak",
        "speed-up",
        *(["vs recorded"] if record.recorded else []),
        "cosine",
        "rel. L2",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for kernel in record.kernels:
        table.add_row(*_kernel_row(kernel, bool(record.recorded), real))
    for recorded in record.recorded:
        table.add_row(*_recorded_row(recorded), style="dim")
    return table


def _kernel_row(kernel: KernelRecord, with_recorded: bool, real: bool) -> list[str | Text]:
    verdict = (
        Text("yes", "green") if kernel.passed else Text("NO" if kernel.cycles is not None else "FAILED", "bold red")
    )
    return [
        kernel.name if real else f"{kernel.name} (synthetic)",
        verdict,
        *_rates(kernel.cycles, kernel.seconds, kernel.peak_fraction, kernel.speedup),
        *([_times(kernel.speedup_over_recorded)] if with_recorded else []),
        _NONE if kernel.cosine is None else f"{kernel.cosine:.4f}",
        _NONE if kernel.rel_l2 is None else f"{kernel.rel_l2:.4f}",
    ]


def _recorded_row(recorded: RecordedRecord) -> list[str | Text]:
    rates = _rates(recorded.cycles, recorded.seconds, recorded.peak_fraction, recorded.speedup)
    return [f"{recorded.name} (recorded)", "not run", *rates, _times(1.0), _NONE, _NONE]


def _rates(cycles: int | None, seconds: float | None, peak: float | None, speedup: float | None) -> list[str | Text]:
    return [
        _NONE if cycles is None else f"{cycles:,}",
        _NONE if seconds is None else f"{seconds * 1e6:,.1f}",
        _NONE if peak is None else f"{100 * peak:.2f} %",
        _times(speedup),
    ]


def _times(factor: float | None) -> str:
    return _NONE if factor is None else f"{factor:.2f}×"
