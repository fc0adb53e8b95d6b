"""`xattn profile`: where a kernel's cycles go, by stage of the computation, as a table, a trace and a flame graph."""

from __future__ import annotations

from typing import Annotated

import typer

from xattn.cli.call import spinner
from xattn.cli.files import clock_of, require_writable, tile_shape, write_bytes
from xattn.errors import InputError

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def profile(
    kernel: Annotated[str, typer.Argument(metavar="KERNEL", help="A kernel by name.")],
    shape: Annotated[str, typer.Option(metavar="TxW", help="Tokens × channels of the tile.")] = "64x64",
    clock: Annotated[
        str, typer.Option(metavar="FREQUENCY", help="Core clock for times: 1.8, 1.03GHz, 800MHz.")
    ] = "1.8GHz",
    json: Annotated[
        str | None, typer.Option(metavar="FILE", help='Write the profile as JSON; "-" is standard output.')
    ] = None,
    trace: Annotated[
        str | None, typer.Option(metavar="FILE.json", help="Write stages, loops and stalls over time, for Perfetto.")
    ] = None,
    speedscope: Annotated[
        str | None, typer.Option(metavar="FILE.json", help="Write the run as a flame graph for speedscope.")
    ] = None,
) -> None:
    """Run a kernel once on the simulated core and say how many cycles each stage of the computation takes.

    Stages that overlap are shown as overlapping: what each takes part in, what it has alone, and what several have at
    once. Every figure is counted in the run, bundle by bundle.

    Exit code 0 when the profile stands, 1 when the kernel's output is wrong or the run failed, 2 for bad input.
    """
    from xattn.bench.profile import as_json, as_text, profile_kernel
    from xattn.bench.profile.chrome import chrome_trace
    from xattn.bench.profile.speedscope import speedscope_file
    from xattn.devices import KernelFaultError

    outputs = [path for path in (json, trace, speedscope) if path is not None]
    for path in outputs:
        require_writable(path)
    if outputs.count("-") > 1:
        raise InputError('"-" is given twice: standard output takes one file')
    tokens, width = tile_shape(shape)
    clock_hz = clock_of(clock)
    try:
        with spinner(f"compiling and simulating {kernel} …"):
            found, recording = profile_kernel(kernel, tokens, width, clock_hz)
    except KernelFaultError as error:
        typer.secho(f"xattn: {error}", fg=typer.colors.RED, err=True)
        raise typer.Exit(1) from None
    typer.echo(as_text(found), nl=False, err="-" in outputs)
    if json is not None:
        write_bytes(json, as_json(found))
    if trace is not None:
        write_bytes(trace, chrome_trace(found, recording))
    if speedscope is not None:
        write_bytes(speedscope, speedscope_file(found, recording))
    if not found.exact:
        raise typer.Exit(1)
