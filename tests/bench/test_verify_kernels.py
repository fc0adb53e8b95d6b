"""Verifying kernels: which inputs they get, and that nothing wrong goes unnoticed."""

from __future__ import annotations

import numpy as np
import pytest
from bench_cases import ScriptedDevice

from xattn.bench import ladder, synthetic_activations
from xattn.bench.verify import NOISE_SHIFTS, TILES, VerifyRecord, cases, verify_kernels
from xattn.devices import KernelFaultError
from xattn.errors import InputError
from xattn.kernels.registry import kernel_spec, program_of
from xattn.numerics.adversarial import ADVERSARIAL_CASES

ACTIVATIONS = synthetic_activations(0)
NAMES = ("qkt", "sound", "sound_causal")


@pytest.fixture(autouse=True)
def _without_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    """The device here needs no machine code; without it a shape is still refused."""
    monkeypatch.setattr(ladder, "compiled", program_of)


def verify(device: ScriptedDevice, *names: str) -> VerifyRecord:
    return verify_kernels(names or NAMES, ACTIVATIONS, device=device)


def test_every_input_is_run_and_every_element_counted() -> None:
    device = ScriptedDevice(dict.fromkeys(NAMES, 5))
    told: list[tuple[int, int, str]] = []
    record = verify_kernels(NAMES, ACTIVATIONS, device=device, progress=lambda *at: told.append(at))
    assert record.passed and [kernel.name for kernel in record.kernels] == list(NAMES)
    for kernel in record.kernels:
        made = list(cases(kernel_spec(kernel.name), ACTIVATIONS, 64, 64))
        assert kernel.inputs == len(made) == device.ran.count(kernel.name)
        assert kernel.elements == len(made) * 64 * (64 if kernel.name == "qkt" else 66)
        assert (kernel.differences, kernel.fewest_cycles, kernel.most_cycles) == (0, 5, 5)
    assert [done for done, _, _ in told] == list(range(len(device.ran))) and {told[-1][1]} == {len(device.ran)}


def test_the_inputs_differ_and_are_what_a_kernel_takes() -> None:
    for name in NAMES:
        spec = kernel_spec(name)
        made = list(cases(spec, ACTIVATIONS, 64, 64))
        assert len(made) >= len(NOISE_SHIFTS) + len(ADVERSARIAL_CASES) + TILES
        assert len({(case.q.tobytes(), case.k.tobytes(), case.shift) for case in made}) == len(made)
        states = [case.before for case in made if case.before is not None and case.before.running_sum.any()]
        masks = [case.mask for case in made if case.mask is not None]
        assert bool(states) == spec.carries_state
        assert len(masks) == (len(made) if spec.takes_mask else 0)
        if masks:
            shares = {float(mask.keys.mean()) for mask in masks}
            assert 0 in shares and 1 in shares and len(shares) > 4
            assert len({mask.diagonal for mask in masks}) > 4
    rises = [
        (case.before.reference < spec.model(case.q, case.k, case.v, case.shift, case.before)[:, 65]).all()
        for spec in [kernel_spec("sound")]
        for case in cases(spec, ACTIVATIONS, 64, 64)
        if case.what.startswith("tokens") and case.before is not None
    ]
    assert rises == [False, True] * TILES


def test_one_wrong_element_of_one_input_is_found() -> None:
    def spoil(name: str, run: int, output: np.ndarray) -> np.ndarray:
        if (name, run) == ("sound", 9):
            output[63, 64] += 1
        return output

    record = verify(ScriptedDevice(dict.fromkeys(NAMES, 5), twist=spoil))
    wrong = {kernel.name: kernel for kernel in record.kernels if not kernel.passed}
    assert not record.passed and list(wrong) == ["sound"]
    assert wrong["sound"].differences == 1
    (fault,) = wrong["sound"].faults
    assert "1 of 4,224 elements differ from the integer model, first state[63, 64]" in fault


def test_a_finding_and_a_fault_fail_a_kernel() -> None:
    def fail(_name: str, run: int, output: np.ndarray) -> np.ndarray:
        if run == 3:
            raise KernelFaultError("it left the code")
        return output

    found = verify(ScriptedDevice(dict.fromkeys(NAMES, 5), findings=("a misaligned access",)), "qkt").kernels[0]
    assert not found.passed and found.faults == ["a misaligned access"] and not found.differences
    failed = verify(ScriptedDevice(dict.fromkeys(NAMES, 5), twist=fail), "qkt").kernels[0]
    assert not failed.passed and failed.inputs == 4 and failed.faults[0].endswith(": it left the code")


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="no kernel is called 'nothing'"):
        verify_kernels(["nothing"], ACTIVATIONS)
    with pytest.raises(InputError, match="kernel sound cannot take 16 tokens of width 16"):
        verify_kernels(["sound"], ACTIVATIONS, 16, 16)
