"""Cycles by stage: against the source lines of the stages, and on programs whose stages are known."""

from __future__ import annotations

import inspect
from collections import Counter

import pytest
from bench_cases import LADDER, ScriptedDevice, two_stages

from xattn.bench import measure_ladder, synthetic_activations
from xattn.bench.stages import StageRecord, StagesRecord, stage_cycles, stages_at, stages_of
from xattn.compiler.compile import CompiledKernel, compile_kernel
from xattn.compiler.ir import Stage
from xattn.compiler.language import Kernel, int32
from xattn.isa.timing import FETCH_BYTES
from xattn.kernels import scalar_attention
from xattn.kernels.blocks import RIGHT
from xattn.kernels.registry import compiled, kernels
from xattn.kernels.stages import OUTPUT, SCORES, SOFTMAX

FUNCTIONS = {
    scalar_attention.scores_of_row: SCORES,
    scalar_attention.softmax_row: SOFTMAX,
    scalar_attention.weighted_sum_row: OUTPUT,
}


def by_name(records: list[StageRecord]) -> dict[str, StageRecord]:
    return {record.name: record for record in records}


def once(program: CompiledKernel) -> dict[int, int]:
    """As if every bundle took one cycle."""
    return dict.fromkeys(range(0, len(program.code), FETCH_BYTES), 1)


# --- the ladder's kernels -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["baseline", "tiled", "vectorized"])
def test_operations_belong_to_the_stage_that_their_source_is_of(name: str) -> None:
    """Each operation carries its line; that of a stage's function must be of that stage."""
    program = compiled(name, 16, 16)
    stage_of_line = {}
    for function, stage in FUNCTIONS.items():
        source, first = inspect.getsourcelines(function)
        stage_of_line.update(dict.fromkeys(range(first, first + len(source)), stage))
    checked: Counter[str] = Counter()
    for operation in program.emitted.operations.values():
        origin = operation.origin
        if origin.file == scalar_attention.__file__ and origin.line in stage_of_line:
            assert origin.stage is not None and origin.stage.name == stage_of_line[origin.line], operation
            checked[origin.stage.name] += 1
    assert checked[SOFTMAX] > 50 and checked[OUTPUT] > 20


@pytest.mark.parametrize("name", kernels())
def test_every_kernel_names_its_stages(name: str) -> None:
    """What is of no stage is entry, return and loops around several stages: never a vector operation or an access."""
    program = compiled(name, *min(kernels()[name].shapes))
    assert stages_of(program)
    for operation in program.emitted.operations.values():
        if operation.origin.stage is None:
            vector = any(choice.opcode.mnemonic.startswith("v") for choice in operation.choices)
            assert operation.memory is None and not vector, operation


def test_no_cycle_is_lost() -> None:
    program = compiled("baseline", 16, 16)
    found = stage_cycles(program, dict.fromkeys(once(program), 3))
    assert [stage.name for stage in found.stages] == [SCORES, SOFTMAX, OUTPUT]
    assert found.cycles == 3 * len(program.bundles)
    assert sum(stage.alone for stage in found.stages) + found.shared + found.outside == found.cycles
    for stage in found.stages:
        in_overlaps = sum(overlap.cycles for overlap in found.overlaps if stage.name in overlap.stages)
        assert stage.cycles == stage.alone + in_overlaps and 0 < stage.waiting < stage.cycles
        assert stage.share == stage.cycles / found.cycles
    softmax = by_name(by_name(found.stages)[SOFTMAX].parts)
    assert list(softmax) == ["max", "exp", "sum", "normalise"]
    assert softmax["exp"].alone < softmax["exp"].cycles  # the sum is in the same loop


def test_in_sound_attention_maxima_overlap_with_scores_and_sums_with_the_output() -> None:
    program = compiled("sound")
    found = stage_cycles(program, once(program))
    overlaps = {frozenset(overlap.stages): overlap.cycles for overlap in found.overlaps}
    assert overlaps[frozenset([SCORES, SOFTMAX])] > 10 and overlaps[frozenset([SOFTMAX, OUTPUT])] > 10
    parts = list(by_name(by_name(found.stages)[SOFTMAX].parts))
    assert parts == ["max", "references", "weights", "rescale", "sum"]


# --- programs whose stages are known --------------------------------------------------------------------------------


