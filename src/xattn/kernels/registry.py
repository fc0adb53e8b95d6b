"""The kernels by name: what each computes, the shapes it takes, how arguments are packed, and its integer model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from xattn.compiler.compile import CompiledKernel, compile_kernel
from xattn.compiler.known import ScheduleFiles
from xattn.compiler.language import Kernel
from xattn.compiler.schedule import KnownSchedules
from xattn.errors import InputError
from xattn.kernels.baseline import baseline
from xattn.kernels.fused import fused
from xattn.kernels.lut import lut, vectorized_lut
from xattn.kernels.panels import from_tiles, to_column_panels, to_panels
from xattn.kernels.products import matmul_int8, qkt
from xattn.kernels.sound import sound
from xattn.kernels.sound_layout import STATE_ARRAYS, pack_causal, pack_masked, pack_operands, pack_state, unpack_state
from xattn.kernels.tiled import tiled
from xattn.kernels.vectorized import vectorized
from xattn.kernels.vectorized_pv import vectorized_pv
from xattn.numerics import compat
from xattn.numerics.compat import compat_model, pack_qkv
from xattn.numerics.sound import BlockMask, SoundState, init_state, process_block

SCHEDULES = Path(__file__).parent / "schedules"  # of loops for which the compiler's own search finds no better one

Int8 = NDArray[np.int8]
Matrix = NDArray[np.int8] | NDArray[np.int32]
Arrays = Mapping[str, NDArray[Any]]
Computes = Literal["attention", "scores", "product", "block"]


def row_major(data: Int8, rows: int, columns: int) -> Int8:
    """`[rows · columns]` → `[rows, columns]`."""
    return data.reshape(rows, columns)


@dataclass(frozen=True)
class KernelSpec:
    """One kernel of the ladder.

    `computes` says what comes of int8 Q, K, V `[tokens, width]`: "attention" O `[tokens, width]`, "scores"
    S = clamp(Q·Kᵀ >> shift) `[tokens, tokens]` (V is not looked at), "product" C = clamp(A·B >> 7) of two square
    matrices, for which Q stands in for A and K for B, or "block" one block of flash attention: from the state
    `SoundState` before the block to the state after it, as its int32 matrix `[tokens, width + 2]`.

    `build` records the program for (tokens, width). `pack` turns Q, K, V into the kernel's arguments by name, `unpack`
    the bytes of its output arrays into the row-major result of that shape. `model` is the integer model that the result
    must equal, bit for bit. For a block, `pack` and `model` take the state before as one argument more; without it, it
    is the state before any key. Where a kernel `takes_mask`, one more says which keys count; without it, all do. One
    with a diagonal is for those that `takes_diagonal`.

    `program_of` names the kernel whose program this row of the ladder runs too, for another situation: `rising` says
    that the block is such a one that every row's reference rises, else that none does.
    """

    name: str
    summary: str
    build: Callable[[Kernel, int, int], None]
    model: Callable[..., Matrix]
    shapes: tuple[tuple[int, int], ...] = ((64, 64), (16, 16))
    computes: Computes = "attention"
    pack: Callable[..., Arrays] = lambda q, k, v: {"qkv": pack_qkv(q, k, v)}
    outputs: tuple[str, ...] = ("out",)
    unpack: Callable[[Int8, int, int], Matrix] = row_major
    program_of: str | None = None
    rising: bool = False
    takes_mask: bool = False
    takes_diagonal: bool = False

    @property
    def carries_state(self) -> bool:
        """Whether there is a state before, which a run may be given."""
        return self.computes == "block"

    def macs(self, tokens: int, width: int) -> int:
        """Multiply-accumulates that the mathematics needs: two products of tokens × tokens × width, or one."""
        return (2 if self.computes in ("attention", "block") else 1) * tokens * tokens * width

    def output_shape(self, tokens: int, width: int) -> tuple[int, int]:
        """Rows and columns of the result."""
        return tokens, {"scores": tokens, "block": width + 2}.get(self.computes, width)


def _sound_model(q: Int8, k: Int8, v: Int8, shift: int, before: SoundState | None = None) -> Matrix:
    return process_block(before or init_state((len(q),)), q, k, v, shift).matrix


def _sound_arrays(q: Int8, k: Int8, v: Int8, before: SoundState | None = None) -> Arrays:
    return pack_operands(q, k, v) | pack_state(before or init_state((len(q),)))


def _masked_model(
    q: Int8, k: Int8, v: Int8, shift: int, before: SoundState | None = None, mask: BlockMask | None = None
) -> Matrix:
    seen = None if mask is None else mask.visible(len(q))
    return process_block(before or init_state((len(q),)), q, k, v, shift, key_mask=seen).matrix


def _masked_arrays(
    q: Int8, k: Int8, v: Int8, before: SoundState | None = None, mask: BlockMask | None = None
) -> Arrays:
    keys = np.ones(len(k), np.bool_) if mask is None else mask.keys
    return pack_masked(q, k, v, keys) | pack_state(before or init_state((len(q),)))


def _causal_arrays(
    q: Int8, k: Int8, v: Int8, before: SoundState | None = None, mask: BlockMask | None = None
) -> Arrays:
    every = BlockMask(np.ones(len(k), np.bool_))
    return pack_causal(q, k, v, mask or every) | pack_state(before or init_state((len(q),)))


_SOUND = KernelSpec(
    "sound",
    "a block of flash attention in mid-sequence, from state to state, where no row's reference rises",
    sound,
    _sound_model,
    ((64, 64),),
    "block",
    _sound_arrays,
    STATE_ARRAYS,
    lambda data, _tokens, _columns: unpack_state(data).matrix,
)


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
        _SOUND,
        replace(
            _SOUND,
            name="sound_rescale",
            summary="the program of sound where every row's reference rises, and with it old sums are shifted down",
            program_of="sound",
            rising=True,
        ),
        replace(
            _SOUND,
            name="sound_masked",
            summary="sound with a mask of keys, on a block like a head's last one: some keys count, others are padding",
            build=partial(sound, masked=True),
            model=_masked_model,
            pack=_masked_arrays,
            takes_mask=True,
        ),
        replace(
            _SOUND,
            name="sound_causal",
            summary="sound with a causal mask too, on a block that the diagonal runs through",
            build=partial(sound, masked=True, causal=True),
            model=_masked_model,
            pack=_causal_arrays,
            takes_mask=True,
            takes_diagonal=True,
        ),
    )
    return {spec.name: spec for spec in ladder}


def kernel_spec(name: str) -> KernelSpec:
    """The kernel called `name`; InputError lists the names there are."""
    try:
        return kernels()[name]
    except KeyError:
        raise InputError(f"no kernel is called {name!r}; there are {', '.join(kernels())}") from None


def compiled(name: str, tokens: int = 64, width: int = 64) -> CompiledKernel:
    """The kernel's machine code for a shape; InputError names the shapes it can take."""
    return _compiled(program_of(name, tokens, width), tokens, width, schedule_files())


@lru_cache(maxsize=64)
def _compiled(name: str, tokens: int, width: int, files: ScheduleFiles) -> CompiledKernel:
    return compile_anew(name, tokens, width, files.schedules)


def compile_anew(name: str, tokens: int, width: int, known: KnownSchedules) -> CompiledKernel:
    """As `compiled`, with these schedules for loops instead of those on file."""
    spec = kernel_spec(program_of(name, tokens, width))
    return compile_kernel(lambda k: spec.build(k, tokens, width), spec.name, known)


def program_of(name: str, tokens: int, width: int) -> str:
    """The kernel whose program this one runs, mostly itself; InputError names the shapes it can take."""
    spec = kernel_spec(name)
    if (tokens, width) not in spec.shapes:
        shapes = ", ".join(f"{t}×{w}" for t, w in spec.shapes)
        raise InputError(f"kernel {name} cannot take {tokens} tokens of width {width}; it takes {shapes}")
    return spec.program_of or name


def schedule_files() -> ScheduleFiles:
    """The schedules of loops that come with the kernels."""
    return ScheduleFiles(SCHEDULES)
