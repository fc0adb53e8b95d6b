"""What a report shows: a benchmark's figures, and for each of its kernels one traced run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xattn.bench.explain import Explanation
from xattn.bench.explain.execution import Execution
from xattn.bench.explain.loops import hottest, measured_loops
from xattn.bench.explain.measure import trace_program
from xattn.bench.explain.report import explain
from xattn.bench.record import PEAK_MACS_PER_CYCLE, BenchRecord, KernelRecord
from xattn.bench.report.pipeline import Pipeline, pipeline_of
from xattn.bench.stages import StagesRecord, stage_cycles
from xattn.devices import KernelFaultError
from xattn.errors import InputError
from xattn.kernels.registry import compiled, kernel_spec

Progress = Callable[[int, int, str], None]
"""Called with (kernels done, kernels in all, what runs next)."""


@dataclass(frozen=True)
class Traced:
    """One kernel's traced run. `memory_bytes`: what its loads and stores move between registers and local memory."""

    explanation: Explanation
    stages: StagesRecord
    pipeline: Pipeline | None
    memory_bytes: int


@dataclass(frozen=True)
class KernelPage:
    """One kernel of the benchmark; `traced` is None where it is not to be had, and `missing` says why."""

    record: KernelRecord
    traced: Traced | None
    missing: str = ""

    @property
    def bound(self) -> float:
        """The MAC bound: cycles that the multiplier alone would take."""
        return self.record.macs / PEAK_MACS_PER_CYCLE

    @property
    def differs(self) -> bool:
        """Whether the traced run took other cycles than the benchmark says."""
        return self.traced is not None and self.record.cycles not in (None, self.traced.explanation.cycles)


@dataclass(frozen=True)
class Contents:
    """The whole report. `source`: where the benchmark's figures come from."""

    bench: BenchRecord
    pages: tuple[KernelPage, ...]
    source: str


def contents_of(bench: BenchRecord, source: str, progress: Progress | None = None) -> Contents:
    """Run each kernel of a benchmark once under a tracer, on a synthetic tile of the benchmark's shape.

    A kernel that this version does not have, or that fails, has no traced run.
    """
    pages = []
    for done, record in enumerate(bench.kernels):
        if progress is not None:
            progress(done, len(bench.kernels), f"{record.name}: traced run")
        pages.append(_page(record, bench.input.tokens, bench.input.width))
    return Contents(bench, tuple(pages), source)


def _page(record: KernelRecord, tokens: int, width: int) -> KernelPage:
    try:
        spec, program = kernel_spec(record.name), compiled(record.name, tokens, width)
        run, sources, subject = trace_program(spec, program, tokens, width)
    except (InputError, KernelFaultError) as error:
        return KernelPage(record, None, str(error))
    hot = hottest(measured_loops(run, sources))
    traced = Traced(
        explanation=explain(run, sources, subject),
        stages=stage_cycles(program, run.cycles_at, run.stalls),
        pipeline=None if hot is None else pipeline_of(run, hot, program),
        memory_bytes=_memory_bytes(run),
    )
    return KernelPage(record, traced)


def _memory_bytes(run: Execution) -> int:
    """Bytes that loads and stores move, by the size that each opcode's table entry says."""
    return sum(
        times * (operation.opcode.memory.bytes or 0)
        for address, times in run.executed.items()
        for operation in run.bundles[address].operations
        if operation.opcode.memory is not None
    )
