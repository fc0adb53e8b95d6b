"""`xattn doctor`: what this machine has for xattn and the NPU, and what to do about what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from xattn.cli.files import indented_json

if TYPE_CHECKING:
    from rich.table import Table

    from xattn.devices.diagnosis import Diagnosis

app = typer.Typer(add_completion=False, rich_markup_mode=None)
_STYLES = {"ok": "green", "missing": "red", "wrong": "red", "unknown": "yellow"}


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Say what is there and what is missing: Python and extras, the NPU from hardware to XRT, other compilers.

    Nothing is changed, and nothing runs on the NPU. Exit code 0 when an NPU can be used, 1 when not. Everything but the
    NPU works without one.
    """
    from xattn.devices.diagnosis import diagnose

    diagnosis = diagnose()
    if as_json:
        typer.echo(indented_json(_record(diagnosis)).decode(), nl=False)
    else:
        from rich.console import Console

        console = Console()
        console.print(_table(diagnosis))
        console.print(_verdict(diagnosis))
    if not diagnosis.is_npu_usable:
        raise typer.Exit(1)


def _record(diagnosis: Diagnosis) -> dict[str, object]:
    names = {"is_needed": "needed"}
    checks = [{names.get(key, key): value for key, value in vars(check).items()} for check in diagnosis.checks]
    return {"npu_usable": diagnosis.is_npu_usable, "checks": checks}


def _table(diagnosis: Diagnosis) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(show_edge=False, box=None, pad_edge=False)
    for title in ("", "", "state", "found", "what to do"):
        table.add_column(title, overflow="fold")
    group = ""
    for check in diagnosis.checks:
        state = Text(check.state, style=_STYLES[check.state] if check.is_needed or check.state == "ok" else "dim")
        shown = check.group if check.group != group else ""
        table.add_row(shown, Text(check.name), state, Text(check.found), Text(check.remedy))
        group = check.group
    return table


def _verdict(diagnosis: Diagnosis) -> str:
    if diagnosis.is_npu_usable:
        return "An NPU can be used: xattn run KERNEL --device npu"
    lacking = [check.name for check in diagnosis.checks if check.is_needed and check.state in ("missing", "wrong")]
    return f"No NPU can be used ({', '.join(lacking)}); everything else works: simulators, builds, the CPU"
