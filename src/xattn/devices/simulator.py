"""The simulator as a device: one AIE2 core that executes a kernel's machine code, every finding an error.

But for one: a read of the old value of a register whose new value is on its way. The pipeline is exposed, and the
compiler uses those cycles on purpose; a read that comes too early by mistake shows in the output.

Memory is laid out as the compiler wants it (each argument and table at the address where the kernel is at its best),
the stack in the first 1,024 bytes; all else is memory that nobody wrote, whose use is a finding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from xattn.compiler.compile import CompiledKernel
from xattn.devices.device import Int8, KernelFaultError, RunResult, block_arguments, require_operands
from xattn.errors import InputError
from xattn.isa.timing import DATA_MEMORY_BASE
from xattn.kernels.registry import KernelSpec, Matrix, compiled
from xattn.numerics.sound import BlockMask, SoundState
from xattn.sim.core import Core, Counts, Pointer, Result, chosen_engine
from xattn.sim.engine import Trace
from xattn.sim.findings import Kind, Severity, SimulationError

STACK_BYTES = 1024
PROGRAM_BASE = 0
NOT_INSTALLED = "every run was interpreted: with llvmlite (pip install 'xattn[jit]') the simulator is far faster"


@dataclass(frozen=True)
class Simulator:
    """A simulated AIE2 core for each kernel that is loaded. `trace` is called before every bundle that it runs.

    `engine`: "interpreter" looks for every finding in every run; "translator" runs native code made from the kernel's
    bytes, some hundred times faster, and looks for few (see `xattn.sim.core.LEFT_OUT`); "auto" interprets the first run
    of each loaded kernel and translates the others, where llvmlite is installed.
    """

    name: str = "simulator"
    trace: Trace | None = None
    engine: str = "auto"

    def load(self, spec: KernelSpec, tokens: int, width: int) -> SimulatedKernel:
        """Compile the kernel and put it into a fresh core; InputError names the shapes that it takes."""
        return SimulatedKernel(spec, compiled(spec.name, tokens, width), tokens, width, self.trace, self.engine)


class SimulatedKernel:
    """A kernel in the program memory of a core of its own. Runs follow one another on that core."""

    def __init__(
        self,
        spec: KernelSpec,
        program: CompiledKernel,
        tokens: int,
        width: int,
        trace: Trace | None = None,
        engine: str = "auto",
    ) -> None:
        self.spec, self.program, self.tokens, self.width = spec, program, tokens, width
        self._wanted, self._usable = engine, chosen_engine(engine)
        self._runs = 0
        self._sizes = {array.name: array.size for array in program.arrays}
        stack = (DATA_MEMORY_BASE, DATA_MEMORY_BASE + STACK_BYTES)
        self._core = Core(strict=True, severity={Kind.READ_IN_FLIGHT: Severity.IGNORE}, stack=stack, trace=trace)
        self._core.load(program.code, PROGRAM_BASE)
        for array in program.arrays:
            if array.contents is not None:
                self._core.write_memory(program.addresses[array.name], array.contents)

    @property
    def core(self) -> Core:
        """The core that the kernel runs on, for a look at its registers and memory."""
        return self._core

    def run(
        self,
        q: Int8,
        k: Int8,
        v: Int8,
        shift: int,
        before: SoundState | None = None,
        mask: BlockMask | None = None,
    ) -> RunResult:
        """Run once: int8 Q, K, V `[tokens, width]` in, what the kernel computes and its cycles out.

        The operands, and the state before a block, are written anew, everything else is as the last run left it.
        KernelFaultError when the simulator finds an error; InputError for another shape or dtype, or a state or mask
        that the kernel does not take.
        """
        require_operands(self.tokens, self.width, q, k, v)
        for name, array in self.spec.pack(q, k, v, *block_arguments(self.spec, before, mask)).items():
            self.write(name, array.tobytes())
        so_far = self._core.counts
        result = self.call(shift)
        return RunResult(
            output=self._output(),
            cycles=result.cycles,
            stalls=result.bank_stalls + result.lock_stalls,
            cycles_at=_difference(so_far, self._core.counts),
            findings=tuple(str(finding) for finding in result.findings),
            engine=result.engine,
            note=self.note(result.engine),
        )

    def write(self, name: str, data: bytes) -> None:
        """Put an array of the program's, as it lies in memory."""
        self._core.write_memory(self.program.addresses[name], data)

    def read(self, name: str) -> bytes:
        """An array of the program's, as it lies in memory."""
        return self._core.read_memory(self.program.addresses[name], self._sizes[name])

    def call(self, shift: int) -> Result:
        """Call the program on what lies in memory; KernelFaultError when the simulator finds an error."""
        try:
            result = self._core.call(
                PROGRAM_BASE, self._arguments({"shift": shift}), sp=DATA_MEMORY_BASE, engine=self._engine()
            )
        except SimulationError as error:
            raise KernelFaultError(str(error)) from error
        self._runs += 1
        return result

    def _engine(self) -> str:
        """The engine of the next run."""
        if self._core.is_traced or (self._wanted == "auto" and self._runs == 0):
            return "interpreter"
        return self._usable

    def note(self, used: str) -> str:
        """Why a run was interpreted that should not have been."""
        if used == "translator" or self._core.is_traced or self._wanted == "interpreter":
            return ""
        if self._usable == "interpreter":
            return NOT_INSTALLED
        left = self._core.translator.why_not
        return f"{self.spec.name} was interpreted, which is slow: {left}" if left else ""

    def _arguments(self, scalars: Mapping[str, int]) -> list[int]:
        """Pointers to the arrays and the scalars, in the order of the kernel's declaration."""
        unknown = [name for name in self.program.scalars if name not in scalars]
        if unknown:
            raise InputError(f"kernel {self.spec.name} wants {', '.join(unknown)}, known are {', '.join(scalars)}")
        pointers = [Pointer(self.program.addresses[name]) for name in self.program.arguments]
        return [*pointers, *(scalars[name] for name in self.program.scalars)]

    def _output(self) -> Matrix:
        rows, columns = self.spec.output_shape(self.tokens, self.width)
        read = b"".join(self.read(name) for name in self.spec.outputs)
        return self.spec.unpack(np.frombuffer(read, np.int8), rows, columns)


def _difference(before: Mapping[int, Counts], after: Mapping[int, Counts]) -> dict[int, int]:
    """Cycles by address between two states of the core's counters."""
    spent = {address: count.executed + count.stalled for address, count in after.items()}
    return {a: cycles - (before[a].executed + before[a].stalled if a in before else 0) for a, cycles in spent.items()}