def test_bundles_serve_the_stages_of_their_operations() -> None:
    program = compile_kernel(two_stages, "two")
    serving = stages_at(program)
    kind = {"vldb": "in", "vlda": "in", "vst": "out"}
    seen: Counter[frozenset[str]] = Counter()
    for number, bundle in enumerate(program.bundles):
        expected = {kind[o.opcode.mnemonic] for o in bundle.operations if o.opcode.mnemonic in kind}
        names = {stage.name for stage in serving[number * FETCH_BYTES]}
        if expected:
            assert names >= expected  # a pointer's step may be among them
            seen[frozenset(names)] += 1
    assert set(map(len, seen)) >= {2}, "loads and stores of one loop share no bundle"


def test_stages_do_not_change_the_code() -> None:
    def plain(k: Kernel) -> None:
        a, out = k.argument("a", RIGHT, (8,), bank=1), k.argument("out", RIGHT, (8,), bank=2)
        for i in k.loop(8):
            out[i] = a[i]

    assert compile_kernel(two_stages, "two").code == compile_kernel(plain, "two").code


def test_stages_nest_and_empty_bundles_belong_to_what_came_before() -> None:
    def nested(k: Kernel) -> None:
        a = k.argument("a", int32, (2,))
        with k.stage("first"):
            x = a[0]
            with k.stage("second", "inner"):
                y = x * x  # waits for the load, six bundles and more
            a[1] = y

    program = compile_kernel(nested, "nested")
    assert stages_of(program) == [Stage("first"), Stage("second", "inner")]
    serving = stages_at(program)
    (load,) = (a for (a, _), o in program.emitted.operations.items() if o.memory and not o.memory.is_store)
    (multiply,) = (a for (a, _), o in program.emitted.operations.items() if o.opcode.mnemonic == "mul")
    assert multiply - load >= 6 * FETCH_BYTES
    between = [serving[address] for address in range(load + FETCH_BYTES, multiply, FETCH_BYTES)]
    assert set(between) == {frozenset([Stage("first")])}
    assert serving[multiply] == {Stage("second", "inner")}
    found = by_name(stage_cycles(program, once(program)).stages)
    assert found["first"].waiting >= len(between)


def test_the_figures_of_a_made_up_run() -> None:
    """Cycles put where they can be told from each other."""
    program = compile_kernel(two_stages, "two")
    serving = stages_at(program)
    expected: Counter[frozenset[str]] = Counter()
    cycles_at = {}
    for place, (address, stages) in enumerate(serving.items()):
        cycles_at[address] = 1000 + place
        expected[frozenset(stage.name for stage in stages)] += 1000 + place
    found: StagesRecord = stage_cycles(program, cycles_at, {0: 100})
    stages = by_name(found.stages)
    assert stages["in"].alone == expected[frozenset(["in"])]
    assert stages["out"].cycles == expected[frozenset(["out"])] + expected[frozenset(["in", "out"])]
    assert found.outside == expected[frozenset()]
    assert found.shared == expected[frozenset(["in", "out"])]
    more = stage_cycles(program, cycles_at)
    assert sum(s.waiting for s in found.stages) - sum(s.waiting for s in more.stages) == 100 * len(
        {stage.name for stage in serving[0]}
    )


# --- Amdahl's law ---------------------------------------------------------------------------------------------------


def test_amdahl_is_computed_from_the_cycles_that_were_counted() -> None:
    program = compiled("baseline", 16, 16)
    of_scores = next(address for address, stages in stages_at(program).items() if {s.name for s in stages} == {SCORES})
    last = len(program.code) - FETCH_BYTES
    device = ScriptedDevice(cycles_at={of_scores: 1200, last: 1800})
    options = {"tokens": 16, "width": 16, "device": device}
    record = measure_ladder(synthetic_activations(0), LADDER, **options)
    amdahl = record.amdahl
    assert amdahl is not None
    stages = record.kernels[0].stages
    assert stages is not None and (stages.cycles, stages.stages[0].alone) == (3000, 1200)
    assert amdahl.baseline_cycles[SCORES] == 1200 and sum(amdahl.baseline_cycles.values()) == 3000
    assert (amdahl.scores_fraction, amdahl.limit, amdahl.reached) == pytest.approx((0.4, 3000 / 1800, 3.0))
    assert measure_ladder(synthetic_activations(0), ["tiled"], **options).amdahl is None
    spoilt = ScriptedDevice(
        cycles_at=device.cycles_at, twist=lambda name, _run, output: output ^ (name == "vectorized")
    )
    assert measure_ladder(synthetic_activations(0), LADDER, tokens=16, width=16, device=spoilt).amdahl is None
