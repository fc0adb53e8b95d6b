"""The table says what was measured: numbers, marks, header and the lines below."""

from __future__ import annotations

import io

import numpy as np
from bench_cases import LADDER, ScriptedDevice
from rich.console import Console

from xattn.bench import Activations, BenchRecord, measure_ladder, synthetic_activations
from xattn.bench.table import MIN_WIDTH, print_bench


def shown(record: BenchRecord, width: int = MIN_WIDTH) -> list[str]:
    out = io.StringIO()
    print_bench(record, Console(file=out, width=width))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def row(lines: list[str], name: str) -> list[str]:
    (found,) = (line for line in lines if line.startswith(name))
    return [cell.strip() for cell in found.split("  ") if cell.strip()]


def real() -> Activations:
    made = synthetic_activations(5)
    more = {"model": "Whisper odd", "clip": "talk.flac", "clip_seconds": 3.25, "layer": 2, "head": 4}
    return Activations(made.q, made.k, made.v, "speech", "Whisper odd (sizes), from here", notes=("mixed",), **more)


def test_numbers_are_those_of_the_record() -> None:
    device = ScriptedDevice(cycles={"baseline": 1_900_000, "tiled": 1_800_000, "vectorized": 950_000})
    record = measure_ladder(real(), LADDER, device=device, clock_hz=1.25e9)
    lines = shown(record)
    assert lines[0] == "model   Whisper odd (sizes), from here"
    assert "input   talk.flac (3.2 s), encoder layer 2, head 4, tokens 0–63 of 1,500" in lines
    assert "note    mixed" in lines
    assert any("simulated" in line and "1.25 GHz" in line and "nothing ran on an NPU" in line for line in lines)
    kernel = record.kernels[2]
    accuracy = [f"{kernel.cosine:.4f}", f"{kernel.rel_l2:.4f}"]
    assert row(lines, "vectorized ") == ["vectorized", "yes", "950,000", "760.0", "0.22 %", "2.00×", "3.13×", *accuracy]
    assert row(lines, "seed's C kernel (") == [
        "seed's C kernel (recorded)", "not run", "2,975,089", "2,380.1", "0.07 %", "0.64×", "1.00×", "–", "–"
    ]  # fmt: skip
    assert any(line.startswith("exact: ") for line in lines)
    assert not any("SYNTHETIC" in line or "synthetic" in line for line in lines)
    assert shown(record, width=40) == lines  # a narrow terminal cuts nothing off


def test_synthetic_activations_are_marked_in_the_table() -> None:
    lines = shown(measure_ladder(synthetic_activations(9), ["tiled"], device=ScriptedDevice(), tokens=16, width=16))
    assert "SYNTHETIC activations" in lines
    assert row(lines, "tiled")[0] == "tiled (synthetic)"
    assert "seed 9" in lines[0]
    assert not any("recorded" in line for line in lines)


def test_a_product_has_no_speed_up_and_no_accuracy() -> None:
    names = ("baseline", "qkt", "matmul_int8")
    lines = shown(measure_ladder(real(), names, device=ScriptedDevice(), clock_hz=1e9))
    assert row(lines, "qkt ") == ["qkt", "yes", "1,280", "1.3", "80.00 %", "–", "–", "–", "–"]
    assert any(line.startswith("qkt, matmul_int8: one matrix product, not attention") for line in lines)
    assert not any("not attention" in line for line in shown(measure_ladder(real(), LADDER, device=ScriptedDevice())))


def test_a_kernel_that_is_wrong_says_so_in_its_row_and_below() -> None:
    device = ScriptedDevice(twist=lambda name, _run, output: output if name == "baseline" else np.zeros_like(output))
    lines = shown(measure_ladder(real(), ["tiled"], device=device, tokens=16, width=16))
    assert row(lines, "tiled ")[1] == "NO"
    assert sum(line.startswith("tiled: ") and "differ from the integer model" in line for line in lines) == 3
    assert "tiled: the output is constant: every element is 0" in lines
    assert not any(line.startswith("exact: ") for line in lines)
