"""What a host puts into the buffers of a design before a run, and what it finds in them behind it.

Buffers hold blocks one behind another, in the order `xattn.build.designs.BLOCK_ORDER`. A block is a row-major matrix
of int8 where DMA brings it into the layout of the kernel, else what the kernel's `pack` makes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from xattn.build.images import Images
from xattn.build.layouts import OPERANDS, ArrayLayout, input_layouts
from xattn.build.manifest import Manifest
from xattn.errors import InputError
from xattn.kernels.registry import KernelSpec, Matrix, kernel_spec

Int8 = NDArray[np.int8]
Further = Sequence[tuple[Any, ...]]
"""For each block of Q, what the kernel's `pack` and `model` take behind their other arguments: a state, a mask."""


@dataclass(frozen=True)
class HostBuffers:
    """The buffers of one run for blocks of `tokens` × `width`: `sizes` in bytes and `counts` in blocks by their names,
    in the order of the kernel's arguments."""

    spec: KernelSpec
    tokens: int
    width: int
    sizes: Mapping[str, int]
    counts: Mapping[str, int]

    @classmethod
    def of_images(cls, spec: KernelSpec, images: Images) -> HostBuffers:
        """Those of a design in memory."""
        blocks = {port.name: port.bytes for port in images.kernel.ports}
        sizes = {buffer.name: buffer.bytes for buffer in images.design.buffers}
        counts = {name: size // blocks[name] for name, size in sizes.items()}
        return cls(spec, images.tokens, images.width, sizes, counts)

    @classmethod
    def of_manifest(cls, manifest: Manifest) -> HostBuffers:
        """Those of a build; InputError when it is of a kernel that is not in the registry."""
        buffers = sorted(manifest.buffers, key=lambda buffer: buffer.argument)
        sizes, counts = ({b.name: b.bytes for b in buffers}, {b.name: b.blocks for b in buffers})
        return cls(kernel_spec(manifest.kernel), manifest.tokens, manifest.width, sizes, counts)

    @cached_property
    def blocks(self) -> Mapping[str, int]:
        """How many blocks of Q, of K and of V one run takes, by "q", "k", "v"."""
        most = max(self.counts.values())
        whole = [count for name, count in self.counts.items() if name in self._layouts and not self._operand(name)]
        found = {}
        for operand in OPERANDS:
            own = [count for name, count in self.counts.items() if self._operand(name) == operand]
            found[operand] = max([*own, *whole], default=most)
        return found

    def runs(self, q: Int8, k: Int8, v: Int8) -> int:
        """How many runs these operands, int8 `[blocks, tokens, width]`, are for.

        InputError for another dtype or shape, or numbers of blocks that are not the same multiple of those of a run.
        """
        for (name, size), array in zip(self.blocks.items(), (q, k, v), strict=True):
            if array.dtype != np.int8 or array.ndim != 3 or array.shape[1:] != (self.tokens, self.width):
                raise InputError(
                    f"{name.upper()} is {array.dtype} {list(array.shape)}; "
                    f"this kernel was loaded for int8 [blocks, {self.tokens}, {self.width}]"
                )
            if not len(array) or len(array) % size or len(array) // size != len(q) // self.blocks["q"]:
                raise InputError(
                    f"{len(q)}, {len(k)} and {len(v)} blocks of Q, K, V; a run of this design takes {dict(self.blocks)}"
                )
        return len(q) // self.blocks["q"]

    def pack(self, q: Int8, k: Int8, v: Int8, further: Further) -> list[bytes]:
        """The buffers for one run, by number of the argument; those that are only written hold zeros."""
        operands = dict(zip(OPERANDS, (q, k, v), strict=True))
        buffers = []
        for name, size in self.sizes.items():
            operand, count = self._operand(name), self.counts[name]
            if name not in self._layouts:
                buffers.append(bytes(size))
            elif operand is not None:
                buffers.append(operands[operand].tobytes())
            else:
                packed = (self._packed(operands, further, n, count)[name] for n in range(count))
                buffers.append(b"".join(array.tobytes() for array in packed))
        return buffers

    def launches(self, q: Int8, k: Int8, v: Int8, further: Further) -> Iterator[list[bytes]]:
        """The buffers of each run that so many blocks take, one run after another; InputError as `runs`."""
        runs = self.runs(q, k, v)
        for number in range(runs):
            a, b, c = (x[number * len(x) // runs : (number + 1) * len(x) // runs] for x in (q, k, v))
            yield self.pack(a, b, c, further[number * len(a) : (number + 1) * len(a)])

    def unpack(self, buffers: Sequence[bytes]) -> Matrix:
        """The results of one run `[blocks, rows, columns]`: row-major already where DMA brings them so."""
        shape = self.spec.output_shape(self.tokens, self.width)
        found = dict(zip(self.sizes, buffers, strict=True))
        names = self.spec.outputs
        if len(names) == 1 and names[0] not in self._layouts:
            return np.frombuffer(found[names[0]], np.int8).reshape(-1, *shape)
        arrays = [np.frombuffer(found[name], np.int8).reshape(self.counts[name], -1) for name in names]
        results = [self.spec.unpack(np.concatenate(block), *shape) for block in zip(*arrays, strict=True)]
        return cast("Matrix", np.stack(results))

    def expected(self, q: Int8, k: Int8, v: Int8, shift: int, further: Further) -> Matrix:
        """What the integer model makes of the same operands, `[blocks, rows, columns]`, one for each block of Q."""
        results = []
        for number, more in enumerate(further):
            matrices = (array[number * len(array) // len(further)] for array in (q, k, v))
            results.append(self.spec.model(*matrices, shift, *more))
        return cast("Matrix", np.stack(results))

    @cached_property
    def _layouts(self) -> Mapping[str, ArrayLayout]:
        return input_layouts(self.spec, self.tokens, self.width)

    def _operand(self, name: str) -> str | None:
        layout = self._layouts.get(name)
        return None if layout is None else layout.operand

    def _packed(self, operands: Mapping[str, Int8], further: Further, number: int, count: int) -> Mapping[str, Matrix]:
        """The kernel's arguments for one of `count` blocks, as the host packs them."""
        matrices = (array[number * len(array) // count] for array in operands.values())
        return self.spec.pack(*matrices, *further[number * len(further) // count])
