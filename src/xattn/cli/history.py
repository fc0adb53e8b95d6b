"""`xattn history`: a kernel's cycles over time, from the stored results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xattn.cli.files import indented_json, require_writable, tile_shape, write_bytes
from xattn.cli.results import StoreOption, opened
from xattn.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xattn.bench.history import Point

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_CELLS = 40


@app.command()
def history(
    kernel: Annotated[str, typer.Argument(metavar="KERNEL", help="A kernel by name, or an arithmetic such as sound.")],
    shape: Annotated[str, typer.Option(metavar="TxW", help="Tokens × channels of the tile.")] = "64x64",
    metric: Annotated[str, typer.Option(help='What to show: "cycles", "rel. L2" or "program bytes".')] = "cycles",
    last: Annotated[int, typer.Option(metavar="N", min=1, help="Only the last N results.")] = 30,
    plot: Annotated[
        str | None, typer.Option(metavar="FILE", help="Draw a plot (.svg, .png, .pdf) too; needs matplotlib.")
    ] = None,
    json: Annotated[
        str | None, typer.Option(metavar="FILE", help='Write the figures as JSON; "-" is standard output.')
    ] = None,
    store: StoreOption = None,
) -> None:
    """Show a kernel's simulated cycles over time: one bar a stored result, oldest first.

    A + behind a commit says that files differed from it. Exit code 2 when nothing is stored about the kernel.
    """
    from xattn.bench.history import history as figures
    from xattn.bench.history import plot as draw
    from xattn.bench.history import require_plot

    tokens, width = tile_shape(shape)
    if metric not in (known := ("cycles", "rel. L2", "program bytes")):
        raise InputError(f"--metric {metric!r}: expected one of {', '.join(known)}")
    if json is not None:
        require_writable(json)
    if plot is not None:
        require_plot(Path(plot))
    points = figures(opened(store), kernel, tokens, width, metric)[-last:]
    title = f"{kernel} {tokens}×{width}: {metric} over time, simulated"
    _show(points, title, metric, json == "-")
    if plot is not None:
        draw(points, title, metric, Path(plot))
    if json is not None:
        write_bytes(json, _as_json(points, kernel, metric))


def _show(points: Sequence[Point], title: str, metric: str, to_stderr: bool) -> None:
    from rich.console import Console

    from xattn.bench.history import bars
    from xattn.bench.show import line, new_table
    from xattn.bench.table import MIN_WIDTH

    console = Console(stderr=to_stderr)
    console.width = max(console.width, MIN_WIDTH)
    line(console, title)
    console.print()
    table = new_table("time (UTC)", "commit", metric, "change", "", left=2)
    table.columns[-1].justify = "left"
    before: float | None = None
    for point, bar in zip(points, bars([point.value for point in points], _CELLS), strict=True):
        commit = ("–" if point.commit is None else point.commit[:9] + "+" * point.modified).ljust(10)
        when = point.created[:16].replace("T", " ")
        table.add_row(when, commit, _value(point.value), _change(before, point.value), bar)
        before = point.value if point.value is not None else before
    console.print(table, crop=False)


def _value(value: float | None) -> str:
    if value is None:
        return "failed"
    return f"{value:,.0f}" if value == int(value) else f"{value:.4f}"


def _change(before: float | None, value: float | None) -> str:
    return "" if not before or value is None or value == before else f"{100 * (value / before - 1):+.2f} %"


def _as_json(points: Sequence[Point], kernel: str, metric: str) -> bytes:
    from dataclasses import asdict

    record = {"kernel": kernel, "metric": metric, "points": [asdict(point) for point in points]}
    return indented_json(record)
