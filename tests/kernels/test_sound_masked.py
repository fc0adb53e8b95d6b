"""`sound` with masks against the integer model, bit for bit: whatever the mask, whatever masked keys hold."""

from __future__ import annotations

import golden
import numpy as np
import pytest
from numpy.typing import NDArray

from xattn.devices import Simulator
from xattn.devices.simulator import SimulatedKernel
from xattn.errors import InputError
from xattn.kernels.registry import kernel_spec
from xattn.numerics.adversarial import ADVERSARIAL_CASES, adversarial_case
from xattn.numerics.sound import BlockMask, SoundState, finish, init_state, process_block
from xattn.numerics.sound.steps import MIN_REFERENCE

Int8 = NDArray[np.int8]
Mask = NDArray[np.bool_]

KEYS = np.arange(64)
MASKS = {
    "none": KEYS >= 0,
    "first": KEYS != 0,
    "last": KEYS != 63,
    "all but the first": KEYS == 0,
    "all but one": KEYS == 37,
    "all but the last": KEYS == 63,
    "tail of 1,500 keys": KEYS < 28,
    "every other": KEYS % 2 == 1,
    "a block of eight": KEYS // 8 != 3,
    "all": KEYS < 0,
}


@pytest.fixture(scope="module")
def masked() -> SimulatedKernel:
    return Simulator().load(kernel_spec("sound_masked"), 64, 64)


@pytest.fixture(scope="module")
def causal() -> SimulatedKernel:
    return Simulator().load(kernel_spec("sound_causal"), 64, 64)


@pytest.fixture(scope="module")
def plain() -> SimulatedKernel:
    return Simulator().load(kernel_spec("sound"), 64, 64)


def noise(seed: int) -> list[Int8]:
    rng = np.random.default_rng(seed)
    return [rng.integers(-128, 128, (64, 64), dtype=np.int8) for _ in range(3)]


def assert_exact(
    kernel: SimulatedKernel,
    before: SoundState,
    q: Int8,
    k: Int8,
    v: Int8,
    shift: int,
    mask: Mask | None,
    diagonal: int | None = None,
) -> SoundState:
    """Process a block after `before` and compare with the model; the state after it."""
    keys = np.ones(64, np.bool_) if mask is None else mask
    result = kernel.run(q, k, v, shift, before, None if mask is diagonal is None else BlockMask(keys, diagonal))
    seen = keys if diagonal is None else keys & (KEYS - KEYS[:, np.newaxis] <= diagonal)
    expected = process_block(before, q, k, v, shift, key_mask=seen)
    np.testing.assert_array_equal(result.output, expected.matrix)
    assert result.findings == ()
    if not (expected.reference > before.reference).any():
        assert result.cycles == golden.read()[kernel.spec.name]["64x64"]  # whatever the data and the mask
    return expected


@pytest.mark.parametrize("name", MASKS)
def test_every_kind_of_mask_is_exact(masked: SimulatedKernel, name: str) -> None:
    mask = MASKS[name]
    for shift in (0, 7):  # at 0 most scores saturate, to the lowest one too
        first = assert_exact(masked, init_state((64,)), *noise(1), shift, mask)
        assert ((first.running_sum > 0) | (first.reference == MIN_REFERENCE)).all()
        assert_exact(masked, first, *noise(2), shift, mask)
        assert_exact(masked, assert_exact(masked, first, *noise(3), shift, None), *noise(4), shift, mask)


@pytest.mark.parametrize("case", sorted(ADVERSARIAL_CASES))
def test_awkward_rows_are_exact(masked: SimulatedKernel, case: str) -> None:
    made = adversarial_case(case)
    for name in ("first", "last", "all but one", "every other"):
        assert_exact(masked, init_state((64,)), made.q, made.k, made.v, 5, MASKS[name])


def test_random_masks_are_exact_from_block_to_block(masked: SimulatedKernel) -> None:
    rng = np.random.default_rng(5)
    state = init_state((64,))
    for seed in range(12):
        mask = rng.random(64) < rng.random()
        state = assert_exact(masked, state, *noise(seed), int(rng.integers(2, 12)), mask)
    assert (finish(state) != 0).any()


def test_a_masked_key_counts_for_nothing_whatever_it_holds(masked: SimulatedKernel) -> None:
    q, k, v = noise(6)
    mask = MASKS["tail of 1,500 keys"]
    first = masked.run(q, k, v, 6, None, BlockMask(mask)).output
    k[~mask], v[~mask] = 127, -128  # the largest scores, were they not masked
    np.testing.assert_array_equal(masked.run(q, k, v, 6, None, BlockMask(mask)).output, first)
    assert (masked.run(q, k, v, 6).output != first).any()


def test_a_block_of_masked_keys_leaves_the_state_alone(masked: SimulatedKernel) -> None:
    before = assert_exact(masked, init_state((64,)), *noise(7), 6, None)
    after = assert_exact(masked, before, *noise(8), 6, MASKS["all"])
    np.testing.assert_array_equal(after.matrix, before.matrix)


@pytest.mark.parametrize("diagonal", [-64, -63, -30, -1, 0, 1, 17, 62, 63, 64])
def test_every_diagonal_is_exact(causal: SimulatedKernel, diagonal: int) -> None:
    state = assert_exact(causal, init_state((64,)), *noise(11), 6, None, diagonal)
    assert (state.running_sum == 0).sum() == max(0, -diagonal)  # so many queries see nothing
    assert_exact(causal, state, *noise(12), 0, None, diagonal)


def test_masks_of_keys_and_diagonals_together_are_exact(causal: SimulatedKernel) -> None:
    rng = np.random.default_rng(6)
    for name, mask in MASKS.items():
        state = assert_exact(causal, init_state((64,)), *noise(13), 7, mask)
        for _ in range(3):
            state = assert_exact(causal, state, *noise(len(name)), 7, mask, int(rng.integers(-64, 65)))


@pytest.mark.parametrize("case", sorted(ADVERSARIAL_CASES))
def test_awkward_rows_on_the_diagonal_are_exact(causal: SimulatedKernel, case: str) -> None:
    made = adversarial_case(case)
    for diagonal in (-5, 0, 40):
        assert_exact(causal, init_state((64,)), made.q, made.k, made.v, 5, None, diagonal)


def test_without_a_mask_it_is_sound(masked: SimulatedKernel, causal: SimulatedKernel, plain: SimulatedKernel) -> None:
    for seed, shift in ((9, 4), (10, 9)):
        operands = noise(seed)
        expected = plain.run(*operands, shift).output
        for kernel in (masked, causal):
            np.testing.assert_array_equal(kernel.run(*operands, shift).output, expected)


def test_a_mask_is_refused_where_none_is_taken(masked: SimulatedKernel, plain: SimulatedKernel) -> None:
    with pytest.raises(InputError, match="kernel sound takes no mask: leave it out"):
        plain.run(*noise(0), 4, None, BlockMask(MASKS["first"]))
    with pytest.raises(InputError, match="kernel sound_masked takes no causal mask: leave out the diagonal"):
        masked.run(*noise(0), 4, None, BlockMask(MASKS["first"], 0))
    with pytest.raises(InputError, match=r"the mask is bool \[63\]; expected bool, one for each key"):
        masked.run(*noise(0), 4, None, BlockMask(MASKS["first"][1:]))
    with pytest.raises(InputError, match=r"the mask is int64 \[64\]"):
        masked.run(*noise(0), 4, None, BlockMask(np.ones(64, np.int64)))  # type: ignore[arg-type]
