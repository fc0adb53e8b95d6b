"""`xattn sweep`: kernels × shapes × inputs, in many processes, and to be gone on with after an interruption."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xattn.cli.activations import activations_of_point
from xattn.cli.files import indented_json, require_writable, tile_shape, write_bytes
from xattn.cli.progress import progress_bar
from xattn.cli.results import StoreOption, say
from xattn.errors import InputError

if TYPE_CHECKING:
    from xattn.bench.sweep import Point, Pool, Row

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_MOST = 1_000_000


@app.command()
def sweep(
    kernel: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A kernel, repeatable (default: all).")
    ] = None,
    shape: Annotated[list[str] | None, typer.Option(metavar="TxW", help="A shape, repeatable (default 64x64).")] = None,
    seed: Annotated[
        list[str] | None, typer.Option(metavar="N", help="Seeds of synthetic activations: 3, 0-9 or 1,4 (default 0).")
    ] = None,
    layer: Annotated[
        list[str] | None, typer.Option(metavar="N", help="Encoder layers of real activations, likewise.")
    ] = None,
    head: Annotated[list[str] | None, typer.Option(metavar="N", help="Heads of those layers (default 0).")] = None,
    token: Annotated[int, typer.Option(metavar="N", help="First token of the tile.")] = 0,
    jobs: Annotated[
        int | None, typer.Option(metavar="N", help="Processes on this machine (default: one a processor).")
    ] = None,
    dask: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Run on a dask cluster: its scheduler, tcp://host:8786.")
    ] = None,
    out: Annotated[
        str | None, typer.Option(metavar="FILE", help="Log of the finished points (default: in the data folder).")
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Forget the points that the log holds.")] = False,
    json: Annotated[
        str | None, typer.Option(metavar="FILE", help='Write all rows as JSON; "-" is standard output.')
    ] = None,
    table: Annotated[
        str | None, typer.Option("--csv", metavar="FILE", help='Write all rows as CSV; "-" is standard output.')
    ] = None,
    store: StoreOption = None,
) -> None:
    """Measure many points, each one kernel on one tile, run once: cycles (simulated), exactness, accuracy.

    Every point is logged as soon as it is finished: after an interruption, the same command goes on where it was. Exit
    code 1 when a kernel is not exact or faulty anywhere, 2 for input that cannot be used.
    """
    from xattn.bench.sweep import SweepError, SweepLog, points_of, run_sweep

    shapes = [tile_shape(text) for text in shape or ["64x64"]]
    points, left_out = points_of(kernel or [], shapes, _inputs(seed, layer, head), token)
    if left_out:
        say(f"left out, as the kernel cannot take the shape: {', '.join(left_out)}")
    for file in (json, table):
        if file is not None:
            require_writable(file)
    if json == table == "-":
        raise InputError("--json - and --csv -: only one of them can be on standard output")
    pool = _pool(jobs, dask)
    activations_of_point(points[0])  # what cannot be had is said before the work begins
    log_file = _default_log(points, store) if out is None else Path(out)
    with SweepLog(log_file, restart=restart, warn=say) as log, progress_bar("sweep") as progress:
        finished = sum(point in log.rows for point in points)
        say(f"{len(points)} points, {finished} finished already; log: {log_file}")
        try:
            rows = run_sweep(points, activations_of_point, log, pool, progress)
        except SweepError as error:
            say(str(error))
            raise typer.Exit(1) from None
    _show(rows, to_stderr="-" in (json, table))
    if json is not None:
        write_bytes(json, indented_json(rows))
    if table is not None:
        write_bytes(table, _as_csv(rows))
    if not all(row.passed for row in rows):
        raise typer.Exit(1)


def _inputs(seed: list[str] | None, layer: list[str] | None, head: list[str] | None) -> list[dict[str, int]]:
    if layer is None and head is None:
        return [{"seed": n} for n in _numbers("--seed", seed or ["0"])]
    if seed is not None:
        raise InputError("--seed chooses synthetic activations, --layer and --head real ones: leave one out")
    layers, heads = _numbers("--layer", layer or ["0"]), _numbers("--head", head or ["0"])
    return [{"layer": a, "head": b} for a, b in product(layers, heads)]


def _numbers(option: str, texts: Sequence[str]) -> list[int]:
    """The numbers that "3", "0-9" and "1,4" say, in order."""
    found: list[int] = []
    for part in ",".join(texts).split(","):
        low, dash, high = part.strip().partition("-")
        if not low.isdecimal() or (dash and not high.isdecimal()):
            raise InputError(f"{option} {part.strip()!r}: expected a number, a range (0-9) or a list (1,4)")
        last = int(high) if dash else int(low)
        if not int(low) <= last < int(low) + _MOST:
            raise InputError(f"{option} {part.strip()!r}: expected a range upwards, of at most {_MOST:,}")
        found += range(int(low), last + 1)
    return found


def _pool(jobs: int | None, dask: str | None) -> Pool:
    from xattn.bench.provenance import usable_cpus
    from xattn.bench.sweep import dask_pool, local_pool

    if dask is None:
        return local_pool(usable_cpus() if jobs is None else jobs)
    if jobs is not None:
        raise InputError("--jobs counts processes of this machine; a dask cluster has its own workers")
    return dask_pool(dask)


def _default_log(points: Sequence[Point], store: str | None) -> Path:
    """One file for each set of points, in the data folder."""
    import msgspec

    from xattn.bench.store import data_folder

    folder = data_folder() if store is None else Path(store).expanduser()
    digest = hashlib.sha256(msgspec.json.encode(points)).hexdigest()
    return folder / "sweeps" / f"{digest[:12]}.jsonl"


def _show(rows: Sequence[Row], to_stderr: bool) -> None:
    from statistics import mean, median

    from rich.console import Console

    from xattn.bench.show import line, new_table
    from xattn.bench.table import MIN_WIDTH

    console = Console(stderr=to_stderr)
    console.width = max(console.width, MIN_WIDTH)
    shown = new_table("kernel", "points", "exact", "cycles: least", "median", "most", "mean rel. L2", "worst")
    for name in dict.fromkeys(_group(row) for row in rows):
        group = [row for row in rows if _group(row) == name]
        cycles = [row.cycles for row in group if row.cycles is not None]
        errors = [row.rel_l2 for row in group if row.rel_l2 is not None]
        counts = [f"{f(cycles):,.0f}" for f in (min, median, max)] if cycles else ["–"] * 3
        means = [f"{f(errors):.4f}" for f in (mean, max)] if errors else ["–"] * 2
        shown.add_row(name, str(len(group)), str(sum(row.passed for row in group)), *counts, *means)
    console.print(shown, crop=False)
    for row in rows:
        for fault in row.faults:
            line(console, f"{row.point.text}: {fault}")
    line(console, "cycles: simulated, one run of one tile, without DMA and launch")


def _group(row: Row) -> str:
    return f"{row.point.kernel} {row.point.tokens}×{row.point.width}"


def _as_csv(rows: Sequence[Row]) -> bytes:
    flat = [_flat(row) for row in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue().encode()


def _flat(row: Row) -> dict[str, Any]:
    import msgspec

    fields = msgspec.structs.asdict(row)
    return msgspec.structs.asdict(fields.pop("point")) | fields | {"faults": "; ".join(row.faults)}
