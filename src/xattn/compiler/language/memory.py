"""Arrays of the kernel language: views with a shape, indexed by constants and loop indices.

`q[i, c]` loads an element (a scalar, or a vector when the view's elements are vectors), `out[i, c] = value` stores one,
and an index with fewer places than the view has dimensions names a part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from xattn.compiler.ir import Affine, Array, Counter, Loop
from xattn.compiler.language.types import AccumulatorType, ScalarType, VectorType
from xattn.errors import InputError

if TYPE_CHECKING:
    from xattn.compiler.language.kernel import Kernel

ElementType = ScalarType | VectorType | AccumulatorType


@dataclass(frozen=True)
class Index:
    """An index known up to loop counters: a constant plus multiples of them."""

    value: Affine

    def __add__(self, other: Index | int) -> Index:
        return Index(self.value + (other.value if isinstance(other, Index) else other))

    __radd__ = __add__

    def __sub__(self, other: int) -> Index:
        return Index(self.value + -other)

    def __mul__(self, factor: int) -> Index:
        return Index(self.value.scaled(factor))

    __rmul__ = __mul__

    @classmethod
    def of(cls, loop: Loop, axis: int = 0) -> Index:
        """A counter of a loop."""
        return cls(Affine.of(0, {Counter(loop, axis): 1}))


@dataclass(frozen=True)
class View:
    """Memory seen as an array of `shape` with elements of `type`; strides in bytes."""

    kernel: Kernel
    array: Array
    type: ElementType
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: Affine

    def _locate(self, index: object) -> View:
        indices = index if isinstance(index, tuple) else (index,)
        if len(indices) > len(self.shape):
            raise InputError(f"{self.array.name} has shape {self.shape}, found {len(indices)} indices")
        offset = self.offset
        for number, size, stride in zip(indices, self.shape, self.strides, strict=False):
            if isinstance(number, Index):
                offset = offset + number.value.scaled(stride)
            elif isinstance(number, int) and 0 <= number < size:
                offset = offset + number * stride
            else:
                raise InputError(f"{self.array.name}: index {number!r} is outside 0 … {size - 1} of shape {self.shape}")
        rest = len(indices)
        return replace(self, offset=offset, shape=self.shape[rest:], strides=self.strides[rest:])

    def __getitem__(self, index: object) -> Any:
        """A part of the array, or with as many indices as dimensions the loaded element."""
        part = self._locate(index)
        return part if part.shape else self.kernel.load(part)

    def element(self, *index: object) -> View:
        """The element that the indices name, not loaded."""
        return self._locate(index)

    def __setitem__(self, index: object, value: object) -> None:
        """Store an element: the low bits of a scalar, a vector, or an accumulator narrowed on its way."""
        part = self._locate(index)
        if part.shape:
            raise InputError(f"{self.array.name} of shape {self.shape} stores element by element, found index {index}")
        self.kernel.store(part, value)

    def at(self, index: Any) -> Any:
        """Load the element whose number is a run-time scalar (one dimension)."""
        return self.kernel.load_at(self, index)

    def reshape(self, *shape: int) -> View:
        """The same contiguous memory with another shape."""
        return view(self.kernel, self.array, self.type, shape, self.offset)

    def blocks(self, type: ElementType, *shape: int) -> View:
        """The same contiguous memory as vectors, or whatever the type is."""
        return view(self.kernel, self.array, type, shape, self.offset)

    def strided(self, type: ElementType, shape: Sequence[int], strides: Sequence[int]) -> View:
        """The same memory with explicit strides in bytes."""
        return replace(self, type=type, shape=tuple(shape), strides=tuple(strides))


def view(kernel: Kernel, array: Array, type: ElementType, shape: Sequence[int], offset: Affine | None = None) -> View:
    """A row-major view of an array."""
    strides, step = [], type.bytes
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return View(kernel, array, type, tuple(shape), tuple(reversed(strides)), offset or Affine())
