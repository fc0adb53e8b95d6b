"""The simulated array as a device: a kernel built into a design, run from its PDI and instruction stream as encoded.

A design has room for a number of blocks a run: one on a single core, four on four columns, sixteen on four by four. The
host hands over row-major matrices; where a kernel wants another layout, the design's DMA makes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from xattn.array.instructions import read_instructions
from xattn.array.pdi import read_pdi
from xattn.build.images import Images, build_images
from xattn.build.layouts import OPERANDS, input_layouts
from xattn.devices.device import Int8, KernelFaultError, RunResult, further_arguments
from xattn.errors import InputError
from xattn.kernels.registry import KernelSpec, Matrix, compiled
from xattn.numerics.sound import BlockMask, SoundState
from xattn.sim.array.findings import ArrayError
from xattn.sim.array.machine import Array
from xattn.sim.array.report import ArrayResult
from xattn.sim.array.timing import ArrayTiming


@dataclass(frozen=True)
class ArraySimulator:
    """A simulated array for each kernel that is loaded, built into `design`; `timing` for other figures."""

    design: str = "tile"
    timing: ArrayTiming | None = None

    @property
    def name(self) -> str:
        """What reports call the device."""
        return f"array simulator, {self.design}"

    def load(self, spec: KernelSpec, tokens: int, width: int) -> ArrayKernel:
        """Build the kernel for one shape; InputError names the shapes that it takes, or what does not fit."""
        return ArrayKernel(spec, tokens, width, self.design, self.timing)


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

    def __init__(self, spec: KernelSpec, tokens: int, width: int, design: str, timing: ArrayTiming | None) -> None:
        self.spec, self.tokens, self.width, self.design = spec, tokens, width, design
        self._timing = timing
        self._layouts = input_layouts(spec, tokens, width)
        self._takes_shift = "shift" in compiled(spec.name, tokens, width).scalars
        self._ready: dict[int, tuple[Images, Array]] = {}
        images, _ = self._for_shift(0)
        sizes = {port.name: port.bytes for port in images.kernel.ports}
        self._counts = {buffer.name: buffer.bytes // sizes[buffer.name] for buffer in images.design.buffers}

    @property
    def blocks(self) -> Mapping[str, int]:
        """How many blocks of Q, of K and of V one run takes, by "q", "k", "v"."""
        most = max(self._counts.values())
        whole = [count for name, count in self._counts.items() if name in self._layouts and not self._operand(name)]
        found = {}
        for operand in OPERANDS:
            own = [count for name, count in self._counts.items() if self._operand(name) == operand]
            found[operand] = max([*own, *whole], default=most)
        return found

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
        if max(self._counts.values()) > 1:
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
        runs = self._check(q, k, v)
        further = further_arguments(self.spec, len(q), before, masks)
        images, array = self._for_shift(shift if self._takes_shift else 0)
        stream = read_instructions(images.instructions)
        outputs, results = [], []
        for number in range(runs):
            operands = {
                name: array_[number * size : (number + 1) * size]
                for (name, size), array_ in zip(self.blocks.items(), (q, k, v), strict=True)
            }
            of_run = further[number * self.blocks["q"] : (number + 1) * self.blocks["q"]]
            try:
                results.append(array.run(stream, self._buffers(images, operands, of_run)))
            except ArrayError as error:
                raise KernelFaultError(str(error)) from error
            outputs.append(self._output(images, results[-1]))
        return BlocksResult(cast("Matrix", np.concatenate(outputs)), tuple(results))

    def _operand(self, name: str) -> str | None:
        layout = self._layouts.get(name)
        return None if layout is None else layout.operand

    def _for_shift(self, shift: int) -> tuple[Images, Array]:
        if shift not in self._ready:
            scalars = {"shift": shift} if self._takes_shift else {}
            images = build_images(self.spec.name, self.design, self.tokens, self.width, scalars)
            array = Array(timing=self._timing)
            array.load(read_pdi(images.pdi).cdo())
            self._ready[shift] = images, array
        return self._ready[shift]

    def _check(self, q: Int8, k: Int8, v: Int8) -> int:
        """How many runs the operands are for."""
        for (name, size), array in zip(self.blocks.items(), (q, k, v), strict=True):
            if array.dtype != np.int8 or array.ndim != 3 or array.shape[1:] != (self.tokens, self.width):
                raise InputError(
                    f"{name.upper()} is {array.dtype} {list(array.shape)}; "
                    f"this kernel was loaded for int8 [blocks, {self.tokens}, {self.width}]"
                )
            if not len(array) or len(array) % size or len(array) // size != len(q) // self.blocks["q"]:
                raise InputError(
                    f"{len(q)}, {len(k)} and {len(v)} blocks of Q, K, V; "
                    f"design {self.design} takes {dict(self.blocks)} a run"
                )
        return len(q) // self.blocks["q"]

    def _buffers(self, images: Images, operands: Mapping[str, Int8], further: Sequence[tuple[Any, ...]]) -> list[bytes]:
        """The host's buffers of one run: row-major blocks one after another, or packed by the host; output zeros."""
        buffers = []
        for buffer in images.design.buffers:
            operand, count = self._operand(buffer.name), self._counts[buffer.name]
            if buffer.name not in self._layouts:
                buffers.append(bytes(buffer.bytes))
            elif operand is not None:
                buffers.append(operands[operand].tobytes())
            else:
                packed = (self._packed(operands, further, n, count)[buffer.name] for n in range(count))
                buffers.append(b"".join(array.tobytes() for array in packed))
        return buffers

    def _packed(
        self, operands: Mapping[str, Int8], further: Sequence[tuple[Any, ...]], number: int, count: int
    ) -> Mapping[str, Matrix]:
        """The kernel's arguments for one of `count` blocks, as the host packs them."""
        matrices = (array[number * len(array) // count] for array in operands.values())
        return self.spec.pack(*matrices, *further[number * len(further) // count])

    def _output(self, images: Images, result: ArrayResult) -> Matrix:
        """The blocks that the run gave: row-major already where DMA brings them so, else unpacked by the host."""
        shape = self.spec.output_shape(self.tokens, self.width)
        found = {buffer.name: data for buffer, data in zip(images.design.buffers, result.buffers, strict=True)}
        names = images.kernel.outputs
        if len(names) == 1 and not images.kernel.in_place:
            return np.frombuffer(found[names[0]], np.int8).reshape(-1, *shape)
        arrays = [np.frombuffer(found[name], np.int8).reshape(self._counts[name], -1) for name in names]
        blocks = [self.spec.unpack(np.concatenate(block), *shape) for block in zip(*arrays, strict=True)]
        return cast("Matrix", np.stack(blocks))
