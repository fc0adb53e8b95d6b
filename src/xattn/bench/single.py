"""One run of a kernel on the simulated core, watched bundle by bundle, on a tile that is always the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from xattn.bench.activations import synthetic_activations
from xattn.bench.blocks import tile_for
from xattn.compiler.compile import CompiledKernel
from xattn.devices import Host
from xattn.devices.simulator import SimulatedKernel
from xattn.kernels.registry import KernelSpec
from xattn.sim.core import Core
from xattn.sim.engine import Trace

SEED = 0
INPUT = f"synthetic activations, seed {SEED}"


@dataclass(frozen=True)
class SingleRun:
    """What a run gave. `cycles` are simulated; `exact`: the output equals the integer model's."""

    cycles: int
    stalls: int
    exact: bool
    findings: tuple[str, ...]


def run_once(
    spec: KernelSpec,
    program: CompiledKernel,
    tokens: int,
    width: int,
    trace: Trace,
    watch: Callable[[Core], None] | None = None,
) -> SingleRun:
    """Run a program that computes what `spec` says on a synthetic tile `[tokens, width]`, and the integer model too.

    `trace` is called before every bundle, `watch` with the core before the run. KernelFaultError when it fails.
    """
    kernel = SimulatedKernel(spec, program, tokens, width, trace)
    if watch is not None:
        watch(kernel.core)
    tile = tile_for(spec, synthetic_activations(SEED), 0, tokens, width)
    operands = (tile.q, tile.k, tile.v, tile.shift, tile.before, tile.mask)
    result = kernel.run(*operands)
    model = Host().load(spec, tokens, width).run(*operands)
    assert result.cycles is not None
    exact = bool(np.array_equal(result.output, model.output))
    return SingleRun(result.cycles, result.stalls or 0, exact, result.findings)
