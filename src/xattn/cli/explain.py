"""`xattn explain`: why a kernel, or a function of an ELF program, takes the cycles it takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xattn.cli.call import (
    ArgOption,
    CallOption,
    LoadOption,
    Locks,
    LocksOption,
    MaxCyclesOption,
    SpOption,
    StackOption,
    prepare_core,
    read_job,
    run_job,
    spinner,
)
from xattn.cli.files import integer, require_writable, tile_shape, write_bytes
from xattn.errors import InputError

if TYPE_CHECKING:
    from xattn.bench.explain import Explanation

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_DEFAULT_SHAPE = "64x64"
_MAX_CYCLES = 100_000_000


@app.command()
def explain(
    target: Annotated[str, typer.Argument(metavar="KERNEL|FILE", help="A kernel by name, or an ELF executable.")],
    shape: Annotated[
        str | None, typer.Option(metavar="TxW", help=f"Kernels: tokens × channels [default: {_DEFAULT_SHAPE}]")
    ] = None,
    call: CallOption = None,
    arg: ArgOption = None,
    load: LoadOption = None,
    sp: SpOption = None,
    stack: StackOption = None,
    locks: LocksOption = Locks.hold,
    max_cycles: MaxCyclesOption = _MAX_CYCLES,
    timeline: Annotated[
        str | None,
        typer.Option(metavar="N|all", help="Cycles of the hottest loop to draw [default: 128, the densest ones]"),
    ] = None,
    json: Annotated[
        str | None, typer.Option(metavar="FILE", help='Write the report as JSON; "-" is standard output.')
    ] = None,
) -> None:
    """Say why a program takes the cycles it takes, after one run on the simulated core.

    In this order: cycles against the MAC bound; the slot or port that bounds them; every loop's II against its
    minima; stalls by cause; registers live; a timeline of the hottest loop; vector against scalar multiplies; and the
    next lever. For an ELF program, --call, --arg and the like say what to run, as in xattn run.

    Exit code 0 when the report stands, 1 when the kernel's output is wrong or the run failed, 2 for bad input.
    """
    from xattn.bench.explain import as_json, as_text
    from xattn.devices import KernelFaultError
    from xattn.sim.findings import SimulationError

    shown = _shown_cycles(timeline)
    if json is not None:
        require_writable(json)
    given = {"--call": call, "--arg": arg, "--load": load, "--sp": sp, "--stack": stack}
    try:
        if _is_kernel(target):
            _refuse([name for name, value in given.items() if value], f"{target} is a kernel, which has its own inputs")
            report = _explain_kernel(target, shape or _DEFAULT_SHAPE)
        else:
            _refuse(["--shape"] if shape else [], f"{target} is a file, whose arguments come by --arg and --load")
            report = _explain_file(target, call, arg, load, sp, stack, locks, max_cycles)
    except (KernelFaultError, SimulationError) as error:
        typer.secho(f"xattn: {error}", fg=typer.colors.RED, err=True)
        raise typer.Exit(1) from None
    typer.echo(as_text(report, shown), nl=False, err=json == "-")
    if json is not None:
        write_bytes(json, as_json(report))
    if report.exact is False:
        raise typer.Exit(1)


def _shown_cycles(text: str | None) -> int | None:
    """Cycles of the timeline to show; None for all."""
    from xattn.bench.explain.render import SHOWN_CYCLES

    if text is None:
        return SHOWN_CYCLES
    if text == "all":
        return None
    cycles = integer(text)
    if cycles < 1:
        raise InputError(f"--timeline {text}: expected a number of cycles from 1 on, or all")
    return cycles


def _is_kernel(target: str) -> bool:
    """Whether the target names a kernel; InputError when it is no file either."""
    from xattn.kernels.registry import kernels

    if target in kernels():
        return True
    if not Path(target).exists():
        raise InputError(f"{target}: no such file, and no kernel is called so; there are {', '.join(kernels())}")
    return False


def _refuse(options: list[str], why: str) -> None:
    if options:
        raise InputError(f"{', '.join(options)}: {why}")


def _explain_kernel(name: str, shape: str) -> Explanation:
    from xattn.bench.explain import explain_kernel

    tokens, width = tile_shape(shape)
    with spinner(f"compiling and simulating {name} …"):
        return explain_kernel(name, tokens, width)


def _explain_file(
    file: str,
    call: str | None,
    arg: list[str] | None,
    load: list[str] | None,
    sp: str | None,
    stack: str | None,
    locks: Locks,
    max_cycles: int,
) -> Explanation:
    from xattn.bench.explain import Tracer, explain_elf
    from xattn.isa.elf import load_elf

    image = load_elf(file)
    if image.is_object:
        raise InputError(f"{file}: a relocatable object; make an executable of it first (xattn link)")
    job = read_job(image, call, arg or [], load or [], [], sp, stack)
    tracer = Tracer()
    core = prepare_core(image, job, locks, trace=tracer.step)
    tracer.watch(core)
    with spinner(f"simulating {job.name} …"):
        result = run_job(core, image, job, max_cycles)
        return explain_elf(tracer, result, image, f"{call or 'the program'} of {Path(file).name}")
