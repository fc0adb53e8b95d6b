"""What people read of measured times and of accuracy: their figures, and never simulated ones beside them."""

from __future__ import annotations

import io

from result_cases import measured
from rich.console import Console

from xattn.bench import synthetic_activations
from xattn.bench.accuracy import measure_accuracy
from xattn.bench.record import MeasuredRecord, Result
from xattn.bench.show import milliseconds, print_result


def shown(result: Result) -> list[str]:
    out = io.StringIO()
    print_result(result, Console(file=out, width=60))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_measured_times_say_where_and_under_what_load() -> None:
    result = measured(0.01234, cpu="Abacus 3")
    timing = result.rows[0].timing
    assert timing is not None
    timing.other_load, timing.disturbed = 0.75, True
    result.missing = ["other: not installed"]
    lines = shown(result)
    assert lines[0].startswith("measured on this host: Abacus 3, ") and "nothing simulated" in lines[0]
    assert lines[4].split()[:5] == ["torch", "fp32", "1", milliseconds(timing.min), "12.34"]
    assert lines[4].split()[-2:] == ["0.75!", "0.0000"] and "cycles" not in "".join(lines)
    assert "other: not installed" in lines and any(line.startswith("!: other programs kept") for line in lines)
    timing.disturbed = False
    assert not any(line.startswith("!:") for line in shown(result))


def test_a_fault_is_printed() -> None:
    result: MeasuredRecord = measured(1.0)
    result.rows[0].timing, result.rows[0].fault = None, "it burnt"
    lines = shown(result)
    assert lines[4].split() == ["torch", "fp32", "1", "FAILED", "–", "–", "–", "–", "–"] and "torch: it burnt" in lines
    assert not result.passed


def test_accuracy_is_a_table_of_models() -> None:
    record = measure_accuracy(synthetic_activations(0), 1)
    rows = {line.split()[0]: line.split()[1:] for line in shown(record)[4:9]}
    assert set(rows) == {"v0", "v1", "v3", "lut", "sound"}
    assert rows["v0"] == [
        f"{record.rows[0].cosine:.4f}",
        f"{record.rows[0].rel_l2:.4f}",
        f"{record.rows[0].rel_l2:.4f}",
    ]


def test_milliseconds() -> None:
    assert [milliseconds(s) for s in (0.0000123, 0.00999, 0.0123, 0.1, 12.5)] == [
        "0.012", "9.990", "12.30", "100.0", "12,500.0"
    ]  # fmt: skip
