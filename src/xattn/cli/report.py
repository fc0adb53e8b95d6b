"""`xattn report`: a benchmark as one HTML page, and its pictures as files."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xattn.cli.activations import Wanted, activations_of
from xattn.cli.files import clock_of, read_bytes, require_writable, tile_shape, write_bytes
from xattn.cli.progress import progress_bar
from xattn.errors import FileFormatError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from xattn.bench import BenchRecord

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_SHAPE, _CLOCK = "64x64", "1.8GHz"


@app.command()
def report(
    out: Annotated[str, typer.Option(metavar="FILE", help='The page; "-" is standard output.')] = "report.html",
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="FILE", help='Take the figures that xattn bench --json wrote; "-": from it.'),
    ] = None,
    figures: Annotated[
        str | None, typer.Option(metavar="DIR", help="Write every picture there too, as PNG and SVG.")
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Show the page in the browser.")] = False,
    kernel: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A kernel to run, repeatable (default: all).")
    ] = None,
    shape: Annotated[str | None, typer.Option(metavar="TxW", help="Tokens × channels of the tile [64x64].")] = None,
    clock: Annotated[
        str | None, typer.Option(metavar="FREQUENCY", help="Core clock for times: 1.8, 1.03GHz, 800MHz [1.8GHz].")
    ] = None,
    synthetic: Annotated[bool, typer.Option("--synthetic", help="Random activations instead of real ones.")] = False,
) -> None:
    """Measure the ladder and write one HTML page: ladder, roofline, stages, accuracy, and every kernel's pipeline.

    The page needs nothing else, no network either. With --from the ladder's figures come from a file; each kernel still
    runs once, for its stages and its pipeline.

    Exit code 0 when the page stands, 1 when a kernel is not exact or faulty (the page says so), 2 for bad input.
    """
    _require_extra()
    given = {"--kernel": kernel, "--shape": shape, "--clock": clock, "--synthetic": synthetic}
    asked = [name for name, value in given.items() if value]
    if source is not None and asked:
        raise InputError(f"{', '.join(asked)}: with --from, what was run is what the file says")
    if open_page and out == "-":
        raise InputError("--open needs a file: standard output cannot be shown in a browser")
    require_writable(out)
    folder = None if figures is None else _folder(figures)
    from xattn.bench.report.contents import contents_of
    from xattn.bench.report.figures import figure_files
    from xattn.bench.report.html import html_page

    with progress_bar("compiling the kernels") as steps:
        if source is None:
            bench, origin = (
                _measured(kernel, shape or _SHAPE, clock or _CLOCK, synthetic, steps),
                "measured for this page",
            )
        else:
            bench = _read(source)
            origin = f"from {Path(source).name}" if source != "-" else "from standard input"
        contents = contents_of(bench, origin, steps)
        page = html_page(contents).encode()
        pictures = list(figure_files(contents)) if folder is not None else []
    write_bytes(out, page)
    for name, data in pictures:
        write_bytes(str(Path(figures or "") / name), data)
    if out != "-":
        typer.echo(f"{out}: {len(bench.kernels)} kernel{'s' * (len(bench.kernels) != 1)}; cycles are simulated")
    if folder is not None:
        typer.echo(f"{folder}: {len(pictures)} pictures", err=out == "-")
    if open_page:
        import webbrowser

        webbrowser.open(Path(out).resolve().as_uri())
    if not bench.passed:
        typer.secho("xattn: a kernel is not exact or faulty; the page says which", fg=typer.colors.RED, err=True)
        raise typer.Exit(1)


def _require_extra() -> None:
    missing = [name for name in ("matplotlib", "jinja2") if find_spec(name) is None]
    if missing:
        raise InputError(f'reports need {" and ".join(missing)}, not installed here: pip install "xattn[report]"')


def _folder(path: str) -> Path:
    """The folder for pictures, made where its parent is there."""
    folder = Path(path)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write pictures to {path}: {error.strerror or error}") from None
    require_writable(str(folder / "picture"))
    return folder


def _measured(
    kernel: list[str] | None, shape: str, clock: str, synthetic: bool, steps: Callable[[int, int, str], None]
) -> BenchRecord:
    from xattn.bench import measure_ladder
    from xattn.bench.ladder import chosen_kernels

    tokens, width = tile_shape(shape)
    clock_hz = clock_of(clock)
    names = tuple(kernel or ())
    chosen_kernels(names, tokens, width)
    activations = activations_of(Wanted(synthetic=synthetic), steps)
    return measure_ladder(activations, names, tokens=tokens, width=width, clock_hz=clock_hz, progress=steps)


def _read(source: str) -> BenchRecord:
    import msgspec

    from xattn.bench import BenchRecord

    try:
        return msgspec.json.decode(read_bytes(source), type=BenchRecord)
    except msgspec.MsgspecError as error:
        raise FileFormatError(f"{source}: not a result of xattn bench --json: {error}") from None
