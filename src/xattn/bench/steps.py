"""The whole suite: a list of steps, run one after another, each of which gives a result to store.

A step is added by appending it to `STEPS`. Whatever it writes besides its result goes to `job.folder`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from xattn.bench.accuracy import measure_accuracy
from xattn.bench.activations import Activations
from xattn.bench.ladder import DEFAULT_CLOCK_HZ, RUNS, Progress, measure_ladder
from xattn.bench.record import Result
from xattn.errors import InputError

QUICK_TILES = 4


@dataclass(frozen=True)
class Job:
    """What the steps work on."""

    activations: Activations
    kernels: tuple[str, ...] = ()
    """Empty: all that take the shape."""
    shapes: tuple[tuple[int, int], ...] = ((64, 64),)
    first: int = 0
    clock_hz: float = DEFAULT_CLOCK_HZ
    quick: bool = False
    folder: Path | None = None
    """Where a step may leave files; None: nowhere."""
    progress: Progress | None = None
    done: list[Result] = field(default_factory=list)
    """Results of the steps before."""


@dataclass(frozen=True)
class Step:
    """One part of the suite."""

    name: str
    summary: str
    run: Callable[[Job], Sequence[Result]]


def _ladder(job: Job) -> list[Result]:
    return [
        measure_ladder(
            job.activations,
            job.kernels,
            first=job.first,
            tokens=tokens,
            width=width,
            clock_hz=job.clock_hz,
            progress=job.progress,
            runs=1 if job.quick else len(RUNS),
        )
        for tokens, width in job.shapes
    ]


def _accuracy(job: Job) -> list[Result]:
    return [measure_accuracy(job.activations, QUICK_TILES if job.quick else None)]


STEPS = [
    Step("ladder", "every kernel on the simulated core: exactness, cycles, accuracy of one tile", _ladder),
    Step("accuracy", "the integer arithmetics against float attention, over many tiles", _accuracy),
]


def steps_named(names: Sequence[str]) -> list[Step]:
    """The steps of these names, in the suite's order; all where none is named. InputError for an unknown name."""
    known = [step.name for step in STEPS]
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"no step is called {unknown[0]!r}; there are {', '.join(known)}")
    return [step for step in STEPS if not names or step.name in names]
