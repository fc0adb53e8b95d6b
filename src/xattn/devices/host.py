"""The host: no program at all, but the integer model that the kernel's output must equal."""

from __future__ import annotations

from dataclasses import dataclass

from xattn.devices.device import Int8, RunResult, block_arguments, require_operands
from xattn.kernels.registry import KernelSpec
from xattn.numerics.sound import BlockMask, SoundState


class Host:
    """Computes what a kernel should give, by its integer model; counts nothing."""

    name = "host"

    def load(self, spec: KernelSpec, tokens: int, width: int) -> HostKernel:
        """The kernel's model for one shape. A model takes every shape, also those that the kernel refuses."""
        return HostKernel(spec, tokens, width)


@dataclass(frozen=True)
class HostKernel:
    """A kernel's integer model for one shape."""

    spec: KernelSpec
    tokens: int
    width: int

    def run(
        self,
        q: Int8,
        k: Int8,
        v: Int8,
        shift: int,
        before: SoundState | None = None,
        mask: BlockMask | None = None,
    ) -> RunResult:
        """The model's result, of the kernel's `output_shape`."""
        require_operands(self.tokens, self.width, q, k, v)
        return RunResult(self.spec.model(q, k, v, shift, *block_arguments(self.spec, before, mask)))
