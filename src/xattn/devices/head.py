"""A whole head on the simulated core, block by block: 64 query rows at a time walk over the blocks of keys.

The state of the rows stays in the core's memory from block to block, as on the NPU. Blocks in which all keys count go
through `sound`; those in which some do not, such as the last one of 1,500 keys, through `sound_masked`, and those that
a causal mask's diagonal runs through, through `sound_causal`. The state then moves between the memories of the
programs, byte by byte.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from xattn.devices.device import Int8
from xattn.devices.simulator import SimulatedKernel, Simulator
from xattn.errors import InputError
from xattn.kernels.registry import kernel_spec
from xattn.kernels.sound_layout import STATE_ARRAYS, pack_causal, pack_masked, pack_operands, pack_state, unpack_state
from xattn.numerics.sound import BLOCK, MAX_KEYS, BlockMask, Order, SoundState, block_order, init_state, to_blocks

Mask = NDArray[np.bool_]
WHOLE, MASKED, CAUSAL = "sound", "sound_masked", "sound_causal"
MAX_SHIFT = 31


@dataclass(frozen=True)
class HeadRun:
    """What a head gave. `cycles` are simulated, summed over its blocks: no DMA, no launch, no division at the end."""

    state: SoundState
    """Of every query, after the last block of keys."""
    cycles: int
    blocks: int
    masked_blocks: int
    """Of the blocks, those in which some keys do not count. Blocks that no query sees are not run, and not counted."""
    rescaled_blocks: int
    """Of the blocks, those in which a reference of the 64 rows rose, each row block's first one included."""
    findings: tuple[str, ...]
    notes: tuple[str, ...]
    """Why runs were slower than they could have been."""


class HeadOnCore:
    """The programs of a block, each in a core of its own, ready for any number of heads."""

    def __init__(self, simulator: Simulator | None = None) -> None:
        self._simulator = Simulator() if simulator is None else simulator
        self._kernels: dict[str, SimulatedKernel] = {}

    def _kernel(self, name: str) -> SimulatedKernel:
        if name not in self._kernels:
            self._kernels[name] = self._simulator.load(kernel_spec(name), BLOCK, BLOCK)
        return self._kernels[name]

    def attend(
        self,
        q: Int8,
        k: Int8,
        v: Int8,
        shift: int,
        *,
        order: Order = "natural",
        key_mask: Mask | None = None,
        causal: bool = False,
        done: Callable[[int], None] = lambda _: None,
    ) -> HeadRun:
        """Attend, q `[queries, 64]` to k and v `[keys, 64]`, all int8, scores shifted right by `shift`.

        `order` and `causal` as in `xattn.attention`; `key_mask` `[keys]` bool, keys that are False (padding) weigh
        exactly 0. `done` is called with the number of blocks after each row block. InputError for other shapes and
        dtypes, and a shift that the kernel does not do; KernelFaultError when the kernel fails.
        """
        _require_head(q, k, v, shift, key_mask)
        counts = np.ones(len(k), np.bool_) if key_mask is None else key_mask
        rows, masks = to_blocks(q), to_blocks(counts[:, np.newaxis])[..., 0]
        blocks = list(zip(to_blocks(k), to_blocks(v), masks, strict=True))
        packed = lru_cache(maxsize=None)(lambda n, diagonal: _KeyBlock.of(*blocks[n], diagonal))
        total = _Total()
        states = []
        for number, chosen in enumerate(block_order(len(rows), len(blocks), order).tolist()):
            diagonals = [BLOCK * (number - n) + len(k) - len(q) if causal else None for n in chosen]
            of_rows = [packed(n, _within(d)) for n, d in zip(chosen, diagonals, strict=True) if d is None or d > -BLOCK]
            states.append(self._rows(rows[number], of_rows, shift, total))
            done(len(blocks))
        joined = SoundState.from_matrix(np.concatenate([state.matrix for state in states])[: len(q)])
        findings = tuple(dict.fromkeys(str(f) for kernel in self._kernels.values() for f in kernel.core.findings))
        return HeadRun(
            joined,
            total.cycles,
            total.blocks,
            total.masked,
            total.rescaled,
            findings,
            tuple(dict.fromkeys(total.notes)),
        )

    def _rows(self, q: Int8, blocks: list[_KeyBlock], shift: int, total: _Total) -> SoundState:
        """64 rows over blocks of keys."""
        arrays = {name: array.tobytes() for name, array in pack_state(init_state((BLOCK,))).items()}
        packed = pack_operands(q, q, q)["q"].tobytes()
        for name in {block.kernel for block in blocks}:
            self._kernel(name).write("q", packed)
        holder: SimulatedKernel | None = None
        for block in blocks:
            kernel = self._kernel(block.kernel)
            if kernel is not holder:
                if holder is not None:
                    arrays = {name: holder.read(name) for name in STATE_ARRAYS}
                for name in STATE_ARRAYS:
                    kernel.write(name, arrays[name])
                holder = kernel
            before = kernel.read("state")
            kernel.write("k", block.k)
            kernel.write("v", block.v)
            result = kernel.call(shift)
            total.add(result.cycles, block.kernel, _references(before) != _references(kernel.read("state")))
            if note := kernel.note(result.engine):
                total.notes.append(note)
        if holder is not None:
            arrays = {name: holder.read(name) for name in STATE_ARRAYS}
        return unpack_state(np.frombuffer(b"".join(arrays[name] for name in STATE_ARRAYS), np.int8))


