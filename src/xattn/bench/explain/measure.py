"""What is explained: a kernel of ours, run on the simulated core under a tracer, or a traced run of an ELF program."""

from __future__ import annotations

import numpy as np

from xattn.bench.activations import synthetic_activations
from xattn.bench.blocks import tile_for
from xattn.bench.explain.execution import Tracer
from xattn.bench.explain.record import Explanation
from xattn.bench.explain.report import Subject, explain
from xattn.bench.explain.sources import sources_of_kernel, sources_of_symbols
from xattn.compiler.compile import CompiledKernel
from xattn.devices import Host
from xattn.devices.simulator import SimulatedKernel
from xattn.isa.elf import ElfImage
from xattn.kernels.registry import KernelSpec, compiled, kernel_spec
from xattn.sim.core import Result

SEED = 0


def explain_kernel(name: str, tokens: int = 64, width: int = 64) -> Explanation:
    """Run a kernel of the ladder once on a synthetic tile `[tokens, width]` and explain its cycles.

    InputError names the kernels there are and the shapes that this one takes; KernelFaultError when it fails.
    """
    return explain_program(kernel_spec(name), compiled(name, tokens, width), tokens, width)


def explain_program(spec: KernelSpec, program: CompiledKernel, tokens: int, width: int) -> Explanation:
    """The same for any program that computes what `spec` says, such as a variant of a kernel."""
    tracer = Tracer()
    kernel = SimulatedKernel(spec, program, tokens, width, tracer.step)
    tracer.watch(kernel.core)
    tile = tile_for(spec, synthetic_activations(SEED), 0, tokens, width)
    operands = (tile.q, tile.k, tile.v, tile.shift, tile.before)
    result = kernel.run(*operands)
    model = Host().load(spec, tokens, width).run(*operands)
    assert result.cycles is not None
    subject = Subject(
        name=spec.name,
        kind="kernel",
        input=f"synthetic activations, seed {SEED}",
        tokens=tokens,
        width=width,
        macs=spec.macs(tokens, width),
        exact=bool(np.array_equal(result.output, model.output)),
        findings=result.findings,
    )
    return explain(tracer.finish(result.cycles), sources_of_kernel(program), subject)


def explain_elf(tracer: Tracer, result: Result, image: ElfImage, name: str) -> Explanation:
    """Explain a finished run of a program that somebody else compiled, from what the tracer saw of it."""
    functions = [(symbol.value, symbol.name) for symbol in image.symbols if symbol.kind == "func"]
    found = [f"{finding.kind.value} at {finding.pc:#x}: {finding.cause}" for finding in result.findings]
    subject = Subject(name=name, kind="elf", input="as given on the command line", findings=tuple(found))
    return explain(tracer.finish(result.cycles), sources_of_symbols(functions), subject)
