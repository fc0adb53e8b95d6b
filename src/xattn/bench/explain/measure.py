"""What is explained: a kernel of ours, run on the simulated core under a tracer, or a traced run of an ELF program."""

from __future__ import annotations

from xattn.bench.explain.execution import Execution, Tracer
from xattn.bench.explain.record import Explanation
from xattn.bench.explain.report import Subject, explain
from xattn.bench.explain.sources import Sources, sources_of_kernel, sources_of_symbols
from xattn.bench.single import INPUT, run_once
from xattn.compiler.compile import CompiledKernel
from xattn.isa.elf import ElfImage
from xattn.kernels.registry import KernelSpec, compiled, kernel_spec
from xattn.sim.core import Result


def explain_kernel(name: str, tokens: int = 64, width: int = 64) -> Explanation:
    """Run a kernel of the ladder once on a synthetic tile `[tokens, width]` and explain its cycles.

    InputError names the kernels there are and the shapes that this one takes; KernelFaultError when it fails.
    """
    return explain_program(kernel_spec(name), compiled(name, tokens, width), tokens, width)


def explain_program(spec: KernelSpec, program: CompiledKernel, tokens: int, width: int) -> Explanation:
    """The same for any program that computes what `spec` says, such as a variant of a kernel."""
    return explain(*trace_program(spec, program, tokens, width))


def trace_program(
    spec: KernelSpec, program: CompiledKernel, tokens: int, width: int
) -> tuple[Execution, Sources, Subject]:
    """Run a program once; what there is to explain."""
    tracer = Tracer()
    run = run_once(spec, program, tokens, width, tracer.step, tracer.watch)
    subject = Subject(
        name=spec.name,
        kind="kernel",
        input=INPUT,
        tokens=tokens,
        width=width,
        macs=spec.macs(tokens, width),
        exact=run.exact,
        findings=run.findings,
    )
    return tracer.finish(run.cycles), sources_of_kernel(program), subject


def explain_elf(tracer: Tracer, result: Result, image: ElfImage, name: str) -> Explanation:
    """Explain a finished run of a program that somebody else compiled, from what the tracer saw of it."""
    functions = [(symbol.value, symbol.name) for symbol in image.symbols if symbol.kind == "func"]
    found = [f"{finding.kind.value} at {finding.pc:#x}: {finding.cause}" for finding in result.findings]
    subject = Subject(name=name, kind="elf", input="as given on the command line", findings=tuple(found))
    return explain(tracer.finish(result.cycles), sources_of_symbols(functions), subject)
