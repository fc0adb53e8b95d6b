"""What a benchmark found, as it is written to JSON. Fields are null where a thing was not measured."""

from __future__ import annotations

import msgspec

from xattn.bench.provenance import Provenance
from xattn.bench.stages import StagesRecord
from xattn.bench.statistics import Timing

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
    engines: list[str]
    """What did each run, on a device that has several: "interpreter" (all findings) or "translator" (native code)."""
    faults: list[str]
    """Why the kernel is not exact, or failed."""
    warnings: list[str]
    stages: StagesRecord | None = None
    """The first run's cycles by stage of attention, where the device says where they went."""

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


class BenchRecord(msgspec.Struct, kw_only=True, tag_field="kind", tag="ladder"):
    """Kernels on one tile."""

    provenance: Provenance
    device: str
    cycles_are: str
    input: InputRecord
    clock_hz: float
    kernels: list[KernelRecord]
    recorded: list[RecordedRecord]
    amdahl: AmdahlRecord | None
    notes: list[str]
    """What was slower than it could have been, and why."""

    @property
    def passed(self) -> bool:
        """Whether every kernel passed."""
        return all(kernel.passed for kernel in self.kernels)


class MeasuredRow(msgspec.Struct, kw_only=True):
    """One implementation on this host's processors, with one number of threads."""

    name: str
    library: str
    """What it is made with, and the version."""
    precision: str
    """Of the products, such as fp32, bf16 or int8."""
    threads: int
    timing: Timing | None
    """Null where it failed."""
    cosine: float | None
    """Of its output and float64 attention on the same tensors."""
    rel_l2: float | None
    fault: str | None


class MeasuredRecord(msgspec.Struct, kw_only=True, tag_field="kind", tag="measured"):
    """Wall-clock times on this host. Nothing in here is simulated, and nothing ran on an NPU."""

    provenance: Provenance
    what: str
    """"peers" (attention of whole heads) or "host" (the integer models of kernels, one tile)."""
    description: str
    """Whence the tensors are."""
    heads: int
    tokens: int
    width: int
    rows: list[MeasuredRow]
    missing: list[str]
    """Implementations that are not installed, one line each with how to install them."""

    @property
    def passed(self) -> bool:
        """Whether everything that is installed ran."""
        return all(row.fault is None for row in self.rows)


class AccuracyRow(msgspec.Struct, kw_only=True):
    """One integer arithmetic against float attention, over many tiles or whole heads."""

    name: str
    summary: str
    cosine: float
    """Mean over the cases."""
    rel_l2: float
    """Mean over the cases."""
    worst_rel_l2: float


class AccuracyRecord(msgspec.Struct, kw_only=True, tag_field="kind", tag="accuracy"):
    """Accuracy of integer models: arithmetic, no program runs."""

    provenance: Provenance
    description: str
    tokens: int
    width: int
    cases: int
    """Tiles that each model attended to."""
    rows: list[AccuracyRow]

    @property
    def passed(self) -> bool:
        """Models have no target here; the figures speak."""
        return True


def kind_of(result: Result) -> str:
    """What users call a kind of result: ladder, accuracy, peers or host."""
    return result.what if isinstance(result, MeasuredRecord) else str(result.__struct_config__.tag)


Result = BenchRecord | MeasuredRecord | AccuracyRecord
"""Everything that is stored and compared."""


def as_json(record: Result) -> bytes:
    """The record as indented JSON with a newline at its end."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"
