"""`xattn prove`: whether the loops of a kernel can be any faster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from xattn.cli.files import indented_json, require_writable, tile_shape, write_bytes
from xattn.cli.progress import progress_bar
from xattn.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from xattn.compiler.prove_loops import LoopProof
    from xattn.kernels.proofs import Kept

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_MIN_WIDTH = 100


@app.command()
def prove(
    kernel: Annotated[str, typer.Argument(metavar="KERNEL", help="A kernel by name.")],
    shape: Annotated[str, typer.Option(metavar="TxW", help="Tokens × channels of the tile.")] = "64x64",
    time_limit: Annotated[
        float, typer.Option(metavar="S", help="Seconds of search a loop, as a free core of today counts them.")
    ] = 60.0,
    update: Annotated[
        bool, typer.Option("--update", help="Keep what was found with the kernel: every later compilation uses it.")
    ] = False,
    json: Annotated[
        str | None, typer.Option(metavar="FILE", help='Write the result as JSON; "-" is standard output.')
    ] = None,
) -> None:
    """Prove that every hardware loop of a kernel starts its iterations as often as possible, or improve it.

    The initiation interval (II) of a loop is the number of cycles from one iteration's start to the next one's. Where
    slots, ports or dependences alone show that no smaller one exists, nothing is searched; otherwise OR-Tools CP-SAT
    searches all schedules (pip install "xattn[tune]"). Results are the same in every run.
    """
    from rich.console import Console

    from xattn.kernels.proofs import keep_schedules, prove_kernel

    if not 0 < time_limit <= 86400:
        raise InputError(f"--time-limit {time_limit:g}: expected seconds, more than 0 and at most 86400")
    tokens, width = tile_shape(shape)
    if json is not None:
        require_writable(json)
    with progress_bar(f"compiling {kernel}") as steps:
        proofs = prove_kernel(kernel, tokens, width, time_limit_s=time_limit, progress=steps)
        kept = keep_schedules(kernel, tokens, width, proofs) if update else None
    console = Console(stderr=json == "-")
    if not console.is_terminal:
        console.width = max(console.width, _MIN_WIDTH)
    _show(proofs, kept, f"{kernel}, {tokens}×{width}", console)
    if json is not None:
        write_bytes(json, _as_json(kernel, tokens, width, proofs, kept))


def _show(proofs: list[LoopProof], kept: Kept | None, title: str, console: Console) -> None:
    from rich import box
    from rich.table import Table

    table = Table(title=f"{title}: initiation intervals (II)", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("loop")
    for heading in ("line", "trips", "II", "resource\nminimum", "recurrence\nminimum", "cycles\na call"):
        table.add_column(heading, justify="right")
    table.add_column("verdict")
    for proof in proofs:
        table.add_row(
            proof.name,
            str(proof.line or ""),
            str(proof.trips),
            str(proof.best.known.interval),
            str(proof.resource_minimum),
            str(proof.recurrence_minimum),
            str(proof.cycles),
            _verdict(proof),
        )
    if not proofs:
        console.print(f"{title}: no hardware loops, nothing to prove")
        return
    console.print(table)
    for name, argument in dict.fromkeys((proof.name, proof.best.argument) for proof in proofs):
        console.print(f"{name}: {argument}", soft_wrap=True, highlight=False)
    if kept is not None:
        _show_kept(kept, console)


def _verdict(proof: LoopProof) -> str:
    if not proof.best.is_improved:
        return proof.best.verdict + ("; its schedule is on file" if proof.is_known else "")
    note = "" if proof.is_shorter else " (no gain at so few trips)"
    return f"{proof.best.verdict}; {proof.best_cycles} cycles{note}"


def _show_kept(kept: Kept, console: Console) -> None:
    count = len(kept.entries)
    text = f"kept {count} schedule{'' if count == 1 else 's'} in {kept.path}" if count else "no schedules to keep"
    console.print(text, soft_wrap=True, highlight=False)
    for entry in kept.refused:
        console.print(
            f"{entry.loop}: II {entry.interval} is not kept: the compiler cannot use it (registers run out with it)",
            soft_wrap=True,
            highlight=False,
        )


def _as_json(kernel: str, tokens: int, width: int, proofs: list[LoopProof], kept: Kept | None) -> bytes:
    loops = [
        {
            "loop": proof.name,
            "section": proof.section,
            "line": proof.line,
            "trips": proof.trips,
            "on_file": proof.is_known,
            "interval": proof.best.known.interval,
            "resource_minimum": proof.resource_minimum,
            "recurrence_minimum": proof.recurrence_minimum,
            "cycles": proof.cycles,
            "best_interval": proof.best.schedule.interval,
            "best_cycles": proof.best_cycles,
            "best_stages": proof.best.schedule.stages,
            "proved_minimal": proof.best.is_minimal,
            "undecided": list(proof.best.undecided),
            "verdict": proof.best.verdict,
            "argument": proof.best.argument,
            "effort_s": round(proof.best.effort, 3),
        }
        for proof in proofs
    ]
    record = {"kernel": kernel, "tokens": tokens, "width": width, "loops": loops}
    if kept is not None:
        record["kept"] = [entry.loop for entry in kept.entries]
        record["refused"] = [entry.loop for entry in kept.refused]
    return indented_json(record)
