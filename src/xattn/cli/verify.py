"""`xattn verify`: kernels beside their integer models, and a whole layer of a real model, block by block."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from xattn.cli.activations import Wanted, activations_of, layer_of
from xattn.cli.files import clock_of, indented_json, require_writable, tile_shape, write_bytes
from xattn.cli.progress import progress_bar
from xattn.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from xattn.bench.layer import LayerRecord
    from xattn.bench.verify import VerifyRecord

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_WIDTH = 100
_MOST_FAULTS = 5  # lines a kernel


class OrderChoice(str, Enum):
    """In which the blocks of keys are taken."""

    diagonal = "diagonal"
    natural = "natural"


@app.command()
def verify(
    kernel: Annotated[
        list[str] | None, typer.Argument(metavar="[KERNEL…]", help="Kernels by name (default: all of the shape).")
    ] = None,
    whole_layer: Annotated[
        bool, typer.Option("--whole-layer", help="Every head of one encoder layer instead, through the code of sound.")
    ] = False,
    shape: Annotated[
        str | None, typer.Option(metavar="TxW", help="Tokens × channels of the kernels' tiles (default 64x64).")
    ] = None,
    layer: Annotated[
        int | None, typer.Option(metavar="N", help="Encoder layer of the activations (default 0).")
    ] = None,
    audio: Annotated[
        str | None, typer.Option(metavar="FILE", help="Speech, WAV or FLAC (default: the clip that comes along).")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="PATH", help="Whisper weights, file or folder (default: installed).")
    ] = None,
    order: Annotated[
        OrderChoice | None,
        typer.Option(help="Of key blocks: from the queries' own one on (default), or from the first."),
    ] = None,
    clock: Annotated[
        str | None, typer.Option(metavar="FREQUENCY", help="Core clock for times: 1.8 (default), 1.03GHz, 800MHz.")
    ] = None,
    synthetic: Annotated[bool, typer.Option("--synthetic", help="Random activations instead of real ones.")] = False,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Seed of the synthetic activations (default 0).")
    ] = None,
    json: Annotated[
        str | None, typer.Option(metavar="FILE", help='Write the result as JSON; "-" is standard output.')
    ] = None,
) -> None:
    """Run kernels' machine code on the simulated core and compare every element with the integer model.

    With --whole-layer: all heads of one layer of a real Whisper encoder on real speech, block by block, compared with
    the integer model (the whole state) and with xattn.attention (every bit of the result).

    Exit code 0 when nothing differs, 1 when something does or a run failed, 2 for bad input.
    """
    from rich.console import Console

    from xattn.devices import KernelFaultError

    _require_fitting(kernel, whole_layer, shape, order, clock)
    if json is not None:
        require_writable(json)
    wanted = Wanted(layer=layer, audio=audio, weights=weights, synthetic=synthetic, seed=seed)
    console = Console(stderr=json == "-")
    console.width = max(console.width, _WIDTH)
    try:
        if whole_layer:
            record: LayerRecord | VerifyRecord = _layer(
                wanted, order or OrderChoice.diagonal, clock or "1.8GHz", console
            )
        else:
            record = _kernels(kernel or [], wanted, shape or "64x64", console)
    except KernelFaultError as error:
        typer.secho(f"xattn: {error}", fg=typer.colors.RED, err=True)
        raise typer.Exit(1) from None
    if json is not None:
        write_bytes(json, indented_json(record))
    if not record.passed:
        raise typer.Exit(1)


def _require_fitting(
    kernels: list[str] | None, whole_layer: bool, shape: str | None, order: OrderChoice | None, clock: str | None
) -> None:
    """Refuse options of the one thing with the other."""
    if whole_layer and kernels:
        raise InputError(f"--whole-layer runs the program of sound: leave out {' '.join(kernels)}")
    if whole_layer and shape is not None:
        raise InputError("--whole-layer takes all tokens of the layer: leave out --shape")
    for name, value in (("--order", order), ("--clock", clock)):
        if value is not None and not whole_layer:
            raise InputError(f"{name} is for --whole-layer: add that, or leave {name} out")


def _kernels(names: list[str], wanted: Wanted, shape: str, console: Console) -> VerifyRecord:
    from rich.text import Text

    from xattn.bench.verify import verify_kernels

    tokens, width = tile_shape(shape)
    with progress_bar("compiling the kernels") as progress:
        record = verify_kernels(names, activations_of(wanted, progress), tokens, width, progress=progress)
    table = _table("kernel", "inputs", "elements", "differences", "cycles", "exact")
    for found in record.kernels:
        table.add_row(
            found.name,
            f"{found.inputs:,}",
            f"{found.elements:,}",
            f"{found.differences:,}",
            _range(found.fewest_cycles, found.most_cycles),
            Text("yes", "green") if found.passed else Text("NO", "bold red"),
        )
    console.print(table)
    for found in record.kernels:
        for fault in found.faults[:_MOST_FAULTS]:
            console.print(Text(f"{found.name}: {fault}", style="bold red"), soft_wrap=True)
        if len(found.faults) > _MOST_FAULTS:
            console.print(f"{found.name}: … and {len(found.faults) - _MOST_FAULTS} more, see --json")
    lines = ["cycles: simulated; nothing ran on an NPU", *(f"input: {line}" for line in record.inputs)]
    lines += [f"note: {note}" for found in record.kernels for note in found.notes]
    console.print("\n" + "\n".join(lines), soft_wrap=True, highlight=False)
    return record


def _range(fewest: int | None, most: int | None) -> str:
    if fewest is None or most is None:
        return "–"
    return f"{fewest:,}" if fewest == most else f"{fewest:,}–{most:,}"


def _layer(wanted: Wanted, order: OrderChoice, clock: str, console: Console) -> LayerRecord:
    from xattn.bench.layer import verify_layer

    clock_hz = clock_of(clock)
    with progress_bar("capturing Q, K and V") as progress:
        layer = layer_of(wanted, progress)
        record = verify_layer(layer, order=order.value, clock_hz=clock_hz, progress=progress)
    _show_layer(record, console)
    return record


def _show_layer(record: LayerRecord, console: Console) -> None:
    from rich.text import Text

    def say(text: str = "") -> None:
        console.print(text, soft_wrap=True, highlight=False)

    say(f"model    {record.description}")
    say(f"input    {record.place}, {len(record.heads)} heads of {record.tokens:,} tokens, int8")
    say(f"program  {record.programs[0]}; {record.programs[1]} where some of 64 keys are padding; {record.order} order")
    say(f"cycles   {record.cycles_are}; nothing ran on an NPU\n")
    table = _table(
        "head", "blocks", "rescaled", "cycles", "a block", f"ms at {record.clock_hz / 1e9:g} GHz", "differences"
    )
    for head in record.heads:
        table.add_row(
            *_row(str(head.head), head.blocks, head.rescaled_blocks, head.cycles, record.clock_hz),
            _count(head.differences),
        )
    all_heads = _row("all", record.blocks, record.rescaled_blocks, record.cycles, record.clock_hz)
    table.add_row(*all_heads, _count(record.differences))
    console.print(table)
    states, outputs = (sum(getattr(h, f"{what}_elements") for h in record.heads) for what in ("state", "output"))
    say("\nrescaled: blocks in which a reference of 64 rows rises, the first one of each 64 queries included")
    say("ms: one core, simulated; DMA, launches and the division at the end are left out")
    say(
        f"differences: of {states:,} integers of the states from the integer model, and of {outputs:,} results, "
        "bit by bit, from xattn.attention"
    )
    for finding in record.findings:
        console.print(Text(f"finding: {finding}", style="bold red"), soft_wrap=True)
    for note in record.notes:
        say(f"note: {note}")


def _row(name: str, blocks: int, rescaled: int, cycles: int, clock_hz: float) -> list[str]:
    return [
        name,
        f"{blocks:,}",
        f"{rescaled:,}",
        f"{cycles:,}",
        f"{cycles / blocks:,.0f}",
        f"{1e3 * cycles / clock_hz:,.3f}",
    ]


def _count(differences: int) -> Text:
    from rich.text import Text

    return Text(f"{differences:,}", "bold red" if differences else "green")


def _table(first: str, *others: str) -> Table:
    from rich.table import Table

    table = Table(pad_edge=False, show_edge=False, box=None)
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table
