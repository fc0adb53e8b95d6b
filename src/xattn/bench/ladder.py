"""Running the ladder: every kernel three times on a device, compared with its integer model and float attention."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from xattn.bench.activations import Activations, Tile, another_first, require_tile
from xattn.bench.blocks import tile_for
from xattn.bench.provenance import provenance
from xattn.bench.record import (
    CYCLES_ARE,
    PEAK_MACS_PER_CYCLE,
    AmdahlRecord,
    BenchRecord,
    InputRecord,
    KernelRecord,
    RecordedRecord,
)
from xattn.bench.recorded import recorded_for
from xattn.bench.stages import stage_cycles
from xattn.devices import Device, Host, KernelFaultError, RunResult, Simulator
from xattn.errors import InputError
from xattn.kernels.registry import KernelSpec, Matrix, compiled, kernel_spec, kernels
from xattn.kernels.stages import SCORES
from xattn.numerics.compat import DEFAULT_SHIFT
from xattn.numerics.metrics import cosine, relative_l2
from xattn.numerics.sound import SoundState, finish

BASELINE = "baseline"
DEFAULT_CLOCK_HZ = 1.8e9
RUNS = ("first run", "same input again", "another input")
LETTER = {"attention": "O", "scores": "S", "product": "C", "block": "state"}  # what reports call the result

Progress = Callable[[int, int, str], None]
"""Called with (runs done, runs in all, what runs next)."""


def measure_ladder(
    activations: Activations,
    names: Sequence[str] = (),
    *,
    first: int = 0,
    tokens: int = 64,
    width: int = 64,
    shift: int = DEFAULT_SHIFT,
    clock_hz: float = DEFAULT_CLOCK_HZ,
    device: Device | None = None,
    progress: Progress | None = None,
    runs: int = len(RUNS),
    compared: bool = True,
) -> BenchRecord:
    """Measure the kernels called `names` (all that take the shape by default) on one tile, in the first `runs` of RUNS.

    Where the baseline is not among them it runs once, unlisted, for the speed-up of those that attend, unless
    `compared` is false. InputError for an unknown kernel, a shape that a kernel cannot take or tokens that the head
    does not have, all before anything runs. A kernel that is wrong or fails is reported in its record.
    """
    device = Simulator() if device is None else device
    chosen = chosen_kernels(names, tokens, width)
    specs = [kernel_spec(BASELINE), *chosen] if compared and _needs_baseline(chosen) else chosen
    require_tile(activations, first, tokens, width)
    places = first, another_first(activations, first, tokens)
    tiles = {s.name: [tile_for(s, activations, at, tokens, width, shift) for at in places] for s in specs}
    run = _Runs(device, tiles, progress, runs * len(chosen) + len(specs) - len(chosen))
    records = {spec.name: _measure(spec, run, runs if spec in chosen else 1) for spec in specs}
    baseline = records.get(BASELINE)
    base = baseline.cycles if baseline is not None and baseline.passed else None
    recorded = recorded_for(tokens, width)
    for record in records.values():
        _add_rates(record, base, clock_hz, recorded[0].cycles if recorded else None)
    return BenchRecord(
        provenance=provenance(),
        device=device.name,
        cycles_are=CYCLES_ARE,
        input=_input_record(activations, first, tokens, width, shift),
        clock_hz=clock_hz,
        kernels=[records[spec.name] for spec in chosen],
        recorded=[
            RecordedRecord(
                name=r.name,
                cycles=r.cycles,
                seconds=r.cycles / clock_hz,
                peak_fraction=r.macs / PEAK_MACS_PER_CYCLE / r.cycles,
                speedup=base / r.cycles if base else None,
                origin=r.origin,
            )
            for r in recorded
        ],
        amdahl=_amdahl(records.get("vectorized"), records.get(BASELINE)),
        notes=list(run.notes),
    )


def chosen_kernels(names: Sequence[str], tokens: int, width: int) -> list[KernelSpec]:
    """The kernels of these names, each once; all that take the shape where none is named.

    InputError for an unknown name, or a shape that one of them, or a baseline that they need, cannot take.
    """
    chosen = [kernel_spec(name) for name in dict.fromkeys(names)]
    chosen = chosen or [spec for spec in kernels().values() if (tokens, width) in spec.shapes]
    if not chosen:
        shapes = sorted({shape for spec in kernels().values() for shape in spec.shapes})
        taken = ", ".join(f"{t}×{w}" for t, w in shapes)
        raise InputError(f"no kernel takes {tokens} tokens of width {width}; there are kernels for {taken}")
    for name in ([BASELINE] if _needs_baseline(chosen) else []) + [spec.name for spec in chosen]:
        compiled(name, tokens, width)
    return chosen


def _needs_baseline(chosen: Sequence[KernelSpec]) -> bool:
    """Whether something attends and the baseline, beside which it is put, is not among what runs."""
    return any(spec.computes == "attention" for spec in chosen) and BASELINE not in {spec.name for spec in chosen}


class _Runs:
    """Runs kernels on the tiles, and tells how far the work is."""

    def __init__(
        self, device: Device, tiles: Mapping[str, Sequence[Tile]], progress: Progress | None, total: int
    ) -> None:
        self.device, self._tiles = device, tiles
        self.progress, self.total, self.done = progress, total, 0
        self.notes: dict[str, None] = {}

    def tiles(self, spec: KernelSpec) -> list[Tile]:
        """What each of RUNS runs on: the kernel's tile, the tile again, and another tile."""
        tile, other = self._tiles[spec.name]
        return [tile, tile, other]

    def of(self, spec: KernelSpec, runs: int) -> list[RunResult]:
        """One freshly loaded kernel, run on its tiles."""
        kernel = self.device.load(spec, *self.tiles(spec)[0].q.shape)
        results = []
        for what, tile in list(zip(RUNS, self.tiles(spec), strict=True))[:runs]:
            if self.progress is not None:
                self.progress(self.done, self.total, f"{spec.name}: {what}")
            self.done += 1
            results.append(kernel.run(tile.q, tile.k, tile.v, tile.shift, tile.before, tile.mask))
        return results

    def expected(self, spec: KernelSpec, runs: int) -> list[Matrix]:
        """What the integer model gives in the same runs."""
        tiles = self.tiles(spec)[:runs]
        model = Host().load(spec, *tiles[0].q.shape)
        return [model.run(t.q, t.k, t.v, t.shift, t.before, t.mask).output for t in tiles]


