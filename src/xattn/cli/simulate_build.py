"""What `xattn simulate` puts into the buffers of a build, and whether what comes out is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xattn.cli.activations import Wanted, activations_of, heads_of

if TYPE_CHECKING:
    from xattn.devices.array_build import ArrayBuild
    from xattn.devices.device import Int8
    from xattn.sim.array.report import ArrayResult


@dataclass(frozen=True)
class Verdict:
    """How many blocks came out, how many of them as the integer model has them, and what they were made of."""

    count: int
    exact: int
    cycles_each: float
    operands: str

    def lines(self) -> list[str]:
        """For people."""
        exact = f"exact: {self.exact} of {self.count} blocks, bit for bit as the integer model"
        return [f"{exact}; {self.cycles_each:,.0f} cycles (simulated) a block", self.operands]


@dataclass(frozen=True)
class BuildCheck:
    """Blocks for one run of a build, and the buffers that hold them."""

    build: ArrayBuild
    blocks: tuple[Int8, Int8, Int8]
    operands: str
    buffers: list[bytes]

    def verdict(self, result: ArrayResult) -> Verdict:
        """Compare what a run left in the host's buffers with the integer model, block by block."""
        outputs, expected = self.build.host.unpack(result.buffers), self.build.expected(*self.blocks)
        exact = sum(np.array_equal(a, b) for a, b in zip(outputs, expected, strict=True))
        return Verdict(len(expected), exact, result.cycles / len(expected), self.operands)


def check_of(build: ArrayBuild, seed: int | None) -> BuildCheck:
    """Blocks of a layer of Whisper, or random ones; errors as in `activations_of`."""
    from xattn.bench.array_blocks import blocks_of

    host = build.host
    if seed is None:
        wanted = Wanted()
        found = activations_of(wanted)
        blocks = blocks_of(heads_of(wanted), host.blocks, host.tokens, host.width)
        place = f", layer {found.layer}" if found.layer is not None else ""
        operands = "\n".join((f"operands: {found.description}{place}", *found.notes))
    else:
        random = np.random.default_rng(seed)
        q, k, v = (
            random.integers(-128, 128, (count, host.tokens, host.width)).astype(np.int8)
            for count in host.blocks.values()
        )
        blocks, operands = (q, k, v), f"operands: random bytes, seed {seed}"
    return BuildCheck(build, blocks, operands, host.pack(*blocks, [()] * len(blocks[0])))
