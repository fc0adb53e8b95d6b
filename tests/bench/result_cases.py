"""Results to store and compare: ladders with chosen cycles, measured times, dates and commits."""

from __future__ import annotations

from typing import Any

from bench_cases import LADDER, ScriptedDevice

from xattn.bench import BenchRecord, measure_ladder, synthetic_activations
from xattn.bench.provenance import provenance
from xattn.bench.record import MeasuredRecord, MeasuredRow
from xattn.bench.statistics import summarize

CYCLES = {"baseline": 3000, "tiled": 2000, "vectorized": 1000}


def ladder(day: int = 1, seed: int = 1, commit: str | None = None, twist: Any = None, **cycles: int) -> BenchRecord:
    """A ladder of 16×16 tiles, made on a day of 2026-01, with other cycles for some kernels."""
    more = {} if twist is None else {"twist": twist}
    device = ScriptedDevice(cycles=CYCLES | cycles, **more)
    record = measure_ladder(synthetic_activations(seed), LADDER, device=device, tokens=16, width=16)
    record.provenance.created = f"2026-01-{day:02}T10:00:00.000+00:00"
    record.provenance.commit, record.provenance.modified = commit, False
    return record


def measured(seconds: float, spread: float = 0.01, cpu: str = "one", name: str = "torch") -> MeasuredRecord:
    """One implementation, timed nine times around `seconds`."""
    samples = [seconds * (1 + spread * (i - 4) / 4) for i in range(9)]
    row = MeasuredRow(
        name=name,
        library="torch 1",
        precision="fp32",
        threads=1,
        timing=summarize(samples, 1, 0.0, False),
        cosine=1.0,
        rel_l2=0.0,
        fault=None,
    )
    made = provenance()
    made.cpu = cpu
    return MeasuredRecord(
        provenance=made, what="peers", description="d", heads=1, tokens=64, width=64, rows=[row], missing=[]
    )