def _within(diagonal: int | None) -> int | None:
    """The diagonal of a block, where it runs through it: a block wholly below it has none."""
    return None if diagonal is None or diagonal >= BLOCK - 1 else diagonal


@dataclass(frozen=True)
class _KeyBlock:
    """64 keys as the kernel takes them, and which kernel that is."""

    kernel: str
    k: bytes
    v: bytes

    @classmethod
    def of(cls, k: Int8, v: Int8, counts: Mask, diagonal: int | None) -> _KeyBlock:
        if diagonal is not None:
            name, packed = CAUSAL, pack_causal(k, k, v, BlockMask(counts, diagonal))
        elif counts.all():
            name, packed = WHOLE, pack_operands(k, k, v)
        else:
            name, packed = MASKED, pack_masked(k, k, v, counts)
        return cls(name, packed["k"].tobytes(), packed["v"].tobytes())


class _Total:
    """What the blocks took together."""

    def __init__(self) -> None:
        self.cycles = self.blocks = self.masked = self.rescaled = 0
        self.notes: list[str] = []

    def add(self, cycles: int, kernel: str, rises: bool) -> None:
        self.cycles += cycles
        self.blocks += 1
        self.masked += kernel != WHOLE
        self.rescaled += rises


def _references(state: bytes) -> bytes:
    """The rows' references in the bytes of the array `state`."""
    group = len(state) // 4
    return b"".join(state[at : at + 2 * 16] for at in range(0, len(state), group))


def _require_head(q: Int8, k: Int8, v: Int8, shift: int, key_mask: Mask | None) -> None:
    for name, array in (("q", q), ("k", k), ("v", v)):
        if array.dtype != np.int8 or array.ndim != 2 or array.shape[1] != BLOCK or not len(array):
            raise InputError(f"{name} is {array.dtype} {list(array.shape)}; a head is int8 [tokens, {BLOCK}]")
    if len(k) != len(v):
        raise InputError(f"k has {len(k)} tokens and v has {len(v)}; expected one value for each key")
    if len(k) > MAX_KEYS:
        raise InputError(f"k has {len(k)} tokens, expected at most {MAX_KEYS}: the int32 accumulators could wrap")
    if not 0 <= shift <= MAX_SHIFT:
        raise InputError(f"the scores' shift is {shift}; the kernel shifts right, by 0 to {MAX_SHIFT}")
    if key_mask is not None and (key_mask.dtype != np.bool_ or key_mask.shape != (len(k),)):
        raise InputError(f"the mask is {key_mask.dtype} {list(key_mask.shape)}; expected bool [{len(k)}]")
