from dataclasses import fields
from fractions import Fraction

import numpy as np
import pytest
import sound_scalar
from hypothesis import given, settings
from hypothesis import strategies as st

from xattn.errors import InputError
from xattn.numerics.adversarial import ADVERSARIAL_CASES, adversarial_case
from xattn.numerics.sound import (
    BLOCK_MAXIMUM_OPTIONS,
    MAX_KEYS,
    SoundOptions,
    SoundState,
    finish,
    finish_int8,
    init_state,
    process_block,
    trace_block,
)

OPTIONS = st.builds(
    SoundOptions,
    maximum=st.sampled_from(["running", "block"]),
    dither=st.sampled_from(["dither16", "dither64", "nearest"]),
    rescale_rounding=st.sampled_from(["floor", "half_even"]),
)


def assert_equals_scalar(q, k, v, shift, masks, options):
    """Walk the blocks in both models; compare scores, weights and the whole state after each."""
    state = init_state(q.shape[:1], v.shape[-1])
    rows = [sound_scalar.Row(v.shape[-1]) for _ in q]
    for k_block, v_block, mask in zip(k, v, masks, strict=True):
        trace = trace_block(state, q, k_block, v_block, shift, key_mask=mask, options=options)
        allowed = [True] * len(k_block) if mask is None else mask.tolist()
        for i, row in enumerate(rows):
            s, p = row.block(
                q[i].tolist(),
                k_block.tolist(),
                v_block.tolist(),
                shift,
                allowed,
                maximum=options.maximum,
                dither=options.dither,
                rescale_rounding=options.rescale_rounding,
            )
            assert trace.scores[i].tolist() == s
            assert trace.p[i].tolist() == p
            assert trace.state.accumulator[i].tolist() == row.accumulator
            assert int(trace.state.running_sum[i]) == row.running_sum
            assert int(trace.state.reference[i]) == row.reference
        state = trace.state
    return state