def _measure(spec: KernelSpec, run: _Runs, runs: int) -> KernelRecord:
    tile = run.tiles(spec)[0]
    tokens, width = tile.q.shape
    program = compiled(spec.name, tokens, width)
    record = KernelRecord(
        name=spec.name,
        computes=spec.computes,
        summary=spec.summary,
        exact=False,
        cycles=None,
        seconds=None,
        peak_fraction=None,
        speedup=None,
        speedup_over_recorded=None,
        cosine=None,
        rel_l2=None,
        macs=spec.macs(tokens, width),
        stalls=None,
        program_bytes=len(program.code),
        runs=runs,
        engines=[],
        faults=[],
        warnings=[],
    )
    expected = run.expected(spec, runs)
    try:
        results = run.of(spec, runs)
    except KernelFaultError as fault:
        record.faults.append(str(fault))
        return record
    record.engines = [result.engine for result in results if result.engine is not None]
    run.notes.update(dict.fromkeys(result.note for result in results if result.note))
    outputs = [result.output for result in results]
    differences = [
        difference
        for what, output, model in zip(RUNS, outputs, expected, strict=False)
        if (difference := describe_difference(what, output, model, LETTER[spec.computes]))
    ]
    record.faults += differences
    record.exact = not differences
    record.warnings += list(dict.fromkeys(finding for result in results for finding in result.findings))
    record.warnings += suspicions(outputs)
    record.cycles, record.stalls = results[0].cycles, results[0].stalls
    if results[0].cycles_at is not None:
        record.stages = stage_cycles(program, results[0].cycles_at)
    if spec.computes in ("attention", "block"):
        dequantized = _attended(spec, outputs[0]) * tile.v_scale
        record.cosine, record.rel_l2 = cosine(dequantized, tile.truth), relative_l2(dequantized, tile.truth)
    cycles = [result.cycles for result in results]
    if len(set(cycles)) > 1:
        record.warnings.append(f"cycles differ from run to run: {', '.join(f'{c:,}' for c in cycles if c is not None)}")
    return record


