"""The simulated array as a device: a kernel built into a design, run from its PDI and instruction stream as encoded.

A design has room for a number of blocks a run: `blocks` on each of its cores. The host hands over row-major matrices;
where a kernel wants another layout, the design's DMA makes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from xattn.array.instructions import InstructionStream, read_instructions
from xattn.array.pdi import read_pdi
from xattn.build.host_buffers import HostBuffers
from xattn.build.images import build_images
from xattn.devices.device import Int8, KernelFaultError, RunResult, further_arguments
from xattn.errors import InputError
from xattn.kernels.registry import KernelSpec, Matrix, compiled
from xattn.numerics.sound import BlockMask, SoundState
from xattn.sim.array.findings import ArrayError
from xattn.sim.array.machine import MAX_CYCLES, Array
from xattn.sim.array.report import ArrayResult
from xattn.sim.array.timing import ArrayTiming


@dataclass(frozen=True)
class ArraySimulator:
    """A simulated array for each kernel that is loaded, built into `design`, with runs of `blocks` blocks on each core;
    `timing` for other figures, `engine` as `Array` takes it."""

    design: str = "tile"
    timing: ArrayTiming | None = None
    blocks: int = 1
    engine: str = "auto"

    @property
    def name(self) -> str:
        """What reports call the device."""
        return f"array simulator, {self.design}"

    def load(self, spec: KernelSpec, tokens: int, width: int) -> ArrayKernel:
        """Build the kernel for one shape; InputError names the shapes that it takes, or what does not fit."""
        return ArrayKernel(spec, tokens, width, self.design, self.timing, self.blocks, self.engine)


@dataclass(frozen=True)
class BlocksResult:
    """What running many blocks gave: `outputs` `[blocks, rows, columns]`, and each run of the array for itself."""

    outputs: Matrix
    runs: tuple[ArrayResult, ...]

    @property
    def cycles(self) -> int:
        """Simulated cycles of all runs; launches by driver and firmware, one a run, are not among them."""
        return sum(run.cycles for run in self.runs)

    @property
    def cycles_per_block(self) -> float:
        """Simulated cycles for each block, on the whole array."""
        return self.cycles / len(self.outputs)

    @property
    def findings(self) -> tuple[str, ...]:
        """What was found wrong, one line each."""
        found = [str(finding) for run in self.runs for finding in run.findings]
        found += [
            f"core ({core.column},{core.row}): {finding}"
            for run in self.runs
            for core in run.cores
            for finding in core.findings
        ]
        return tuple(dict.fromkeys(found))


class ArrayKernel:
    """A kernel in a design on an array of its own. Integers are part of the program, so each shift is a build."""

    def __init__(
        self,
        spec: KernelSpec,
        tokens: int,
        width: int,
        design: str,
        timing: ArrayTiming | None,
        blocks: int = 1,
        engine: str = "auto",
    ) -> None:
        self.spec, self.tokens, self.width, self.design = spec, tokens, width, design
        self._timing, self._per_core, self._engine = timing, blocks, engine
        self._takes_shift = "shift" in compiled(spec.name, tokens, width).scalars
        self._ready: dict[int, tuple[InstructionStream, Array]] = {}
        self.host = self._build(0)

    @property
    def blocks(self) -> Mapping[str, int]:
        """How many blocks of Q, of K and of V one run takes, by "q", "k", "v"."""
        return self.host.blocks

    def run(
        self,
        q: Int8,
        k: Int8,
        v: Int8,
        shift: int,
        before: SoundState | None = None,
        mask: BlockMask | None = None,
    ) -> RunResult:
        """One block: int8 Q, K, V `[tokens, width]`. `cycles` are those of the array, from first to last instruction.

        InputError for another shape or dtype, a state or mask that the kernel does not take, or a design with room for
        more blocks; KernelFaultError when a run cannot end.
        """
        if max(self.host.counts.values()) > 1:
            raise InputError(f"design {self.design} runs {dict(self.blocks)} blocks at once; use run_blocks")
        states = None if before is None else [before]
        masks = None if mask is None else [mask]
        result = self.run_blocks(q[np.newaxis], k[np.newaxis], v[np.newaxis], shift, states, masks)
        return RunResult(result.outputs[0], cycles=result.cycles, findings=result.findings)

    def run_blocks(
        self,
        q: Int8,
        k: Int8,
        v: Int8,
        shift: int,
        before: Sequence[SoundState] | None = None,
        masks: Sequence[BlockMask] | None = None,
    ) -> BlocksResult:
        """Many blocks: int8 `[blocks, tokens, width]` each, as many as `blocks` says or a multiple of all three.

        Where a design shares K and V among cores, block n of Q meets block n · (K's blocks) / (Q's blocks) of those.
        `before`, `masks`: the states before and the masks, one for each block of Q, for a kernel that takes them.
        InputError for other shapes or dtypes; KernelFaultError when a run cannot end.
        """
        self.host.runs(q, k, v)
        wanted = shift if self._takes_shift else 0
        if wanted not in self._ready:
            self._build(wanted)
        stream, array = self._ready[wanted]
        return run_on_array(self.host, array, stream, (q, k, v), before, masks)

    def _build(self, shift: int) -> HostBuffers:
        """Make an array with the design for this shift ready."""
        scalars = {"shift": shift} if self._takes_shift else {}
        images = build_images(self.spec.name, self.design, self.tokens, self.width, scalars, blocks=self._per_core)
        array = Array(timing=self._timing, engine=self._engine)
        array.load(read_pdi(images.pdi).cdo())
        self._ready[shift] = read_instructions(images.instructions), array
        return HostBuffers.of_images(self.spec, images)


def run_on_array(
    host: HostBuffers,
    array: Array,
    stream: InstructionStream,
    operands: tuple[Int8, Int8, Int8],
    before: Sequence[SoundState] | None = None,
    masks: Sequence[BlockMask] | None = None,
    max_cycles: int = MAX_CYCLES,
) -> BlocksResult:
    """Run Q, K and V on an array with the design in it, as often as it takes; errors as in `ArrayKernel.run_blocks`."""
    further = further_arguments(host.spec, len(operands[0]), before, masks)
    outputs, results = [], []
    for buffers in host.launches(*operands, further):
        try:
            results.append(array.run(stream, buffers, max_cycles=max_cycles))
        except ArrayError as error:
            raise KernelFaultError(str(error)) from error
        outputs.append(host.unpack(results[-1].buffers))
    return BlocksResult(cast("Matrix", np.concatenate(outputs)), tuple(results))
