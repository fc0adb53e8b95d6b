"""The interface of a device: load a kernel for a shape, run it as often as one likes, get output and cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from xattn.errors import InputError, XattnError
from xattn.kernels.registry import KernelSpec, Matrix
from xattn.numerics.sound import BlockMask, SoundState

Int8 = NDArray[np.int8]


class KernelFaultError(XattnError):
    """The kernel did something that the device cannot go on from, or that no kernel may do."""


@dataclass(frozen=True)
class RunResult:
    """What one run of a kernel gave, and its cost where the device counts it.

    `output` is row-major, of the kernel's `output_shape`: int8 O `[tokens, width]` of attention, or the int32 matrix
    of the state after a block.
    """

    output: Matrix
    cycles: int | None = None
    """Core cycles from the call to the return, bank conflicts included; None where nothing is counted."""
    stalls: int | None = None
    """Those of the cycles that were lost to bank conflicts."""
    cycles_at: dict[int, int] | None = None
    """Cycles by the program address of the bundle that took them."""
    findings: tuple[str, ...] = ()
    """What the device found wrong with the program and could live with, one line each."""
    engine: str | None = None
    """What did the run, on a device that has several: "interpreter" (which looks for everything) or "translator"."""
    note: str = ""
    """Why the run was slower than asked for, in one line."""
    seconds: float | None = None
    """Measured wall time of an NPU's run, from its submission to its end; None where nothing is measured."""


class LoadedKernel(Protocol):
    """A kernel that stands ready on a device. What a run leaves in memory is there when the next one starts."""

    def run(
        self,
        q: Int8,
        k: Int8,
        v: Int8,
        shift: int,
        before: SoundState | None = None,
        mask: BlockMask | None = None,
    ) -> RunResult:
        """Compute what the kernel computes of int8 Q, K, V `[tokens, width]`; scores are shifted right by `shift`.

        `before` is the state before a block, for a kernel that carries one; the state before any key by default.
        `mask`: which keys count, for a kernel that takes one; all by default.
        InputError for another shape or dtype, or a state or mask that the kernel does not take; KernelFaultError when
        the kernel fails.
        """


class Device(Protocol):
    """A place where kernels run."""

    @property
    def name(self) -> str:
        """What reports call the device."""

    def load(self, spec: KernelSpec, tokens: int, width: int) -> LoadedKernel:
        """Make a kernel ready for one shape; InputError names the shapes that it takes."""


def block_arguments(
    spec: KernelSpec, before: SoundState | None, mask: BlockMask | None = None
) -> tuple[SoundState | BlockMask | None, ...]:
    """What `spec.pack` and `spec.model` take behind their other arguments.

    InputError for a state or a mask that the kernel does not take, or a mask that is none of its keys.
    """
    if before is not None and not spec.carries_state:
        raise InputError(f"kernel {spec.name} carries no state from block to block: leave out the state before")
    if mask is None:
        return () if before is None else (before,)
    if not spec.takes_mask:
        raise InputError(f"kernel {spec.name} takes no mask: leave it out")
    if mask.diagonal is not None and not spec.takes_diagonal:
        raise InputError(f"kernel {spec.name} takes no causal mask: leave out the diagonal")
    if mask.keys.dtype != np.bool_ or mask.keys.shape not in {shape[:1] for shape in spec.shapes}:
        raise InputError(f"the mask is {mask.keys.dtype} {list(mask.keys.shape)}; expected bool, one for each key")
    return (before, mask)


def further_arguments(
    spec: KernelSpec,
    blocks: int,
    before: Sequence[SoundState] | None,
    masks: Sequence[BlockMask] | None,
) -> list[tuple[SoundState | BlockMask | None, ...]]:
    """`block_arguments` of many blocks; InputError for another number of states or masks too."""
    states: list[SoundState | None] = [None] * blocks if before is None else list(before)
    of_blocks: list[BlockMask | None] = [None] * blocks if masks is None else list(masks)
    if len(states) != blocks or len(of_blocks) != blocks:
        raise InputError(f"{len(states)} states before and {len(of_blocks)} masks for {blocks} blocks")
    return [block_arguments(spec, *each) for each in zip(states, of_blocks, strict=True)]


def require_operands(tokens: int, width: int, q: Int8, k: Int8, v: Int8) -> None:
    """Refuse operands that are not int8 `[tokens, width]`."""
    for name, array in (("Q", q), ("K", k), ("V", v)):
        if array.shape != (tokens, width) or array.dtype != np.int8:
            raise InputError(
                f"{name} is {array.dtype} {list(array.shape)}; this kernel was loaded for int8 [{tokens}, {width}]"
            )
