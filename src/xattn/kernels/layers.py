"""The kernels of an encoder block besides attention, by name: what they take and give, and what bounds them.

They are no rungs of the ladder: their arguments are arrays of their own, named as in their files. The integer models
are in `xattn.numerics.layers`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial

from xattn.compiler.compile import CompiledKernel, compile_kernel
from xattn.compiler.language import Kernel
from xattn.errors import InputError
from xattn.kernels.attention_end import attention_end
from xattn.kernels.gelu import NUMBERS, gelu
from xattn.kernels.layer_norm import ROWS as ROW_BLOCKS
from xattn.kernels.layer_norm import layer_norm
from xattn.kernels.matmul import add_residual, matmul_accumulate, matmul_narrow, matmul_start
from xattn.kernels.panels import PIECE
from xattn.kernels.registry import schedule_files

NORM_WIDTHS = (384, 512, 768)
"""Of Whisper tiny, base and small."""


@dataclass(frozen=True)
class LayerKernel:
    """One kernel.

    `results`: the arrays that a call writes, with their dtypes. `multiplier`: operations of the one multiplier, of
    which a cycle holds one: no program for this arithmetic takes fewer cycles. `macs`: int8 multiply-accumulates that
    the mathematics needs; 0 where the work is not of that kind.
    """

    name: str
    summary: str
    build: Callable[[Kernel], None]
    results: tuple[tuple[str, str], ...]
    multiplier: int
    macs: int = 0


@lru_cache(maxsize=1)
def layer_kernels() -> dict[str, LayerKernel]:
    """Every kernel."""
    return {kernel.name: kernel for kernel in (_gelu(), *_matmuls(), *_norms(), _attention_end())}


def _gelu() -> LayerKernel:
    summary = "64 tokens of 64 channels, int8 to int8"
    return LayerKernel("gelu", summary, gelu, (("y", "int8"),), 5 * NUMBERS // 32)


def _matmuls() -> Iterator[LayerKernel]:
    block = 64 * 64 * 64
    sums, products, blocks = (("sums0", "int32"), ("sums1", "int32")), block // 256, 64 * 64 // 32
    about = {
        "start": (matmul_start, "a product of 64×64×64, from a bias on", sums, products),
        "accumulate": (matmul_accumulate, "the same, added to the sums of earlier calls", sums, products),
        "narrow": (matmul_narrow, "the last one, to int8", (("out", "int8"),), products + blocks),
    }
    for name, (build, summary, results, multiplier) in about.items():
        yield LayerKernel(f"matmul_{name}", summary, build, results, multiplier, block)
    summary = "sums of 64×64, added to a stream of int16"
    yield LayerKernel("add_residual", summary, add_residual, (("x", "int16"),), blocks)


def _norms() -> Iterator[LayerKernel]:
    for width in NORM_WIDTHS:
        blocks = ROW_BLOCKS * width // PIECE
        summary = f"{4 * ROW_BLOCKS} tokens of {width} channels, int16 to int8"
        build = partial(layer_norm, width=width)
        # one product a block for the mean, two for the variance, two to normalise
        yield LayerKernel(f"layer_norm_{width}", summary, build, (("y", "int8"),), 5 * blocks)


def _attention_end() -> LayerKernel:
    summary = "64 rows of accumulators of attention over their running sums, to int8"
    return LayerKernel("attention_end", summary, attention_end, (("out", "int8"),), 64 * 64 // 32)


def layer_kernel(name: str) -> LayerKernel:
    """The kernel called `name`; InputError lists the names there are."""
    try:
        return layer_kernels()[name]
    except KeyError:
        raise InputError(f"no kernel of a layer is called {name!r}; there are {', '.join(layer_kernels())}") from None


@lru_cache(maxsize=16)
def compiled_layer(name: str) -> CompiledKernel:
    """The kernel's machine code; InputError for an unknown name."""
    return compile_kernel(layer_kernel(name).build, name, schedule_files().schedules)
