"""What a benchmark found, as it is written to JSON. Fields are null where a thing was not measured."""

from __future__ import annotations

import msgspec

CYCLES_ARE = "simulated: one AIE2 core, from call to return, without DMA and launch"
PEAK_MACS_PER_CYCLE = 256  # int8 × int8 on one AIE2 core: AMD AM020


class InputRecord(msgspec.Struct, kw_only=True):
    """The tile that every kernel attended to."""

    source: str
    """"speech" or "synthetic"."""
    description: str
    model: str | None
    clip: str | None
    clip_seconds: float | None
    layer: int | None
    head: int | None
    seed: int | None
    first_token: int
    tokens: int
    width: int
    head_tokens: int
    shift: int
    """Right shift of the integer scores."""
    notes: list[str]


class KernelRecord(msgspec.Struct, kw_only=True):
    """One kernel. `speedup` is over baseline; cycles are those of one tile.

    The speed-ups are null for a kernel that computes something else than attention, `cosine` and `rel_l2` where it is
    not a block of flash attention either.
    """

    name: str
    computes: str
    """"attention", "scores" (clamp(Q·Kᵀ >> shift)), "product" (clamp(A·B >> 7), Q for A and K for B) or "block" (of
    flash attention, from state to state)."""
    summary: str
    exact: bool
    """Equal to the integer model in every element of every run."""
    cycles: int | None
    seconds: float | None
    peak_fraction: float | None
    """Multiply-accumulates of the mathematics over what the core could do in these cycles."""
    speedup: float | None
    speedup_over_recorded: float | None
    cosine: float | None
    """Of the dequantized output and float attention on the original floats, over the tile. Of a block: of what division
    makes of its state, and float attention over the keys of the state before and of the block."""
    rel_l2: float | None
    macs: int
    stalls: int | None
    program_bytes: int
    runs: int
    faults: list[str]
    """Why the kernel is not exact, or failed."""
    warnings: list[str]

    @property
    def passed(self) -> bool:
        """Whether the kernel is exact and nothing was found wrong with it."""
        return self.exact and not self.faults


class RecordedRecord(msgspec.Struct, kw_only=True):
    """A figure that was recorded elsewhere and is not run here."""

    name: str
    cycles: int
    seconds: float
    peak_fraction: float
    speedup: float | None
    origin: str


class AmdahlRecord(msgspec.Struct, kw_only=True):
    """What making Q·Kᵀ faster can give, by the baseline's cycles."""

    kernel: str
    baseline_cycles: dict[str, int]
    """The baseline's cycles that each stage of attention has alone, counted in its run, and all others."""
    scores_fraction: float
    """Share of the baseline's cycles that Q·Kᵀ takes."""
    limit: float
    """Speed-up over the baseline if Q·Kᵀ cost nothing."""
    reached: float


class BenchRecord(msgspec.Struct, kw_only=True):
    """A whole benchmark."""

    xattn: str
    """Version of xattn."""
    device: str
    cycles_are: str
    input: InputRecord
    clock_hz: float
    kernels: list[KernelRecord]
    recorded: list[RecordedRecord]
    amdahl: AmdahlRecord | None

    @property
    def passed(self) -> bool:
        """Whether every kernel passed."""
        return all(kernel.passed for kernel in self.kernels)


def as_json(record: BenchRecord) -> bytes:
    """The record as indented JSON with a newline at its end."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"
