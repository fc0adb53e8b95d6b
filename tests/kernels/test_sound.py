"""`sound` against the integer model `trace_block`, bit for bit: scores, references, weights, sums."""

from __future__ import annotations

import golden
import numpy as np
import pytest
from numpy.typing import NDArray

from xattn.bench import cut_block, synthetic_activations
from xattn.devices import Simulator
from xattn.devices.simulator import SimulatedKernel
from xattn.kernels.registry import kernel_spec
from xattn.kernels.sound_layout import STATE_ARRAYS, pack_state, unpack_state
from xattn.numerics import synthetic
from xattn.numerics.adversarial import ADVERSARIAL_CASES, adversarial_case
from xattn.numerics.sound import SoundState, init_state, quantize_operands, trace_block
from xattn.whisper.speech_activations import speech_activations
from xattn.whisper.weights import find_weights

Int8 = NDArray[np.int8]
CYCLES = {name: golden.read()[name]["64x64"] for name in ("sound", "sound_rescale")}  # whatever the data


@pytest.fixture(scope="module")
def block() -> SimulatedKernel:
    return Simulator().load(kernel_spec("sound"), 64, 64)


def _read(block: SimulatedKernel, name: str) -> NDArray[np.uint8]:
    size = next(array.size for array in block.program.arrays if array.name == name)
    return np.frombuffer(block.core.read_memory(block.program.addresses[name], size), np.uint8)


def _scores(block: SimulatedKernel) -> NDArray[np.int16]:
    tiles = _read(block, "scores").view(np.int16).reshape(4, 4, 9, 32)[:, :, :8]
    return tiles.reshape(4, 4, 4, 2, 4, 8).transpose(0, 2, 4, 1, 3, 5).reshape(64, 64)


def _weights(block: SimulatedKernel) -> NDArray[np.uint8]:
    return _read(block, "weights").reshape(4, 8, 4, 4, 8).transpose(0, 2, 3, 1, 4).reshape(64, 64)


def assert_exact(block: SimulatedKernel, before: SoundState, q: Int8, k: Int8, v: Int8, shift: int) -> SoundState:
    """Process a block after `before` and compare everything with the model; the state after it."""
    result = block.run(q, k, v, shift, before)
    expected = trace_block(before, q, k, v, shift)
    np.testing.assert_array_equal(_scores(block), expected.scores)
    np.testing.assert_array_equal(_weights(block), expected.p)
    np.testing.assert_array_equal(result.output, expected.state.matrix)
    assert result.findings == ()
    rises = (expected.state.reference > before.reference).any()
    assert result.cycles == CYCLES["sound_rescale" if rises else "sound"]
    return expected.state


def noise(seed: int, limit: int = 128) -> list[Int8]:
    rng = np.random.default_rng(seed)
    return [rng.integers(-limit, limit, (64, 64), dtype=np.int8) for _ in range(3)]


@pytest.mark.parametrize("shift", [0, 4, 7, 12, 31])
def test_noise_is_exact(block: SimulatedKernel, shift: int) -> None:
    assert_exact(block, init_state((64,)), *noise(shift), shift)


@pytest.mark.parametrize("name", sorted(ADVERSARIAL_CASES))
def test_awkward_rows_are_exact(block: SimulatedKernel, name: str) -> None:
    case = adversarial_case(name)
    for shift in (0, 5, 9):
        assert_exact(block, init_state((64,)), case.q, case.k, case.v, shift)


def test_synthetic_activations_are_exact(block: SimulatedKernel) -> None:
    data = synthetic.synthetic_activations(3, heads=2, tokens=128)
    operands = quantize_operands(data.q, data.k, data.v, scaling=1.0)
    for head in range(2):
        for tokens in (slice(0, 64), slice(64, 128)):
            q, k, v = (x[head, tokens] for x in (operands.q, operands.k, operands.v))
            assert_exact(block, init_state((64,)), q, k, v, int(operands.shift[head, 0, 0]))


def test_state_is_carried_from_block_to_block(block: SimulatedKernel) -> None:
    q, k, v = noise(1)
    state = assert_exact(block, init_state((64,)), q, k, v, 7)
    _, weaker, other_v = noise(2, limit=30)
    after = assert_exact(block, state, q, weaker, other_v, 7)
    np.testing.assert_array_equal(after.reference, state.reference)  # nothing is shifted down
    assert (after.running_sum > state.running_sum).any()