@settings(max_examples=40, deadline=None)
@given(
    options=OPTIONS,
    keys=st.integers(1, 20),
    dim=st.integers(1, 12),
    blocks=st.integers(1, 4),
    spread=st.sampled_from([3, 20, 128]),
    shift=st.integers(-2, 9),
    masked=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_equals_the_scalar_model(options, keys, dim, blocks, spread, shift, masked, seed):
    rng = np.random.default_rng(seed)
    q = rng.integers(-spread, spread, (4, dim), dtype=np.int8)
    k = rng.integers(-spread, spread, (blocks, keys, dim), dtype=np.int8)
    v = rng.integers(-128, 128, (blocks, keys, 3), dtype=np.int8)
    masks = [rng.random(keys) < 0.6 if masked else None for _ in range(blocks)]
    assert_equals_scalar(q, k, v, shift, masks, options)


@pytest.mark.parametrize("case", sorted(ADVERSARIAL_CASES))
@pytest.mark.parametrize("options", [SoundOptions(), BLOCK_MAXIMUM_OPTIONS], ids=["running", "block"])
@pytest.mark.parametrize("shift", [2, 6])
def test_adversarial_rows_equal_the_scalar_model(case, options, shift):
    data = adversarial_case(case, tokens=128, dim=64)
    q = data.q[[0, 1, 63, 64, 127]]
    k, v = (x.reshape(2, 64, -1) for x in (data.k, data.v[:, :3]))
    assert_equals_scalar(q, k, v, shift, [None, None], options)


def test_a_rising_maximum_rescales_and_a_standing_one_does_not():
    rising, falling = (adversarial_case(name, 192, 64) for name in ("max_last", "max_first"))
    for data, expected in ((rising, True), (falling, False)):
        state = init_state((1,), 64)
        for block in range(3):
            part = slice(64 * block, 64 * block + 64)
            trace = trace_block(state, data.q[:1], data.k[part], data.v[part], 2)
            state = trace.state
            if block:
                assert bool(trace.state_octaves.any()) is expected
    assert not trace.product_octaves.any()


def test_process_block_is_trace_block_without_the_trace():
    rng = np.random.default_rng(1)
    q, k, v = rng.integers(-128, 128, (3, 64, 64), dtype=np.int8)
    a = process_block(init_state((64,)), q, k, v, 3)
    b = trace_block(init_state((64,)), q, k, v, 3).state
    for part in fields(SoundState):
        assert np.array_equal(getattr(a, part.name), getattr(b, part.name))


def test_every_intermediate_has_its_documented_dtype_and_shape():
    rng = np.random.default_rng(2)
    q, k, v = rng.integers(-128, 128, (3, 2, 64, 64), dtype=np.int8)
    trace = trace_block(init_state((2, 64)), q, k, v, 3)
    square, row = (2, 64, 64), (2, 64)
    expected = {
        "scores": (np.int16, square),
        "block_reference": (np.int32, row),
        "weight_reference": (np.int32, row),
        "subtrahend": (np.int16, row),
        "exponents": (np.int16, square),
        "p16": (np.uint16, square),
        "p": (np.uint8, square),
        "product": (np.int32, square),
        "product_sum": (np.int32, row),
        "state_octaves": (np.int32, row),
        "product_octaves": (np.int32, row),
    }
    assert {f.name for f in fields(trace)} == {*expected, "state"}
    for name, (dtype, shape) in expected.items():
        assert (getattr(trace, name).dtype, getattr(trace, name).shape) == (dtype, shape), name
    assert np.array_equal(trace.product, trace.p.astype(int) @ v.astype(int))
    assert np.array_equal(trace.product_sum, trace.p.astype(int).sum(axis=-1))
    assert trace.state.accumulator.dtype == trace.state.running_sum.dtype == trace.state.reference.dtype == np.int32


def test_accumulators_hold_the_documented_number_of_keys():
    """All weights 255, all values -128: int32 is reached but not left after MAX_KEYS keys, and left by one more."""
    assert MAX_KEYS * 255 * -128 >= -(2**31)
    assert (MAX_KEYS + 1) * 255 * -128 < -(2**31)


@given(
    acc=st.integers(-(2**31), 2**31 - 1) | st.integers(-300, 300),
    total=st.integers(1, 2**31 - 1) | st.integers(1, 4),
    gain=st.integers(0, 15),
)
def test_finish_int8_is_rational_division(acc, total, gain):
    state = SoundState(np.array([[acc]], np.int32), np.array([total], np.int32), np.zeros(1, np.int32))
    exact = Fraction(acc * 2**gain, total)
    half = Fraction(1, 2) if exact >= 0 else Fraction(-1, 2)
    rounded = int(exact + half)
    assert int(finish_int8(state, gain)[0, 0]) == max(-128, min(127, rounded))
    assert finish(state)[0, 0] == pytest.approx(acc / total, rel=1e-15)


def test_rows_without_keys_finish_as_zero():
    q, k, v = np.ones((3, 4, 8), np.int8)
    state = process_block(init_state((4,), 8), q, k, v, 0, key_mask=np.zeros(4, np.bool_))
    assert not finish(state).any()
    assert not finish_int8(state).any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s, x: process_block(s, x.astype(np.int16), x, x, 0), "q has dtype int16"),
        (lambda s, x: process_block(s, x, x[:, :2], x, 0), "both need the same head size"),
        (lambda s, x: process_block(s, x[:2], x, x, 0), r"state has accumulators \(4, 4\), expected \(2, 4\)"),
        (lambda s, _: finish_int8(s, 16), "gain_shift is 16"),
        (lambda _, __: SoundOptions(maximum="row"), "maximum is 'row'"),
        (lambda _, __: SoundOptions(dither="d"), "dither is 'd'"),
        (lambda _, __: SoundOptions(score_rounding="up"), "score_rounding is 'up'"),
        (lambda _, __: SoundOptions(rescale_rounding="up"), "rescale_rounding is 'up'"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(InputError, match=message):
        call(init_state((4,), 4), np.ones((4, 4), np.int8))
