"""A tensor as it lies in a weights file, and its value as float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class StoredTensor:
    """A view of a tensor inside a file, not yet converted.

    ``data`` is float16, float32 or float64; bfloat16, which NumPy lacks, is uint16 (the upper half of a float32).
    """

    data: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's shape."""
        return self.data.shape

    @property
    def precision(self) -> str:
        """The stored element type: "float16", "bfloat16", "float32" or "float64"."""
        return "bfloat16" if self.data.dtype.itemsize == 2 and self.data.dtype.kind == "u" else self.data.dtype.name

    def float32(self) -> Float32:
        """The values as a fresh contiguous float32 array; exact for all types but float64."""
        if self.precision == "bfloat16":
            return (self.data.astype(np.uint32) << 16).view(np.float32)
        with np.errstate(invalid="ignore", over="ignore"):  # a damaged file's NaN or huge double; who asked will see it
            return np.array(self.data, dtype=np.float32, order="C")

    def rows(self, start: int, stop: int) -> StoredTensor:
        """The rows ``start`` to ``stop`` along the first axis."""
        return StoredTensor(self.data[start:stop])
