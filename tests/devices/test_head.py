"""Whole heads through the machine code, block by block: every integer of the state, and every bit of the result."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import xattn
from xattn.bench import Activations, synthetic_activations
from xattn.devices import Simulator
from xattn.devices.head import HeadOnCore, HeadRun
from xattn.errors import InputError
from xattn.numerics.sound import Order, SoundOperands, attend, finish, quantize_operands
from xattn.whisper.speech_activations import speech_activations
from xattn.whisper.weights import find_weights

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]


@pytest.fixture(scope="module")
def core() -> HeadOnCore:
    return HeadOnCore()


def noise(seed: int, queries: int, keys: int) -> tuple[Float32, Float32, Float32]:
    """Logits of a few octaves, so that references rise again and again."""
    rng = np.random.default_rng(seed)
    q, k, v = (rng.standard_normal((n, 64), np.float32) for n in (queries, keys, keys))
    return 3 * q, k, v


def assert_exact(
    core: HeadOnCore,
    floats: tuple[Float32, ...],
    order: Order = "natural",
    mask: Mask | None = None,
    causal: bool = False,
) -> HeadRun:
    """The state is that of the integer model, and the result that of `xattn.attention`, which quantizes for itself."""
    q, k, v = floats
    operands = quantize_operands(q, k, v)
    shift = int(operands.shift.item())
    run = core.attend(operands.q, operands.k, operands.v, shift, order=order, key_mask=mask, causal=causal)
    expected = attend(operands, order=order, key_mask=mask, causal=causal)
    np.testing.assert_array_equal(run.state.matrix, expected.matrix)
    result = (finish(run.state) * operands.v_scale).astype(np.float32)
    np.testing.assert_array_equal(
        result, xattn.attention(q, k, v, order=order, key_mask=mask, causal=causal), strict=True
    )
    assert run.findings == ()
    return run


@pytest.mark.parametrize("order", ["natural", "diagonal"])
def test_a_head_with_a_tail_is_exact(core: HeadOnCore, order: Order) -> None:
    run = assert_exact(core, noise(1, 200, 200), order)
    assert (run.blocks, run.masked_blocks) == (16, 4)  # 200 = 3 · 64 + 8
    whole = assert_exact(core, noise(1, 192, 192), order)
    assert (whole.blocks, whole.masked_blocks) == (9, 0)
    assert run.cycles / run.blocks == pytest.approx(whole.cycles / whole.blocks, rel=0.1)


def test_the_order_of_blocks_is_that_which_is_asked_for(core: HeadOnCore) -> None:
    floats = noise(2, 256, 256)
    natural, diagonal = (assert_exact(core, floats, order) for order in ("natural", "diagonal"))
    assert (natural.state.accumulator != diagonal.state.accumulator).any()  # flooring depends on it


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    queries=st.integers(1, 150),
    keys=st.integers(1, 200),
    order=st.sampled_from(["natural", "diagonal"]),
    kept=st.sampled_from([None, 0.0, 0.02, 0.5, 0.98]),
    causal=st.booleans(),
)
def test_any_length_and_any_mask_is_exact(
    core: HeadOnCore, seed: int, queries: int, keys: int, order: Order, kept: float | None, causal: bool
) -> None:
    mask = None if kept is None else np.random.default_rng(seed).random(keys) < kept
    run = assert_exact(core, noise(seed, queries, keys), order, mask, causal)
    if mask is not None and not mask.any():
        assert not run.state.running_sum.any()


def test_a_causal_head_runs_only_blocks_that_are_seen(core: HeadOnCore) -> None:
    run = assert_exact(core, noise(7, 200, 200), causal=True)
    assert (run.blocks, run.masked_blocks) == (4 + 3 + 2 + 1, 4)  # those on the diagonal are masked
    shifted = assert_exact(core, noise(7, 130, 200), causal=True)  # query 0 sees 71 keys
    assert (shifted.blocks, shifted.masked_blocks) == (3 + 4 + 4, 2 + 2 + 1)
    late = assert_exact(core, noise(7, 200, 60), causal=True)  # the first 140 queries see nothing
    assert late.blocks == 2 and not late.state.running_sum[:140].any() and late.state.running_sum[140:].all()


@pytest.mark.parametrize("padding", [1, 36, 64, 100])
def test_padding_at_the_end_is_as_if_it_were_not_there(core: HeadOnCore, padding: int) -> None:
    q, k, v = noise(3, 70, 180)
    mask = np.arange(180) < 180 - padding
    operands = quantize_operands(q, k, v)
    shift = int(operands.shift.item())
    run = core.attend(operands.q, operands.k, operands.v, shift, key_mask=mask)
    short = core.attend(operands.q, operands.k[mask], operands.v[mask], shift)
    np.testing.assert_array_equal(run.state.matrix, short.state.matrix)


def _speech() -> Activations:
    weights = find_weights()
    if weights is None:
        pytest.skip("no Whisper weights: a head of real speech is NOT CHECKED")
    return speech_activations(weights, None, 2, 3)


@pytest.mark.parametrize("source", ["speech", "synthetic"])
def test_a_head_of_1500_tokens_is_exact(core: HeadOnCore, source: str) -> None:
    head = _speech() if source == "speech" else synthetic_activations(3)
    operands = quantize_operands(head.q, head.k, head.v, scaling=1.0)
    run = core.attend(operands.q, operands.k, operands.v, int(operands.shift.item()), order="diagonal")
    expected = attend(operands, order="diagonal")
    np.testing.assert_array_equal(run.state.matrix, expected.matrix)
    result = (finish(run.state) * operands.v_scale).astype(np.float32)
    wanted = xattn.attention(head.q, head.k, head.v, scaling=1.0, order="diagonal")
    np.testing.assert_array_equal(result, wanted, strict=True)
    assert (run.blocks, run.masked_blocks) == (24 * 24, 24)
    assert 24 <= run.rescaled_blocks < 24 * 24 / 2  # rare, in this order
    assert run.findings == ()


def test_both_engines_take_the_same_cycles(core: HeadOnCore) -> None:
    floats = noise(8, 64, 100)
    run, slow = assert_exact(core, floats), assert_exact(HeadOnCore(Simulator(engine="interpreter")), floats)
    assert (run.cycles, run.rescaled_blocks) == (slow.cycles, slow.rescaled_blocks)


def test_blocks_with_a_rescale_are_those_in_which_a_reference_rises(core: HeadOnCore) -> None:
    q, k, v = noise(4, 64, 256)
    k[64:] *= 0.01  # all maxima are in the first block, but for one row's
    k[200] = 4 * q[9] / np.linalg.norm(q[9]) * np.abs(k[:64]).max()
    assert assert_exact(core, (q, k, v)).rescaled_blocks == 2


def test_what_no_head_is_is_refused(core: HeadOnCore) -> None:
    made = quantize_operands(*noise(5, 64, 64))

    def refused(message: str, **other: object) -> None:
        given = {"q": made.q, "k": made.k, "v": made.v, "shift": 4, "key_mask": None, **other}
        with pytest.raises(InputError, match=message):
            core.attend(
                *(given[name] for name in ("q", "k", "v", "shift")),  # type: ignore[arg-type]
                key_mask=given["key_mask"],  # type: ignore[arg-type]
            )

    refused(r"q is int8 \[64, 32\]; a head is int8 \[tokens, 64\]", q=made.q[:, :32])
    refused(r"k is float64 \[64, 64\]", k=made.k.astype(np.float64))
    refused(r"v is int8 \[0, 64\]", v=made.v[:0])
    refused("k has 63 tokens and v has 64", k=made.k[:63])
    refused("shift is -1; the kernel shifts right, by 0 to 31", shift=-1)
    refused("shift is 32", shift=32)
    refused(r"the mask is bool \[63\]; expected bool \[64\]", key_mask=np.ones(63, np.bool_))


def test_the_operands_are_those_of_the_model(core: HeadOnCore) -> None:
    """A difference in one weight of one key shows: nothing here compares a thing with itself."""
    operands = quantize_operands(*noise(6, 64, 100))
    k = operands.k.copy()
    k[80, 5] ^= 1
    changed = SoundOperands(**{**vars(operands), "k": k})
    run = core.attend(operands.q, operands.k, operands.v, int(operands.shift.item()))
    assert (run.state.matrix != attend(changed).matrix).any()