def _attended(spec: KernelSpec, output: Matrix) -> NDArray[np.float64]:
    """O in steps of V: the output, or what division makes of the state."""
    if spec.carries_state:
        return finish(SoundState.from_matrix(output.astype(np.int32)))
    return output.astype(np.float64)


def describe_difference(what: str, output: Matrix, model: Matrix, letter: str = "O") -> str | None:
    """One line about the elements in which an output matrix, called `letter`, differs from the model's; or None."""
    wrong = np.argwhere(output != model)
    if not len(wrong):
        return None
    at = tuple(int(i) for i in wrong[0])
    return (
        f"{what}: {len(wrong):,} of {output.size:,} elements differ from the integer model, "
        f"first {letter}[{at[0]}, {at[1]}] = {output[at]}, expected {model[at]}"
    )


def suspicions(outputs: Sequence[Matrix]) -> list[str]:
    """What no kernel gives for real data: one value everywhere, or the same output for two inputs.

    `outputs` are those of RUNS. An exact kernel can be suspicious too: then the input tests nothing.
    """
    found = []
    if all((output == output.flat[0]).all() for output in outputs):
        found.append(f"the output is constant: every element is {outputs[0].flat[0]}")
    elif len(outputs) == len(RUNS) and np.array_equal(outputs[0], outputs[-1]):
        found.append("two different inputs gave the same output")
    return found


def _add_rates(record: KernelRecord, baseline: int | None, clock_hz: float, recorded: int | None) -> None:
    if record.cycles is None:
        return
    record.seconds = record.cycles / clock_hz
    record.peak_fraction = record.macs / PEAK_MACS_PER_CYCLE / record.cycles
    if record.computes == "attention":  # nothing else can be put beside the baseline
        record.speedup = baseline / record.cycles if baseline else None
        record.speedup_over_recorded = recorded / record.cycles if recorded else None


def _amdahl(vectorized: KernelRecord | None, baseline: KernelRecord | None) -> AmdahlRecord | None:
    """What Q·Kᵀ alone can give, where both kernels were measured and the device says where cycles went."""
    if vectorized is None or not vectorized.passed or vectorized.speedup is None or baseline is None:
        return None
    counted = baseline.stages
    if counted is None:
        return None
    total = counted.cycles
    stages = {stage.name: stage.alone for stage in counted.stages}
    return AmdahlRecord(
        kernel=vectorized.name,
        baseline_cycles={**stages, "overhead": counted.shared + counted.outside},
        scores_fraction=stages[SCORES] / total,
        limit=total / (total - stages[SCORES]),
        reached=vectorized.speedup,
    )


def _input_record(activations: Activations, first: int, tokens: int, width: int, shift: int) -> InputRecord:
    return InputRecord(
        source=activations.source,
        description=activations.description,
        model=activations.model,
        clip=activations.clip,
        clip_seconds=activations.clip_seconds,
        layer=activations.layer,
        head=activations.head,
        seed=activations.seed,
        first_token=first,
        tokens=tokens,
        width=width,
        head_tokens=activations.q.shape[0],
        shift=shift,
        notes=list(activations.notes),
    )
