"""`xattn lut`: the exp table of the integer softmax."""

from __future__ import annotations

from typing import Annotated

import typer

from xattn.cli.files import write_bytes

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def lut(
    scale: Annotated[
        float, typer.Option(help="Value of the entry for x = 0, and its distance in x for a factor e.")
    ] = 64,
    out: Annotated[str | None, typer.Option(help="Write the table as a C header, for example exp_lut.h.")] = None,
) -> None:
    """Make the exp table: entry x + 128 is scale * exp(x / scale), truncated and clamped to a byte, x = -128 to 127."""
    from xattn.numerics.lut import c_header, exp_table

    table = exp_table(scale)
    if out == "-":
        typer.echo(c_header(table), nl=False)
        return
    if out is not None:
        write_bytes(out, c_header(table).encode())
        typer.echo(f"wrote {out}")
    else:
        for start in range(0, len(table), 16):
            row = " ".join(f"{value:3d}" for value in table[start : start + 16].tolist())
            typer.echo(f"x = {start - 128:4d}: {row}")
    typer.echo(f"{table.nbytes} bytes, {int(table.min())} to {int(table.max())}")
