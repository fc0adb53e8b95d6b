"""A device whose kernels are the integer models, with faults to order; a kernel of two stages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from xattn.compiler.language import Kernel
from xattn.devices import Host, RunResult
from xattn.kernels.blocks import RIGHT
from xattn.kernels.registry import KernelSpec
from xattn.numerics.sound import BlockMask, SoundState

LADDER = ("baseline", "tiled", "vectorized")

# What a run gives instead: (kernel's name, run counted from 0, the model's output) -> output
Twist = Callable[[str, int, np.ndarray], np.ndarray]


@dataclass
class ScriptedDevice:
    """Runs the models. `cycles` by kernel; `twist` spoils outputs; `ran` lists the runs."""

    cycles: dict[str, int] = field(
        default_factory=lambda: {"baseline": 3000, "tiled": 2000, "vectorized": 1000, "qkt": 1280, "matmul_int8": 1600}
    )
    twist: Twist = lambda _name, _run, output: output
    findings: tuple[str, ...] = ()
    cycles_at: dict[int, int] | None = None
    name: str = "scripted"
    ran: list[str] = field(default_factory=list)

    def load(self, spec: KernelSpec, tokens: int, width: int) -> ScriptedKernel:
        return ScriptedKernel(self, spec, Host().load(spec, tokens, width))


@dataclass
class ScriptedKernel:
    device: ScriptedDevice
    spec: KernelSpec
    model: object
    runs: int = 0

    def run(
        self,
        q: np.ndarray,
        k: np.ndarray,
        v: np.ndarray,
        shift: int,
        before: SoundState | None = None,
        mask: BlockMask | None = None,
    ) -> RunResult:
        output = self.model.run(q, k, v, shift, before, mask).output
        output = self.device.twist(self.spec.name, self.runs, output.copy())
        self.device.ran.append(self.spec.name)
        self.runs += 1
        cycles_at = self.device.cycles_at if self.spec.name == "baseline" else None
        return RunResult(output, self.device.cycles[self.spec.name], 7, cycles_at, self.device.findings)


def two_stages(k: Kernel) -> None:
    """One pipelined loop: vectors come in by one stage and go out by another; outside of it nothing is of a stage."""
    a, out = k.argument("a", RIGHT, (8,), bank=1), k.argument("out", RIGHT, (8,), bank=2)
    for i in k.loop(8, name="copies"):
        with k.stage("in"):
            vector = a[i]
        with k.stage("out", "store"):
            out[i] = vector
