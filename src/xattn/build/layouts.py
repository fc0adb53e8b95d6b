"""How a kernel's arrays lie in host memory and in the core: found out by packing numbered bytes.

A kernel's `pack` and `unpack` are the truth. Where they only permute, the host keeps plain row-major matrices and DMA
does the rest; where they compute, the host does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xattn.array.walks import Permutation
from xattn.kernels.registry import KernelSpec

Int8 = NDArray[np.int8]
OPERANDS = ("q", "k", "v")


@dataclass(frozen=True)
class ArrayLayout:
    """One argument: `operand` is the matrix (q, k, v) that it holds, `source[i]` the row-major byte at its place i.

    `operand` None: the host packs the argument as the kernel takes it, and `source` counts straight on.
    """

    name: str
    operand: str | None
    source: Permutation


def input_layouts(spec: KernelSpec, tokens: int, width: int) -> dict[str, ArrayLayout]:
    """The layout of each argument that the kernel reads."""
    size = tokens * width
    sources = _permutations(lambda q, k, v: spec.pack(q, k, v), tokens, width)
    found = {}
    for name, source in sources.items():
        owner = set((source // size).tolist()) if source is not None else set()
        if source is not None and len(owner) == 1 and len(source) == size:
            found[name] = ArrayLayout(name, OPERANDS[owner.pop()], source % size)
        else:
            length = len(spec_bytes(spec, tokens, width)[name])
            found[name] = ArrayLayout(name, None, np.arange(length))
    return found


def output_layout(spec: KernelSpec, tokens: int, width: int) -> ArrayLayout:
    """The layout of the only output: `source[i]` is the byte of the kernel's array that comes to row-major place i."""
    rows, columns = spec.output_shape(tokens, width)
    numbers = np.arange(rows * columns)
    planes = [spec.unpack(_plane(numbers, place), rows, columns).reshape(-1) for place in range(3)]
    (name,) = spec.outputs
    return ArrayLayout(name, name, _joined([plane.astype(np.int8) for plane in planes]))


def spec_bytes(spec: KernelSpec, tokens: int, width: int) -> Mapping[str, bytes]:
    """The kernel's packed arguments for matrices of zeros: what they weigh."""
    zeros = np.zeros((tokens, width), np.int8)
    return {name: array.tobytes() for name, array in spec.pack(zeros, zeros, zeros).items()}


def _permutations(
    pack: Callable[..., Mapping[str, NDArray[Any]]], tokens: int, width: int
) -> dict[str, Permutation | None]:
    """For each argument, which byte of Q, K, V in a row stands where; None if it is not just moved bytes."""
    size = tokens * width
    numbers = np.arange(3 * size)

    def packed(flat: Int8) -> dict[str, NDArray[Any]]:
        matrices = (flat[n * size : (n + 1) * size].reshape(tokens, width) for n in range(3))
        return {name: np.ascontiguousarray(array).reshape(-1) for name, array in pack(*matrices).items()}

    planes = [packed(_plane(numbers, place)) for place in range(3)]
    check = np.random.default_rng(0).integers(-127, 128, 3 * size).astype(np.int8)
    checked = packed(check)
    found: dict[str, Permutation | None] = {}
    for name, array in checked.items():
        source = _joined([plane[name].view(np.int8) for plane in planes])
        moved = array.dtype == np.int8 and source.max() < 3 * size and np.array_equal(check[source], array)
        found[name] = source if moved else None
    return found


# Numbers go through int8 arrays seven bits at a time, so that kernels that check their operands see plain int8.
_BITS = 7


def _plane(numbers: Permutation, place: int) -> Int8:
    return (numbers >> _BITS * place & ((1 << _BITS) - 1)).astype(np.int8)


def _joined(planes: list[Int8]) -> Permutation:
    return np.asarray(sum(plane.astype(np.int64) << _BITS * place for place, plane in enumerate(planes)))
