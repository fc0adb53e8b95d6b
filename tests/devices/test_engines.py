"""The simulator's two engines give the same for every kernel: output, cycles, and where the cycles went."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest
from device_cases import operands

from xattn.devices import KernelFaultError, Simulator
from xattn.devices.simulator import NOT_INSTALLED
from xattn.isa import assemble
from xattn.kernels.registry import KernelSpec, compiled, kernel_spec, kernels

needs_llvmlite = pytest.mark.skipif(
    importlib.util.find_spec("llvmlite") is None,
    reason="NOT CHECKED: the translator needs llvmlite (pip install 'xattn[jit]')",
)
SMALLEST = [(name, min(spec.shapes)) for name, spec in kernels().items()]
LARGEST = [(name, max(spec.shapes)) for name, spec in kernels().items() if len(spec.shapes) > 1]


def of_shape(seed: int, shape: tuple[int, int]) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.integers(-128, 128, shape).astype(np.int8) for _ in range(3)]


def check(spec: KernelSpec, shape: tuple[int, int]) -> None:
    """Two runs on each engine, each on a core of its own: what a run leaves behind is equal too."""
    loaded = [Simulator(engine=engine).load(spec, *shape) for engine in ("interpreter", "translator")]
    for seed in (1, 2):
        slow, fast = (kernel.run(*of_shape(seed, shape), 4) for kernel in loaded)
        assert (slow.engine, fast.engine, fast.note) == ("interpreter", "translator", "")
        assert np.array_equal(slow.output, fast.output)
        assert (slow.cycles, slow.stalls, slow.cycles_at) == (fast.cycles, fast.stalls, fast.cycles_at)
    cores = [kernel.core for kernel in loaded]
    assert cores[0].registers.scalars[:-1] == cores[1].registers.scalars[:-1]
    assert cores[0].memory.windows == cores[1].memory.windows


@needs_llvmlite
@pytest.mark.parametrize(("name", "shape"), SMALLEST)
def test_engines_agree(name: str, shape: tuple[int, int]) -> None:
    check(kernel_spec(name), shape)


@needs_llvmlite
@pytest.mark.slow
@pytest.mark.parametrize(("name", "shape"), LARGEST)
def test_engines_agree_on_large_tiles(name: str, shape: tuple[int, int]) -> None:
    check(kernel_spec(name), shape)


@needs_llvmlite
def test_by_default_the_first_run_is_checked_and_the_others_are_fast() -> None:
    kernel = Simulator().load(kernel_spec("baseline"), 16, 16)
    results = [kernel.run(*operands(1), 4) for _ in range(3)]
    assert [result.engine for result in results] == ["interpreter", "translator", "translator"]
    assert len({result.cycles for result in results}) == 1
    assert results[0].cycles_at == results[1].cycles_at == results[2].cycles_at


@needs_llvmlite
def test_a_fault_is_the_same_on_either_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = compiled("baseline", 16, 16)
    fields = ("arrays", "addresses", "arguments", "scalars")
    code = assemble("nop*3\nlda r0, [p0, #0]\nmovxm p0, #0x7fffe\nnop*2\nst r0, [p0, #0]\nret lr\nnop*5")
    program = SimpleNamespace(code=code, **{name: getattr(sound, name) for name in fields})
    monkeypatch.setattr("xattn.devices.simulator.compiled", lambda *_: program)
    said = []
    for engine in ("interpreter", "translator"):
        with pytest.raises(KernelFaultError) as caught:
            Simulator(engine=engine).load(kernel_spec("baseline"), 16, 16).run(*operands(1), 4)
        said.append(str(caught.value))
    assert said[0] == said[1] and "misaligned" in said[0]


def test_without_llvmlite_every_run_is_checked_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xattn.sim.core.find_spec", lambda _: None)
    kernel = Simulator().load(kernel_spec("qkt"), 16, 16)
    results = [kernel.run(*operands(1), 4) for _ in range(2)]
    assert [(result.engine, result.note) for result in results] == [("interpreter", NOT_INSTALLED)] * 2


def test_traced_runs_are_interpreted() -> None:
    seen: list[int] = []
    kernel = Simulator(trace=lambda *what: seen.append(what[1]), engine="auto").load(kernel_spec("qkt"), 16, 16)
    results = [kernel.run(*operands(1), 4) for _ in range(2)]
    assert [(result.engine, result.note) for result in results] == [("interpreter", "")] * 2
    assert len(seen) == sum((result.cycles or 0) - (result.stalls or 0) for result in results)
