"""`xattn simulate`: run a build, or any xclbin or PDI with its instruction stream, on the simulated array."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xattn.cli.call import spinner
from xattn.cli.files import clock_of, integer, read_bytes, write_bytes
from xattn.errors import InputError

if TYPE_CHECKING:
    from xattn.array.instructions import InstructionStream
    from xattn.devices.array_build import ArrayBuild
    from xattn.sim.array.machine import Array
    from xattn.sim.array.report import ArrayResult

app = typer.Typer(add_completion=False, rich_markup_mode=None)

WORD = 4


def _show_costs(wanted: bool) -> None:
    if not wanted:
        return
    from xattn.sim.array.timing import constants

    rows = [(c.name, f"{c.value:,}", c.unit, c.source, c.error, c.what) for c in constants()]
    typer.echo("\n".join(_table(("name", "value", "unit", "source", "error", "what"), rows, right=(1,))))
    raise typer.Exit


@app.command()
def simulate(
    file: Annotated[
        str,
        typer.Argument(help="Folder that `xattn build` wrote; or an xclbin or PDI: the configuration of the array."),
    ],
    insts: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Instruction stream of a run (insts.bin or insts.txt) [default: the folder's]."
        ),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", help="[N=]FILE: what host buffer N holds [default: 0, 1, … in order]; repeatable."),
    ] = None,
    outputs: Annotated[
        list[str] | None,
        typer.Option("--output", help="[N=]FILE: write buffer N after the run [default: those behind the inputs]."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="S",
            help="Random bytes in buffers without a file, not zeros; in those of a folder, not activations.",
        ),
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Run the stream so often; what is shown is the last run.")] = 1,
    timeline: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write a timeline for chrome://tracing or Perfetto (JSON).")
    ] = None,
    channels: Annotated[bool, typer.Option("--channels", help="Show every DMA channel.")] = False,
    clock: Annotated[str, typer.Option(metavar="FREQUENCY", help="Clock for times: 1.8, 1.03GHz, 800MHz.")] = "1GHz",
    strict: Annotated[bool, typer.Option("--strict", help="Every finding is an error, which ends the run.")] = False,
    engine: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="interpreter; translator (needs xattn[jit]): native code for what a core repeats, in the same cycles, "
            "but without a look for findings; auto: that where it is installed and worth its time.",
        ),
    ] = "auto",
    max_cycles: Annotated[int, typer.Option(min=1, help="Give up after so many cycles.")] = 1_000_000_000,
    costs: Annotated[
        bool,
        typer.Option(
            "--costs", callback=_show_costs, is_eager=True, help="Show what data movement costs, with sources."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Run an NPU's files on the simulated array: configuration, machine code and instruction stream as encoded.

    A folder of `xattn build` gets blocks of a Whisper layer (synthetic ones without weights), as its manifest says, and
    every block that comes out is compared with the integer model, unless --input fills a buffer.

    A core's cycles are exact (see docs/array_simulator.md); those of DMA, streams and host memory rest on published
    figures. Cycles count from the first instruction to the last one's end, without the launch by driver and firmware.

    Exit code 0 when the run ended, 1 at an error, a deadlock or a wrong output, 2 for bad input.
    """
    from xattn.cli.simulate_build import BuildCheck, check_of
    from xattn.sim.array.findings import ArrayError
    from xattn.sim.array.timeline import chrome_trace

    del costs
    hertz = clock_of(clock)
    given, wanted = _numbered(inputs or [], 0), _numbered(outputs or [], len(inputs or []))
    check: BuildCheck | None = None
    try:
        array, stream, build = _loaded(file, insts, strict, "interpreter" if strict else engine)
        if build is not None and not given:
            check = check_of(build, seed)
        buffers = _buffers(stream, given, wanted, seed) if check is None else check.buffers
        with spinner(f"simulating {Path(file).name} …"):
            for _ in range(runs):
                result = array.run(stream, buffers, max_cycles=max_cycles)
    except ArrayError as error:
        typer.secho(f"xattn: {error}", fg=typer.colors.RED, err=True)
        raise typer.Exit(1) from None
    verdict = None if check is None else check.verdict(result)
    for number, path in wanted.items():
        write_bytes(path, result.buffers[number])
    if timeline is not None:
        write_bytes(timeline, json.dumps(chrome_trace(result)).encode())
    if as_json:
        found = _as_json(file, result, hertz) | ({} if verdict is None else {"blocks": asdict(verdict)})
        typer.echo(json.dumps(found, indent=1))
    else:
        typer.echo("\n".join([*_as_text(result, hertz, channels), *([] if verdict is None else verdict.lines())]))
    if verdict is not None and verdict.exact < verdict.count:
        raise typer.Exit(1)


def _loaded(
    file: str, insts: str | None, strict: bool, engine: str
) -> tuple[Array, InstructionStream, ArrayBuild | None]:
    """An array with the configuration in it, the stream, and the build that both are of, if they are of one."""
    from xattn.array.image_file import configuration_of
    from xattn.array.instructions import read_instructions
    from xattn.devices.array_build import ArrayBuild
    from xattn.sim.array.machine import Array

    if Path(file).is_dir():
        if insts is not None:
            raise InputError(
                f"{file} is a folder with its own instruction stream: leave out --insts, or name the xclbin"
            )
        build = ArrayBuild.read(Path(file), strict=strict, engine=engine)
        return build.array, build.stream, build
    if insts is None:
        raise InputError(f"{file}: what the controller does with it is missing: --insts FILE")
    stream = read_instructions(read_bytes(insts))
    configuration = configuration_of(file, read_bytes(file))
    array = Array(strict=strict, engine=engine)
    array.load(configuration)
    return array, stream, None


