"""Running a sweep: the points that are not finished yet, wherever there is a process for them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor, as_completed

from xattn.bench.ladder import measure_ladder
from xattn.bench.sweep.log import SweepLog
from xattn.bench.sweep.points import ActivationsOf, Point, Row
from xattn.bench.sweep.pools import Pool
from xattn.devices import Simulator
from xattn.errors import XattnError
from xattn.sim.core import chosen_engine

_DEATHS = 3  # so often may processes die with no point finished in between

Progress = Callable[[int, int, str], None]

_interpreted: set[tuple[str, int, int]] = set()  # kernels and shapes that this process has run once


class SweepError(XattnError):
    """The processes of a sweep died again and again."""


def measure_point(point: Point, activations_of: ActivationsOf) -> Row:
    """Run the point's kernel once. What is wrong with it or its input becomes the row's fault.

    The first run of a kernel and shape in a process is interpreted, which looks for every finding; where the extra
    `jit` is installed the others are translated, in the same cycles.
    """
    worker = f"{socket.gethostname()}:{os.getpid()}"
    row = Row(
        point=point,
        passed=False,
        cycles=None,
        stalls=None,
        program_bytes=None,
        cosine=None,
        rel_l2=None,
        faults=[],
        worker=worker,
    )
    try:
        record = measure_ladder(
            activations_of(point),
            [point.kernel],
            first=point.token,
            tokens=point.tokens,
            width=point.width,
            device=_device(point),
            runs=1,
            compared=False,
        )
    except XattnError as error:
        row.faults = [str(error)]
        return row
    (kernel,) = record.kernels
    row.passed, row.cycles, row.stalls, row.program_bytes = (
        kernel.passed, kernel.cycles, kernel.stalls, kernel.program_bytes
    )  # fmt: skip
    row.cosine, row.rel_l2, row.faults = kernel.cosine, kernel.rel_l2, kernel.faults
    return row


def _device(point: Point) -> Simulator:
    program = point.kernel, point.tokens, point.width
    if program in _interpreted:
        return Simulator(engine=chosen_engine("auto"))
    _interpreted.add(program)
    return Simulator(engine="interpreter")


def run_sweep(
    points: Sequence[Point], activations_of: ActivationsOf, log: SweepLog, pool: Pool, progress: Progress | None = None
) -> list[Row]:
    """Run the points that `log` does not hold, each of which is logged as soon as it is finished; returns all rows.

    When a process dies, the points that were under way run again. SweepError when processes die three times without a
    point finished in between.
    """
    deaths = 0
    while unfinished := [point for point in points if point not in log.rows]:
        before = len(log.rows)
        try:
            with pool() as executor:
                _run(unfinished, activations_of, log, executor, progress, len(points))
        except BrokenExecutor as error:
            deaths = deaths + 1 if len(log.rows) == before else 1
            if deaths >= _DEATHS:
                raise SweepError(
                    f"processes died {deaths} times with no point finished ({error}); "
                    f"what is finished is in {log.file}, and the same command goes on with it"
                ) from None
    return [log.rows[point] for point in points]


def _run(
    points: Sequence[Point],
    activations_of: ActivationsOf,
    log: SweepLog,
    executor: Executor,
    progress: Progress | None,
    total: int,
) -> None:
    futures = [executor.submit(measure_point, point, activations_of) for point in points]
    if progress is not None:
        progress(total - len(points), total, "sweep")
    for done, future in enumerate(as_completed(futures), total - len(points) + 1):
        row = future.result()
        log.add(row)
        if progress is not None:
            progress(done, total, row.point.text)
