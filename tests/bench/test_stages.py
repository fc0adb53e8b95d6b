"""Cycles by stage, against the functions that the program's source lines belong to."""

from __future__ import annotations

import inspect
from collections import Counter

import pytest
from bench_cases import LADDER, ScriptedDevice

from xattn.bench import measure_ladder, synthetic_activations
from xattn.bench.stages import OUTPUT, OVERHEAD, SCORES, SOFTMAX, stage_cycles
from xattn.isa.timing import FETCH_BYTES
from xattn.kernels import scalar_attention
from xattn.kernels.registry import compiled

FUNCTIONS = {
    scalar_attention.scores_of_row: SCORES,
    scalar_attention.softmax_row: SOFTMAX,
    scalar_attention.weighted_sum_row: OUTPUT,
}


def _stage_of_line() -> dict[int, str]:
    lines = {}
    for function, stage in FUNCTIONS.items():
        source, first = inspect.getsourcelines(function)
        lines.update(dict.fromkeys(range(first, first + len(source)), stage))
    return lines


@pytest.mark.parametrize("name", ["baseline", "tiled"])
def test_bundles_belong_to_the_stage_that_their_source_is_of(name: str) -> None:
    """Each operation carries its line; lines above 30 can only be of the file that holds the shared functions."""
    program = compiled(name, 16, 16)
    stage_of_line = _stage_of_line()
    entry_end = program.sections[0].length * FETCH_BYTES  # constants of all stages are made on entry
    checked: Counter[str] = Counter()
    for (address, _), line in program.emitted.lines.items():
        (found,) = (stage for stage, cycles in stage_cycles(program, {address: 1}).items() if cycles)
        if address >= entry_end and line in stage_of_line and line > 30 and found != OVERHEAD:
            assert found == stage_of_line[line], (hex(address), line)
            checked[found] += 1
    assert checked[SOFTMAX] > 50 and checked[OUTPUT] > 20


def test_no_cycle_is_lost() -> None:
    program = compiled("baseline", 16, 16)
    addresses = range(0, len(program.code), FETCH_BYTES)
    stages = stage_cycles(program, dict.fromkeys(addresses, 3))
    assert list(stages) == [SCORES, SOFTMAX, OUTPUT, OVERHEAD]
    assert sum(stages.values()) == 3 * len(addresses)
    assert all(stages.values())


def test_amdahl_is_computed_from_the_cycles_that_were_counted() -> None:
    program = compiled("baseline", 16, 16)
    of_scores = next(
        address for address in range(0, len(program.code), FETCH_BYTES) if stage_cycles(program, {address: 1})[SCORES]
    )
    last = len(program.code) - FETCH_BYTES
    device = ScriptedDevice(cycles_at={of_scores: 1200, last: 1800})
    options = {"tokens": 16, "width": 16, "device": device}
    amdahl = measure_ladder(synthetic_activations(0), LADDER, **options).amdahl
    assert amdahl is not None
    assert amdahl.baseline_cycles[SCORES] == 1200
    assert (amdahl.scores_fraction, amdahl.limit, amdahl.reached) == pytest.approx((0.4, 3000 / 1800, 3.0))
    assert measure_ladder(synthetic_activations(0), ["tiled"], **options).amdahl is None
    spoilt = ScriptedDevice(
        cycles_at=device.cycles_at, twist=lambda name, _run, output: output ^ (name == "vectorized")
    )
    assert measure_ladder(synthetic_activations(0), LADDER, tokens=16, width=16, device=spoilt).amdahl is None