def _numbered(texts: Sequence[str], first: int) -> dict[int, str]:
    """Files by buffer number: 1=file, or in order."""
    found: dict[int, str] = {}
    for position, text in enumerate(texts, first):
        head, equals, path = text.partition("=")
        number, path = (integer(head), path) if equals and head.isdigit() else (position, text)
        if number in found:
            raise InputError(f"buffer {number} is named twice: {found[number]} and {path}")
        found[number] = path
    return found


def _buffers(stream: Any, given: dict[int, str], wanted: dict[int, str], seed: int | None) -> list[bytes]:
    """What the host's buffers hold before the run: files, zeros or random bytes, of the size that the stream uses."""
    import numpy as np

    from xattn.sim.array.buffers import buffer_bytes

    used = buffer_bytes(stream)
    for number, path in (*given.items(), *wanted.items()):
        if number not in used:
            raise InputError(f"{path}: the stream uses no buffer {number}; it uses {', '.join(map(str, sorted(used)))}")
    random = None if seed is None else np.random.default_rng(seed)
    found = []
    for number in range(max(used, default=-1) + 1):
        size = used.get(number, 0)
        if number in given:
            data = read_bytes(given[number])
            if len(data) < size:
                raise InputError(f"{given[number]} has {len(data)} bytes; the stream uses {size} of buffer {number}")
            found.append(data + bytes(-len(data) % WORD))
        else:
            found.append(bytes(size) if random is None else random.bytes(size))
    return found


# --- saying what happened -------------------------------------------------------------------------------------------


def _as_json(file: str, result: ArrayResult, hertz: float) -> dict[str, Any]:
    names = ("cycles", "operations", "read", "written")
    cores = [asdict(core) | {"findings": [str(finding) for finding in core.findings]} for core in result.cores]
    return {
        "file": file,
        **{name: getattr(result, name) for name in names},
        "clock_hz": hertz,
        "milliseconds": 1e3 * result.cycles / hertz,
        "exact": "cycles of cores between their lock operations",
        "published_figures": "DMA, streams, locks between tiles, host memory, instruction stream",
        "cores": cores,
        "channels": [asdict(channel) for channel in result.channels],
        "transfers": [asdict(transfer) for transfer in _from_start(result)],
        "findings": [str(finding) for finding in result.findings],
    }


def _from_start(result: ArrayResult) -> list[Any]:
    from dataclasses import replace

    begin = result.begin
    return [replace(t, pushed=t.pushed - begin, began=t.began - begin, ended=t.ended - begin) for t in result.transfers]


def _as_text(result: ArrayResult, hertz: float, channels: bool) -> list[str]:
    lines = [
        f"{result.cycles:,} cycles (simulated): {1e3 * result.cycles / hertz:.3f} ms at {hertz / 1e9:g} GHz, "
        "without the launch",
        f"{result.operations} operations; {result.read:,} bytes read from host memory, {result.written:,} written",
    ]
    cores = [
        (f"core ({c.column},{c.row})", f"{c.busy:,}", f"{c.busy / max(result.cycles, 1):.1%}", *_longest(c.waits))
        for c in result.cores
    ]
    if cores:
        lines += ["", *_table(("", "busy", "", "waits", "most for"), cores, right=(1, 2, 3))]
    if channels:
        rows = [
            (f"{c.name} of ({c.column},{c.row})", f"{c.words:,}", f"{c.bds:,}", f"{c.busy:,}", *_longest(c.waits))
            for c in result.channels
        ]
        lines += ["", *_table(("DMA channel", "words", "BDs", "busy", "waits", "most for"), rows, right=(1, 2, 3, 4))]
    transfers = [
        (
            f"{t.channel} of column {t.column}",
            ", ".join(map(str, t.buffers)),
            *(f"{number:,}" for number in (WORD * t.words, t.pushed, t.began, t.ended)),
        )
        for t in _from_start(result)
    ]
    if transfers:
        heads = ("host transfer", "buffer", "bytes", "pushed", "begun", "ended")
        lines += ["", *_table(heads, transfers, right=(2, 3, 4, 5))]
    return [*lines, "", *_findings(result)]


def _longest(waits: dict[str, int]) -> tuple[str, str]:
    """All cycles waited, and what most of them were for."""
    if not waits:
        return "0", ""
    return f"{sum(waits.values()):,}", max(waits, key=lambda name: waits[name])


def _findings(result: ArrayResult) -> list[str]:
    texts = Counter(str(finding) for core in result.cores for finding in core.findings)
    found = [str(finding) for finding in result.findings]
    found += [f"{text}{f' ({count} cores)' if count > 1 else ''}" for text, count in texts.items()]
    return ["no findings"] if not found else [f"{len(found)} findings:", *(f"  {text}" for text in found)]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int]) -> list[str]:
    """Lines of aligned columns; those in `right` to the right."""
    widths = [max(len(row[n]) for row in (heads, *rows)) for n in range(len(heads))]
    return [
        "  ".join(
            text.rjust(width) if n in right else text.ljust(width)
            for n, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (heads, *rows)
    ]
