"""The kernels by name: what each computes, the shapes it takes, how arguments are packed, and its integer model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from xattn.compiler.compile import CompiledKernel, compile_kernel
from xattn.compiler.language import Kernel
from xattn.errors import InputError
from xattn.kernels.baseline import baseline
from xattn.kernels.tiled import tiled
from xattn.kernels.vectorized import vectorized
from xattn.numerics.compat import compat_model, pack_qkv

Int8 = NDArray[np.int8]


@dataclass(frozen=True)
class KernelSpec:
    """One kernel of the ladder.

    `build` records the program for (tokens, width). `pack` turns int8 Q, K, V `[tokens, width]` into the kernel's
    arguments by name, `unpack` its output array into O `[tokens, width]`. `model` is the integer model that the output
    must equal, bit for bit.
    """

    name: str
    summary: str
    build: Callable[[Kernel, int, int], None]
    model: Callable[[Int8, Int8, Int8, int], Int8]
    shapes: tuple[tuple[int, int], ...] = ((64, 64), (16, 16))
    pack: Callable[[Int8, Int8, Int8], Mapping[str, Int8]] = lambda q, k, v: {"qkv": pack_qkv(q, k, v)}
    output: str = "out"
    products: int = 2  # matrix products of tokens × tokens × width

    def macs(self, tokens: int, width: int) -> int:
        """Multiply-accumulates that the mathematics needs."""
        return self.products * tokens * tokens * width


@lru_cache(maxsize=1)
def kernels() -> dict[str, KernelSpec]:
    """Every kernel, in the order of the ladder."""
    v0 = compat_model("v0")
    ladder = (
        KernelSpec("baseline", "scalar, row by row", baseline, v0),
        KernelSpec("tiled", "scalar, in two tiles of rows", tiled, v0),
        KernelSpec("vectorized", "Q·Kᵀ in 4×8×8 block products, the rest scalar", vectorized, v0),
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
