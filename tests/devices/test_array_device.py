"""Kernels on the simulated array: built, loaded, run; bit for bit the model's, whatever the design."""

from __future__ import annotations

import numpy as np
import pytest
from device_cases import SIDE, operands

from xattn.devices import KernelFaultError, Simulator
from xattn.devices.array_simulator import ArrayKernel, ArraySimulator
from xattn.errors import InputError
from xattn.kernels.registry import kernel_spec
from xattn.numerics.sound import BlockMask, SoundState


def blocks(kernel: ArrayKernel, runs: int, seed: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [
        random.integers(-128, 128, (runs * count, kernel.tokens, kernel.width)).astype(np.int8)
        for count in kernel.blocks.values()
    ]


def expected(kernel: ArrayKernel, q: np.ndarray, k: np.ndarray, v: np.ndarray, shift: int) -> np.ndarray:
    return np.stack(
        [kernel.spec.model(q[n], k[n * len(k) // len(q)], v[n * len(v) // len(q)], shift) for n in range(len(q))]
    )


@pytest.mark.parametrize(
    ("name", "design"),
    [("vectorized_pv", "tile"), ("vectorized_pv", "columns4"), ("matmul_int8", "columns4"), ("qkt", "array16")],
)
def test_every_design_is_exact(name: str, design: str) -> None:
    kernel = ArraySimulator(design).load(kernel_spec(name), SIDE, SIDE)
    data = blocks(kernel, runs=2, seed=3)
    for shift in (4, 6):
        result = kernel.run_blocks(*data, shift)
        assert np.array_equal(result.outputs, expected(kernel, *data, shift))
        assert result.findings == () and len(result.runs) == 2
    assert result.cycles == sum(run.cycles for run in result.runs)


def test_many_blocks_on_each_core_are_exact_and_faster() -> None:
    cycles = []
    for blocks_a_core in (1, 5):
        kernel = ArraySimulator("array16", blocks=blocks_a_core).load(kernel_spec("qkt"), SIDE, SIDE)
        assert kernel.blocks == {"q": 16 * blocks_a_core, "k": 4 * blocks_a_core, "v": 16 * blocks_a_core}
        data = blocks(kernel, runs=1, seed=4)
        result = kernel.run_blocks(*data, 5)
        assert np.array_equal(result.outputs, expected(kernel, *data, 5)) and result.findings == ()
        cycles.append(result.cycles_per_block)
    assert cycles[1] < cycles[0] / 3


@pytest.mark.parametrize("name", ["vectorized_pv", "qkt"])
def test_a_core_of_the_array_takes_the_cycles_of_a_core_alone(name: str) -> None:
    """The kernel's own cycles, to the last one: what the core does besides is the same each time for each buffer."""
    spec = kernel_spec(name)
    alone, on_array = Simulator().load(spec, SIDE, SIDE), ArraySimulator().load(spec, SIDE, SIDE)
    apart: dict[int, set[int]] = {0: set(), 1: set()}
    for seed in range(5):
        q, k, v = operands(seed)
        single = alone.run(q, k, v, 4)
        (run,) = on_array.run_blocks(q[None], k[None], v[None], 4).runs
        assert single.cycles is not None
        if seed:  # the first run has the start of the program in it
            apart[seed % 2].add(run.cores[0].busy - single.cycles)
    assert all(len(found) == 1 and 0 < found.pop() < 60 for found in apart.values())


def test_one_block_by_the_interface_of_devices() -> None:
    kernel = ArraySimulator().load(kernel_spec("qkt"), SIDE, SIDE)
    q, k, v = operands(1)
    result = kernel.run(q, k, v, 5)
    assert np.array_equal(result.output, kernel.spec.model(q, k, v, 5))
    assert result.cycles is not None and result.cycles > 5000 and result.findings == ()
    assert kernel.run(q, k, v, 5).cycles < result.cycles  # the first run is cold


@pytest.mark.slow
def test_four_columns_bring_more_than_three_times_the_throughput() -> None:
    """Of a kernel that takes longer than the controller takes to start its transfers."""
    per_block = {}
    for design in ("tile", "columns4"):
        kernel = ArraySimulator(design).load(kernel_spec("vectorized"), 64, 64)
        result = kernel.run_blocks(*blocks(kernel, runs=1, seed=1), 4)
        per_block[design] = result.cycles_per_block
    assert per_block["tile"] > 3.5 * per_block["columns4"]


def test_wrong_operands_are_refused() -> None:
    q, k, v = operands(1)
    kernel = ArraySimulator("columns4").load(kernel_spec("qkt"), SIDE, SIDE)
    with pytest.raises(InputError, match="use run_blocks"):
        kernel.run(q, k, v, 4)
    with pytest.raises(InputError, match=r"K is int16 \[4, 16, 16\]"):
        kernel.run_blocks(*[np.stack([a] * 4).astype(t) for a, t in zip((q, k, v), "bhb", strict=True)], 4)
    with pytest.raises(InputError, match="4, 8 and 4 blocks of Q, K, V"):
        kernel.run_blocks(*[np.stack([a] * n) for a, n in zip((q, k, v), (4, 8, 4), strict=True)], 4)


def test_a_run_that_cannot_end_is_a_fault_of_the_kernel() -> None:
    kernel = ArraySimulator().load(kernel_spec("qkt"), SIDE, SIDE)
    kernel.run(*operands(1), 4)
    _, array = kernel._ready[4]
    for lock in array.tiles[0, 2].locks:
        lock.value = 0  # nobody has a free buffer any more
    with pytest.raises(KernelFaultError, match="deadlock"):
        kernel.run(*operands(1), 4)


def test_a_state_is_refused_by_a_kernel_that_carries_none() -> None:
    state = SoundState.from_matrix(np.zeros((SIDE, SIDE + 2), np.int32))
    with pytest.raises(InputError, match="carries no state"):
        ArraySimulator().load(kernel_spec("qkt"), SIDE, SIDE).run(*operands(1), 4, state)


@pytest.mark.slow
def test_a_kernel_that_carries_state_gets_and_gives_it() -> None:
    spec = kernel_spec("sound")
    kernel = ArraySimulator().load(spec, 64, 64)
    random = np.random.default_rng(5)
    first, second = ([random.integers(-128, 128, (64, 64)).astype(np.int8) for _ in range(3)] for _ in range(2))
    alone = Simulator().load(spec, 64, 64)
    result = kernel.run(*first, 4)
    assert np.array_equal(result.output, spec.model(*first, 4)) and result.findings == ()
    after = SoundState.from_matrix(result.output)
    again = kernel.run(*second, 4, after)
    assert np.array_equal(again.output, alone.run(*second, 4, after).output)
    assert np.array_equal(again.output, spec.model(*second, 4, after))


@pytest.mark.slow
def test_a_kernel_that_takes_a_mask_gets_it() -> None:
    spec = kernel_spec("sound_causal")
    kernel = ArraySimulator().load(spec, 64, 64)
    random = np.random.default_rng(6)
    block = [random.integers(-128, 128, (64, 64)).astype(np.int8) for _ in range(3)]
    mask = BlockMask(np.arange(64) < 28, 5)
    result = kernel.run(*block, 4, None, mask)
    assert np.array_equal(result.output, spec.model(*block, 4, None, mask)) and result.findings == ()
    assert not np.array_equal(result.output, spec.model(*block, 4))
