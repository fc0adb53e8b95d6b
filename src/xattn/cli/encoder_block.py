"""`xattn bench --encoder-block`: a whole block of Whisper's encoder in int8, on real speech."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xattn.cli.files import indented_json, require_writable, write_bytes
from xattn.cli.progress import progress_bar
from xattn.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from xattn.whisper.block_report import EncoderBlockRecord

_WIDTH = 110


@dataclass(frozen=True)
class Request:
    """The options of the same names."""

    layer: int | None
    token: int | None
    audio: str | None
    scales_from: str | None
    weights: str | None
    clock_hz: float
    quick: bool
    json: str | None


def refuse_others(**options: object) -> None:
    """InputError for options that mean nothing here, where they are given."""
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value]
    if given:
        have = "has" if len(given) == 1 else "have"
        raise InputError(f"{' and '.join(given)} {have} no effect with --encoder-block: leave it out")


def bench_encoder_block(request: Request) -> bool:
    """Measure, print, write; whether kernels computed what the models did."""
    from rich.console import Console

    from xattn.whisper import find_weights, jfk_path, load_audio
    from xattn.whisper.block_report import measure_encoder_block

    if request.json is not None:
        require_writable(request.json)
    source = find_weights(None if request.weights is None else Path(request.weights))
    if source is None:
        raise InputError("no Whisper weights were found: name a file or folder with --weights, or set XATTN_WEIGHTS")
    clip = load_audio(jfk_path() if request.audio is None else Path(request.audio))
    calibration = None if request.scales_from is None else load_audio(Path(request.scales_from))
    with progress_bar("preparing") as steps:
        record = measure_encoder_block(
            source.load(),
            clip,
            request.layer or 0,
            request.token or 0,
            calibration=calibration,
            clock_hz=request.clock_hz,
            kernels=not request.quick,
            progress=steps,
        )
    console = Console(stderr=request.json == "-")
    console.width = max(console.width, _WIDTH)
    show(record, source.describe(), console)
    if request.json is not None:
        write_bytes(request.json, indented_json(record))
    return record.passed


def show(record: EncoderBlockRecord, description: str, console: Console) -> None:
    """The record for people."""
    from xattn.whisper.block_report import WHAT

    def line(text: str) -> None:
        console.print(text, soft_wrap=True, highlight=False)

    line(f"model   {description}")
    line(
        f"input   {record.clip}, encoder layer {record.layer}, all {record.tokens:,} tokens; "
        f"scales from {record.calibration}"
    )
    line("int8    all products; the residual stream int16; the same integers in models and kernels\n")
    table = _table(("step", "what", "rel. L2", "cosine"))
    for step in record.steps:
        table.add_row(step.name, WHAT[step.name], f"{step.rel_l2:.4f}", f"{step.cosine:.5f}")
    console.print(table)
    line("\nagainst the float block on the same input, errors of all steps before included")
    if record.kernels:
        _show_kernels(record, console, line)
    else:
        line("only the models ran; without --quick, kernels run too")


def _show_kernels(record: EncoderBlockRecord, console: Console, line: Callable[[str], None]) -> None:
    last = record.first + 63
    line(
        f"\nkernels on tokens {record.first}–{last}, attending to all; cycles simulated, one AIE2 core; "
        "nothing ran on an NPU\n"
    )
    table = _table(("kernel", "calls", "cycles", "share", "a call", "multiplier"))
    for kernel in record.kernels:
        table.add_row(
            kernel.name,
            f"{kernel.calls:,}",
            f"{kernel.cycles:,}",
            f"{kernel.cycles / record.cycles:.1%}",
            f"{kernel.cycles / kernel.calls:,.0f}",
            f"{kernel.least / kernel.cycles:.1%}",
        )
    least = sum(kernel.least for kernel in record.kernels)
    calls = sum(kernel.calls for kernel in record.kernels)
    table.add_row("together", f"{calls:,}", f"{record.cycles:,}", "", "", f"{least / record.cycles:.1%}")
    console.print(table)
    ms = record.cycles / record.clock_hz * 1e3
    wrong = {name: count for name, count in record.wrong.items() if count}
    line("\nmultiplier: how much of the time the one multiplier is busy; no program can be faster than it")
    line(
        f"{record.cycles / 64:,.0f} cycles a token, {ms:.2f} ms for 64 at {record.clock_hz / 1e9:g} GHz; "
        f"{record.peak_fraction:.1%} of the peak, for the {record.macs / 1e6:,.1f} M multiply-accumulates needed"
    )
    if wrong:
        line("NOT EXACT: " + ", ".join(f"{count:,} of {name}" for name, count in wrong.items()))
    else:
        line(f"exact: every number of all {len(record.wrong)} steps equals the integer model's")
    for finding in record.findings:
        line(f"finding: {finding}")


def _table(columns: tuple[str, ...]) -> Table:
    from rich.table import Table

    table = Table(pad_edge=False, show_edge=False, box=None)
    for name in columns:
        table.add_column(name, justify="left" if name in ("step", "kernel", "what") else "right")
    return table
