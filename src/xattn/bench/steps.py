"""The whole suite: a list of steps, run one after another, each of which gives a result to store.

A step is added by appending it to `STEPS`. Whatever it writes besides its result goes to `job.folder`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from xattn.bench.accuracy import measure_accuracy
from xattn.bench.activations import Activations
from xattn.bench.ladder import DEFAULT_CLOCK_HZ, RUNS, Progress, measure_ladder
from xattn.bench.peers import Tensors, measure_host, measure_peers
from xattn.bench.record import Result
from xattn.errors import InputError

QUICK_TILES = 4
HOST_TOKENS = 64
QUICK_BUDGET_S, HOST_BUDGET_S, PEERS_BUDGET_S = 0.3, 0.5, 2.0  # of timing for each figure


@dataclass(frozen=True)
class Job:
    """What the steps work on."""

    activations: Activations
    kernels: tuple[str, ...] = ()
    """Empty: all that take the shape."""
    shapes: tuple[tuple[int, int], ...] = ((64, 64),)
    first: int = 0
    heads: Callable[[], Tensors] | None = None
    """Makes all heads of the layer, for the peers; None: the one head stands for them."""
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


def _host(job: Job) -> list[Result]:
    tile = slice(job.first, job.first + HOST_TOKENS)
    q, k, v = (x[np.newaxis, tile] for x in (job.activations.q, job.activations.k, job.activations.v))
    budget = QUICK_BUDGET_S if job.quick else HOST_BUDGET_S
    description = f"one tile of {job.activations.description}"
    return [measure_host(Tensors(q, k, v), description, budget=budget, progress=job.progress)]


def _peers(job: Job) -> list[Result]:
    one = Tensors(*(x[np.newaxis] for x in (job.activations.q, job.activations.k, job.activations.v)))
    tensors = one if job.quick or job.heads is None else job.heads()
    budget = QUICK_BUDGET_S if job.quick else PEERS_BUDGET_S
    return [measure_peers(tensors, job.activations.description, budget=budget, progress=job.progress)]


STEPS = [
    Step("ladder", "every kernel on the simulated core: exactness, cycles, accuracy of one tile", _ladder),
    Step("accuracy", "the integer arithmetics against float attention, over many tiles", _accuracy),
    Step("host", "the integer models on this host: measured times", _host),
    Step("peers", "attention in other libraries on this host: measured times", _peers),
]


def steps_named(names: Sequence[str]) -> list[Step]:
    """The steps of these names, in the suite's order; all where none is named. InputError for an unknown name."""
    known = [step.name for step in STEPS]
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"no step is called {unknown[0]!r}; there are {', '.join(known)}")
    return [step for step in STEPS if not names or step.name in names]
