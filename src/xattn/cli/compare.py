"""`xattn compare`: two results side by side, and whether the second one is worse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from xattn.cli.files import indented_json, require_writable, write_bytes
from xattn.cli.results import StoreOption, opened
from xattn.errors import InputError

if TYPE_CHECKING:
    from xattn.bench.compare import Change, Comparison

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_STYLE = {"worse": "bold red", "failed": "bold red", "better": "green", "not judged": "dim"}


@app.command()
def compare(
    before: Annotated[str, typer.Argument(metavar="A", help="A result: file, stored id, latest~1, or git commit.")],
    after: Annotated[str, typer.Argument(metavar="B", help="The result to judge.")] = "latest",
    threshold: Annotated[float, typer.Option(metavar="PERCENT", help="By how much simulated figures may rise.")] = 0.0,
    measured_threshold: Annotated[
        float,
        typer.Option(metavar="PERCENT", help="By how much measured times may rise; intervals must be apart, too."),
    ] = 10.0,
    show_all: Annotated[bool, typer.Option("--all", help="Show also what is the same.")] = False,
    json: Annotated[
        str | None, typer.Option(metavar="FILE", help='Write the comparison as JSON; "-" is standard output.')
    ] = None,
    store: StoreOption = None,
) -> None:
    """Print what differs between two results: cycles, program sizes, errors, measured times.

    A git commit stands for its latest result. Less is better in every figure. Exit code 1 when a figure of B is worse
    by more than the threshold, or a kernel that passed in A fails; 2 for input that cannot be used.
    """
    from xattn.bench.compare import compare as compared

    for name, value in (("--threshold", threshold), ("--measured-threshold", measured_threshold)):
        if not 0 <= value < 1e6:
            raise InputError(f"{name} {value:g}: expected percent, 0 or more")
    if json is not None:
        require_writable(json)
    kept = opened(store)
    (name_a, a), (name_b, b) = kept.find(before), kept.find(after)
    comparison = compared(a, b, threshold, measured_threshold)
    _show(comparison, name_a, name_b, show_all, json == "-")
    if json is not None:
        write_bytes(json, _as_json(comparison, name_a, name_b))
    if comparison.worse:
        raise typer.Exit(1)


def _show(comparison: Comparison, name_a: str, name_b: str, show_all: bool, to_stderr: bool) -> None:
    from rich.console import Console
    from rich.text import Text

    from xattn.bench.show import line, new_table
    from xattn.bench.table import MIN_WIDTH

    console = Console(stderr=to_stderr)
    console.width = max(console.width, MIN_WIDTH)
    line(console, f"A: {name_a}")
    line(console, f"B: {name_b}")
    for note in comparison.notes:
        line(console, f"note: {note}")
    console.print()
    shown = [change for change in comparison.changes if show_all or change.verdict != "same"]
    if shown:
        table = new_table("figure", "", "", "A", "B", "change", "verdict", left=3)
        for change in shown:
            verdict = Text(change.verdict, style=_STYLE.get(change.verdict, ""))
            table.add_row(change.subject, change.metric, change.origin, *_values(change), verdict)
        console.print(table, crop=False)
        console.print()
    same = sum(change.verdict == "same" for change in comparison.changes)
    line(console, f"{len(comparison.worse)} worse, {same} of {len(comparison.changes)} figures the same")


def _values(change: Change) -> list[str]:
    ratio = "–" if change.ratio is None else f"{100 * change.ratio:+.2f} %"
    return [_value(change.before), _value(change.after), ratio]


def _value(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value == int(value) else f"{value:.4g}"


def _as_json(comparison: Comparison, name_a: str, name_b: str) -> bytes:
    from dataclasses import asdict

    changes = [asdict(change) | {"ratio": change.ratio} for change in comparison.changes]
    record = {"a": name_a, "b": name_b, "worse": len(comparison.worse), "notes": comparison.notes, "changes": changes}
    return indented_json(record)