def test_sums_are_shifted_down_where_references_rise(block: SimulatedKernel) -> None:
    q, k, v = noise(4)
    state = assert_exact(block, init_state((64,)), q, (k // 16).astype(np.int8), v, 2)
    octaves = []
    for factor in (16, 8, 3, 1):
        k = np.roll(k, 5, axis=1)
        after = assert_exact(block, state, q, (k // factor).astype(np.int8), v, 2)
        octaves.append((after.reference - state.reference) // 128)
        state = after
    assert {0, 1, 2} <= set(np.ravel(octaves).tolist())
    assert set(range(32, 64)) & set(np.ravel(octaves).tolist())  # further than an int32 has bits, and a shift wraps


def test_one_row_alone_rises(block: SimulatedKernel) -> None:
    q, k, v = noise(6, limit=30)
    state = assert_exact(block, init_state((64,)), q, k, v, 5)
    for row in (0, 17, 63):
        louder = q.copy()
        louder[row] = np.where(k[row] < 0, -128, 127)
        after = assert_exact(block, state, louder, k, v, 5)
        assert [int(i) for i in np.flatnonzero(after.reference > state.reference)] == [row]


@pytest.mark.parametrize("groups", [(0,), (3,), (1, 2), (0, 1, 3)])
def test_only_some_groups_of_rows_rise(block: SimulatedKernel, groups: tuple[int, ...]) -> None:
    q, k, v = noise(8, limit=30)
    state = assert_exact(block, init_state((64,)), q, k, v, 5)
    louder = q.copy()
    for row in (16 * group + r for group in groups for r in range(16)):
        louder[row] = np.where(k[row] < 0, -128, 127)
    after = assert_exact(block, state, louder, k, v, 5)
    risen = np.flatnonzero(after.reference > state.reference)
    assert set((risen // 16).tolist()) == set(groups)


@pytest.mark.parametrize("seed", [0, 1])
def test_sums_as_large_as_they_get_fall_by_any_rise(block: SimulatedKernel, seed: int) -> None:
    q, k, v = noise(10 + seed)
    rng = np.random.default_rng(seed)
    own = trace_block(init_state((64,)), q, k, v, 0).block_reference
    octaves = rng.permutation(64) if seed == 0 else rng.choice([0, 1, 29, 30, 31, 32, 33, 64, 255, 256, 300], 64)
    limits = np.array([-(2**31), -(2**30) - 1, -(2**30), -1, 0, 1, 2**30 - 1, 2**30, 2**31 - 1])
    sums = np.where(rng.random((64, 64)) < 0.5, rng.choice(limits, (64, 64)), rng.integers(-(2**31), 2**31, (64, 64)))
    running = rng.choice(limits[limits > 0], 64)
    sums[octaves == 0] //= 2  # they stay as they are, and have to leave room for the block's own
    running[octaves == 0] //= 2
    before = SoundState(sums.astype(np.int32), running.astype(np.int32), (own - 128 * octaves).astype(np.int32))
    after = assert_exact(block, before, q, k, v, 0)
    np.testing.assert_array_equal((after.reference - before.reference) // 128, octaves)


@pytest.mark.parametrize("rising", [False, True])
@pytest.mark.parametrize("source", ["synthetic", "speech"])
def test_blocks_in_mid_sequence_are_exact(block: SimulatedKernel, source: str, rising: bool) -> None:
    weights = find_weights() if source == "speech" else None
    if source == "speech" and weights is None:
        pytest.skip("no Whisper weights: blocks of real speech are NOT CHECKED")
    heads = [speech_activations(weights, None, 1, 3)] if weights else [synthetic_activations(seed) for seed in (1, 2)]
    for head in heads:
        for first in (0, 700, 1436):
            tile = cut_block(head, first, rising=rising)
            assert tile.before is not None
            after = assert_exact(block, tile.before, tile.q, tile.k, tile.v, tile.shift)
            assert (after.reference > tile.before.reference).all() == rising


def test_layouts_keep_the_state() -> None:
    q, k, v = noise(3)
    state = trace_block(init_state((64,)), q, k, v, 6).state
    packed = pack_state(state)
    again = unpack_state(np.frombuffer(b"".join(packed[name].tobytes() for name in STATE_ARRAYS), np.int8))
    np.testing.assert_array_equal(again.matrix, state.matrix)
    np.testing.assert_array_equal(SoundState.from_matrix(state.matrix).matrix, state.matrix)
