"""The numbers of a result, by name: what is compared, indexed and plotted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from xattn.bench.record import AccuracyRecord, BenchRecord, MeasuredRecord, Result

Origin = Literal["simulated", "measured", "computed"]
"""Cycles of the simulated core, wall clock on a host, or arithmetic."""


@dataclass(frozen=True)
class Figure:
    """One number. Two results' figures belong together when `subject`, `metric` and `origin` are equal."""

    subject: str
    """A kernel with its shape, or an implementation with its threads."""
    metric: str
    origin: Origin
    value: float | None
    """None where the thing failed. In all metrics less is better."""
    low: float | None = None
    """Interval of a measured figure."""
    high: float | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """What two results' figures have in common."""
        return self.subject, self.metric, self.origin


CYCLES, REL_L2, BYTES, SECONDS = "cycles", "rel. L2", "program bytes", "seconds"


def figures_of(result: Result) -> list[Figure]:
    """All figures of a result, in its order."""
    if isinstance(result, BenchRecord):
        return list(_of_ladder(result))
    if isinstance(result, MeasuredRecord):
        return list(_of_measured(result))
    return list(_of_accuracy(result))


def kernel_subject(name: str, tokens: int, width: int) -> str:
    """How figures name a kernel at a shape."""
    return f"{name} {tokens}×{width}"


def _of_ladder(result: BenchRecord) -> Iterator[Figure]:
    for kernel in result.kernels:
        subject = kernel_subject(kernel.name, result.input.tokens, result.input.width)
        yield Figure(subject, CYCLES, "simulated", kernel.cycles if kernel.passed else None)
        if kernel.rel_l2 is not None:
            yield Figure(subject, REL_L2, "simulated", kernel.rel_l2)
        yield Figure(subject, BYTES, "computed", kernel.program_bytes)


def _of_measured(result: MeasuredRecord) -> Iterator[Figure]:
    for row in result.rows:
        threads = f"{row.threads} thread{'' if row.threads == 1 else 's'}"
        subject = f"{row.name} {row.precision} {result.heads}×{result.tokens}×{result.width}, {threads}"
        timing = row.timing
        if timing is None:
            yield Figure(subject, SECONDS, "measured", None)
        else:
            yield Figure(subject, SECONDS, "measured", timing.median, timing.low, timing.high)


def _of_accuracy(result: AccuracyRecord) -> Iterator[Figure]:
    for row in result.rows:
        yield Figure(kernel_subject(row.name, result.tokens, result.width), REL_L2, "computed", row.rel_l2)
