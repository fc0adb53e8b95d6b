"""The kernels by name: what each computes, the shapes it takes, how arguments are packed, and its integer model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from xattn.compiler.compile import CompiledKernel, compile_kernel
from xattn.compiler.language import Kernel
from xattn.errors import InputError
from xattn.kernels.baseline import baseline
from xattn.kernels.fused import fused
from xattn.kernels.lut import lut, vectorized_lut
from xattn.kernels.panels import from_tiles, to_column_panels, to_panels
from xattn.kernels.products import matmul_int8, qkt
from xattn.kernels.tiled import tiled
from xattn.kernels.vectorized import vectorized
from xattn.kernels.vectorized_pv import vectorized_pv
from xattn.numerics import compat
from xattn.numerics.compat import compat_model, pack_qkv

Int8 = NDArray[np.int8]
Computes = Literal["attention", "scores", "product"]


def row_major(data: Int8, rows: int, columns: int) -> Int8:
    """`[rows · columns]` → `[rows, columns]`."""
    return data.reshape(rows, columns)


@dataclass(frozen=True)
class KernelSpec:
    """One kernel of the ladder.

    `computes` says what comes of int8 Q, K, V `[tokens, width]`: "attention" O `[tokens, width]`, "scores"
    S = clamp(Q·Kᵀ >> shift) `[tokens, tokens]` (V is not looked at), or "product" C = clamp(A·B >> 7) of two square
    matrices, for which Q stands in for A and K for B.

    `build` records the program for (tokens, width). `pack` turns Q, K, V into the kernel's arguments by name, `unpack`
    the bytes of its output array into the row-major result of that shape. `model` is the integer model that the result
    must equal, bit for bit.
    """

    name: str
    summary: str
    build: Callable[[Kernel, int, int], None]
    model: Callable[[Int8, Int8, Int8, int], Int8]
    shapes: tuple[tuple[int, int], ...] = ((64, 64), (16, 16))
    computes: Computes = "attention"
    pack: Callable[[Int8, Int8, Int8], Mapping[str, Int8]] = lambda q, k, v: {"qkv": pack_qkv(q, k, v)}
    output: str = "out"
    unpack: Callable[[Int8, int, int], Int8] = row_major

    def macs(self, tokens: int, width: int) -> int:
        """Multiply-accumulates that the mathematics needs: two products of tokens × tokens × width, or one."""
        return (2 if self.computes == "attention" else 1) * tokens * tokens * width

    def output_shape(self, tokens: int, width: int) -> tuple[int, int]:
        """Rows and columns of the result."""
        return (tokens, tokens) if self.computes == "scores" else (tokens, width)


@lru_cache(maxsize=1)
def kernels() -> dict[str, KernelSpec]:
    """Every kernel, in the order of the ladder."""
    v0, table = compat_model("v0"), compat_model("lut")
    products = ((64, 64), (32, 32), (16, 16))
    ladder = (
        KernelSpec("baseline", "scalar, row by row", baseline, v0),
        KernelSpec("tiled", "scalar, in two tiles of rows", tiled, v0),
        KernelSpec("lut", "scalar, exponentials from a table", lut, table),
        KernelSpec("vectorized", "Q·Kᵀ in 4×8×8 block products, the rest scalar", vectorized, v0),
        KernelSpec("vectorized_lut", "the same, exponentials from a table", vectorized_lut, table),
        KernelSpec("vectorized_pv", "both products in 4×8×8 block products, softmax scalar", vectorized_pv, v0),
        KernelSpec(
            "fused",
            "everything on vectors, exponentials as the table has them; on panels",
            fused,
            table,
            pack=lambda q, k, v: {"q": to_panels(q), "k": to_panels(k), "v": to_column_panels(v)},
            unpack=from_tiles,
        ),
        KernelSpec(
            "qkt",
            "Q·Kᵀ alone, on panels",
            qkt,
            lambda q, k, _v, shift: compat.scores_clamped(q, k, shift),
            products,
            "scores",
            lambda q, k, _v: {"q": to_panels(q), "k": to_panels(k)},
            unpack=from_tiles,
        ),
        KernelSpec(
            "matmul_int8",
            "a product of square matrices, on panels",
            matmul_int8,
            lambda a, b, _v, _shift: compat.matmul_int8(a, b),
            products,
            "product",
            lambda a, b, _v: {"a": to_panels(a), "b": to_column_panels(b)},
            unpack=from_tiles,
        ),
    )
    return {spec.name: spec for spec in ladder}


def kernel_spec(name: str) -> KernelSpec:
    """The kernel called `name`; InputError lists the names there are."""
    try:
        return kernels()[name]
    except KeyError:
        raise InputError(f"no kernel is called {name!r}; there are {', '.join(kernels())}") from None


@lru_cache(maxsize=64)
def compiled(name: str, tokens: int = 64, width: int = 64) -> CompiledKernel:
    """The kernel's machine code for a shape; InputError names the shapes it can take."""
    spec = kernel_spec(name)
    if (tokens, width) not in spec.shapes:
        shapes = ", ".join(f"{t}×{w}" for t, w in spec.shapes)
        raise InputError(f"kernel {name} cannot take {tokens} tokens of width {width}; it takes {shapes}")
    return compile_kernel(lambda k: spec.build(k, tokens, width), name)
