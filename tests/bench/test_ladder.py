"""The ladder: what counts as exact, what the rates are, and that each gate closes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from bench_cases import LADDER, ScriptedDevice

from xattn.bench import BenchRecord, cut_tile, measure_ladder, synthetic_activations
from xattn.bench.record import as_json
from xattn.devices import KernelFaultError
from xattn.errors import InputError
from xattn.kernels.registry import kernels

SMALL = {"tokens": 16, "width": 16}


def measure(device: ScriptedDevice, *names: str, **options: object) -> BenchRecord:
    return measure_ladder(synthetic_activations(1), names or LADDER, device=device, **{**SMALL, **options})


def test_rates_follow_from_cycles_and_clock() -> None:
    record = measure(ScriptedDevice(), clock_hz=2e9)
    assert [k.name for k in record.kernels] == ["baseline", "tiled", "vectorized"]
    assert [k.cycles for k in record.kernels] == [3000, 2000, 1000]
    assert [k.seconds for k in record.kernels] == [1.5e-6, 1e-6, 0.5e-6]
    assert [k.speedup for k in record.kernels] == [1.0, 1.5, 3.0]
    # two products of 16 × 16 × 16 numbers, of which a core does 256 in a cycle
    assert [k.peak_fraction for k in record.kernels] == pytest.approx([32 / 3000, 32 / 2000, 32 / 1000])
    assert record.passed and all(k.exact and k.runs == 3 and k.stalls == 7 for k in record.kernels)
    assert (record.clock_hz, record.device, record.recorded) == (2e9, "scripted", [])


def test_accuracy_is_measured_against_float_attention_of_the_floats() -> None:
    tile = cut_tile(synthetic_activations(1), 32, 16, 16)
    scale = tile.v_scale

    def truth(name: str, run: int, output: np.ndarray) -> np.ndarray:
        return np.rint(tile.truth / scale).astype(np.int8) if name == "tiled" and run == 0 else output

    kernel = measure(ScriptedDevice(twist=truth), "tiled", first=32).kernels[0]
    assert kernel.cosine is not None and kernel.rel_l2 is not None
    assert kernel.cosine > 0.995 and kernel.rel_l2 < 0.1
    assert not kernel.exact  # near to the truth, but not the model's output
    model = measure(ScriptedDevice(), "tiled", first=32).kernels[0]
    assert model.rel_l2 is not None and model.rel_l2 > kernel.rel_l2


def test_the_recorded_kernel_stands_beside_the_full_tile_only() -> None:
    record = measure(ScriptedDevice(), tokens=64, width=64, clock_hz=1e9)
    (recorded,) = record.recorded
    assert recorded.cycles == 2_975_089 and recorded.seconds == pytest.approx(2.975089e-3)
    assert recorded.speedup == pytest.approx(3000 / 2_975_089)
    assert [k.speedup_over_recorded for k in record.kernels] == pytest.approx([2_975_089 / c for c in (3e3, 2e3, 1e3)])
    assert [k.speedup_over_recorded for k in measure(ScriptedDevice()).kernels] == [None] * 3


@pytest.mark.parametrize("run", [0, 1, 2])
def test_one_wrong_element_in_any_run_is_not_exact(run: int) -> None:
    def spoil(name: str, at: int, output: np.ndarray) -> np.ndarray:
        if (name, at) == ("tiled", run):
            output[3, 5] ^= 1
        return output

    record = measure(ScriptedDevice(twist=spoil))
    assert [k.exact for k in record.kernels] == [True, False, True]
    assert not record.passed
    (fault,) = record.kernels[1].faults
    what = ("first run", "same input again", "another input")[run]
    assert fault.startswith(f"{what}: 1 of 256 elements differ from the integer model, first O[3, 5] = ")


def test_output_that_does_not_follow_the_input_is_named() -> None:
    frozen: dict[str, np.ndarray] = {}
    record = measure(ScriptedDevice(twist=lambda name, _run, output: frozen.setdefault(name, output)), "tiled")
    assert record.kernels[0].warnings == ["two different inputs gave the same output"]
    assert not record.kernels[0].exact
    zero = measure(ScriptedDevice(twist=lambda _name, _run, output: output * 0), "tiled")
    assert zero.kernels[0].warnings == ["the output is constant: every element is 0"]
    assert measure(ScriptedDevice(), "tiled").kernels[0].warnings == []


def test_a_kernel_that_fails_leaves_the_others_measured() -> None:
    def fail(name: str, run: int, output: np.ndarray) -> np.ndarray:
        if name == "tiled" and run == 1:
            raise KernelFaultError("error: undefined-memory at 0x0040")
        return output

    record = measure(ScriptedDevice(twist=fail))
    assert [k.exact for k in record.kernels] == [True, False, True]
    assert record.kernels[1].faults == ["error: undefined-memory at 0x0040"]
    assert (record.kernels[1].cycles, record.kernels[1].speedup, record.kernels[1].rel_l2) == (None, None, None)
    assert not record.passed


def test_what_the_device_finds_is_kept() -> None:
    kernel = measure(ScriptedDevice(findings=("odd",)), "tiled").kernels[0]
    assert kernel.warnings == ["odd"] and kernel.passed


def test_a_baseline_that_is_wrong_gives_no_speedups() -> None:
    record = measure(ScriptedDevice(twist=lambda name, _run, output: output ^ (name == "baseline")))
    assert [k.exact for k in record.kernels] == [False, True, True]
    assert [k.speedup for k in record.kernels] == [None] * 3
    assert record.kernels[2].cycles == 1000


def test_the_baseline_runs_once_unlisted_for_the_speedup() -> None:
    device = ScriptedDevice()
    record = measure(device, "vectorized", "vectorized")
    assert [k.name for k in record.kernels] == ["vectorized"]
    assert record.kernels[0].speedup == 3.0
    assert device.ran == ["baseline", "vectorized", "vectorized", "vectorized"]


@pytest.mark.parametrize(("name", "letter"), [("qkt", "S"), ("matmul_int8", "C")])
def test_what_is_no_attention_is_not_compared_with_it(name: str, letter: str) -> None:
    device = ScriptedDevice()
    record = measure(device, name, tokens=32, width=32)  # a shape that the baseline does not take
    kernel = record.kernels[0]
    assert device.ran == [name] * 3 and record.passed
    assert (kernel.speedup, kernel.speedup_over_recorded, kernel.cosine, kernel.rel_l2) == (None,) * 4
    assert kernel.peak_fraction == pytest.approx(32**3 / 256 / device.cycles[name])
    beside = measure(ScriptedDevice(), "vectorized", name, tokens=64, width=64).kernels
    assert (beside[0].speedup, beside[1].speedup) == (3.0, None) and beside[0].speedup_over_recorded is not None
    assert beside[1].speedup_over_recorded is None and beside[1].cosine is None
    wrong = measure(ScriptedDevice(twist=lambda _name, _run, output: output ^ 1), name)
    assert not wrong.passed and f"first {letter}[0, 0] = " in wrong.kernels[0].faults[0]


def test_a_block_is_exact_in_its_whole_state_and_accurate_after_the_division() -> None:
    names = ("sound", "sound_rescale")
    device = ScriptedDevice(dict.fromkeys(names, 2560))
    record = measure(device, *names, tokens=64, width=64)
    assert record.passed and device.ran == [name for name in names for _ in range(3)]
    for kernel in record.kernels:
        assert kernel.cosine is not None and kernel.rel_l2 is not None
        assert kernel.cosine > 0.999 and 0.001 < kernel.rel_l2 < 0.03
        assert kernel.peak_fraction == 0.8
        assert (kernel.computes, kernel.speedup, kernel.speedup_over_recorded) == ("block", None, None)
    for column in (5, 64, 65):  # a sum, the running sum, the reference

        def spoil(_name: str, run: int, state: np.ndarray, column: int = column) -> np.ndarray:
            state[9, column] += run == 2
            return state

        spoiled = measure(ScriptedDevice(dict.fromkeys(names, 1), twist=spoil), "sound", tokens=64, width=64)
        (fault,) = spoiled.kernels[0].faults
        assert fault.startswith(
            f"another input: 1 of 4,224 elements differ from the integer model, first state[9, {column}]"
        )


@pytest.mark.parametrize("side", [16, 32, 64])
def test_every_kernel_of_the_shape_is_measured_when_none_is_named(side: int) -> None:
    device = ScriptedDevice(dict.fromkeys(kernels(), 9))
    record = measure_ladder(synthetic_activations(1), device=device, tokens=side, width=side)
    takers = [name for name, spec in kernels().items() if (side, side) in spec.shapes]
    assert [(k.name, k.exact) for k in record.kernels] == [(name, True) for name in takers]
    assert set(takers) >= {"qkt", "matmul_int8"} and ("baseline" in takers) == (side != 32)


def test_progress_counts_every_run() -> None:
    seen: list[tuple[int, int, str]] = []
    measure(ScriptedDevice(), "vectorized", progress=lambda *step: seen.append(step))
    assert seen == [
        (0, 4, "baseline: first run"),
        (1, 4, "vectorized: first run"),
        (2, 4, "vectorized: same input again"),
        (3, 4, "vectorized: another input"),
    ]


def test_bad_choices_are_refused_before_anything_runs() -> None:
    device = ScriptedDevice()
    with pytest.raises(InputError, match="no kernel is called 'fast'; there are baseline, tiled, "):
        measure(device, "baseline", "fast")
    with pytest.raises(InputError, match="baseline cannot take 48 tokens of width 64; it takes 64×64, 16×16"):
        measure(device, "vectorized", tokens=48, width=64)
    with pytest.raises(InputError, match=r"no kernel takes 48 tokens of width 64; .* 16×16, 32×32, 64×64"):
        measure_ladder(synthetic_activations(1), device=device, tokens=48)
    with pytest.raises(InputError, match="first token 1490"):
        measure(device, first=1490)
    assert device.ran == []


def test_json_has_the_promised_keys() -> None:
    read = json.loads(as_json(measure(ScriptedDevice(), tokens=64, width=64)))
    assert {"input", "clock_hz", "kernels"} <= read.keys()
    assert read["clock_hz"] == 1.8e9
    promised = {"name", "exact", "cycles", "seconds", "peak_fraction", "speedup", "cosine", "rel_l2"}
    for kernel, cycles in zip(read["kernels"], (3000, 2000, 1000), strict=True):
        assert promised <= kernel.keys()
        assert kernel["exact"] is True and kernel["cycles"] == cycles
    assert read["input"]["source"] == "synthetic" and read["input"]["seed"] == 1
    assert "simulated" in read["cycles_are"]
