import math

import numpy as np
import pytest
import sound_scalar
from hypothesis import given, settings
from hypothesis import strategies as st

from xattn.errors import InputError
from xattn.numerics import attention, attention_sound, synthetic_activations
from xattn.numerics.metrics import cosine, relative_l2
from xattn.numerics.sound import (
    BLOCK_MAXIMUM_OPTIONS,
    SoundOptions,
    attend,
    block_order,
    finish,
    power_of_two_scales,
    quantize_operands,
    to_blocks,
)


def normal_qkv(seed, shape, logit_sd=1.0):
    rng = np.random.default_rng(seed)
    q, k, v = (rng.standard_normal(shape) for _ in range(3))
    return q * logit_sd, k, v


@pytest.mark.parametrize("order", ["natural", "diagonal"])
@pytest.mark.parametrize("options", [SoundOptions(), BLOCK_MAXIMUM_OPTIONS], ids=["running", "block"])
def test_whole_heads_equal_the_scalar_model_block_by_block(order, options):
    """150 tokens: three blocks, the last with 22 keys. The scalar model sees only keys that exist."""
    operands = quantize_operands(*normal_qkv(0, (2, 150, 16), 2.0))
    state = attend(operands, order=order, options=options)
    for head, token in ((0, 0), (0, 70), (1, 128), (1, 149)):
        row = sound_scalar.Row(16)
        start = token // 64 if order == "diagonal" else 0
        for step in range(3):
            part = slice(64 * ((start + step) % 3), min(64 * ((start + step) % 3) + 64, 150))
            k, v = operands.k[head, part].tolist(), operands.v[head, part].tolist()
            row.block(
                operands.q[head, token].tolist(),
                k,
                v,
                int(operands.shift[head, 0, 0]),
                [True] * len(k),
                maximum=options.maximum,
                dither=options.dither,
                rescale_rounding=options.rescale_rounding,
            )
        assert state.accumulator[head, token].tolist() == row.accumulator
        assert int(state.running_sum[head, token]) == row.running_sum
        assert int(state.reference[head, token]) == row.reference


def test_output_is_accumulator_over_sum_times_v_scale():
    q, k, v = normal_qkv(1, (70, 64))
    operands = quantize_operands(q, k, v)
    state = attend(operands)
    expected = state.accumulator / state.running_sum[:, np.newaxis] * operands.v_scale
    assert np.array_equal(attention_sound(q, k, v), expected)
    assert np.array_equal(finish(state) * operands.v_scale, expected)


# Random V have no mean to hide behind. int8 Q, K, V alone cost a relative error of 0.015 for logits of deviation 1 and
# 0.023 for 3 (an independent emulation's figures), to which the linear mantissa adds at most the deviation of
# (1 + f) / 2^f, 0.018: 0.024 and 0.029 together, and the dither some.
@pytest.mark.parametrize(("logit_sd", "worst_l2", "worst_cosine"), [(1.0, 0.027, 0.9996), (3.0, 0.032, 0.9995)])
def test_random_tiles_are_near_what_int8_allows(logit_sd, worst_l2, worst_cosine):
    q, k, v = normal_qkv(2, (20, 64, 64), logit_sd)
    o, truth = attention_sound(q, k, v), attention(q, k, v)
    assert relative_l2(o, truth) < worst_l2
    assert cosine(o, truth) > worst_cosine


@pytest.mark.parametrize("options", [SoundOptions(), BLOCK_MAXIMUM_OPTIONS], ids=["running", "block"])
@pytest.mark.parametrize("order", ["natural", "diagonal"])
def test_full_length_heads_stay_near_float_attention(options, order):
    a = synthetic_activations(0, heads=2)
    truth = attention(a.q, a.k, a.v, scaling=1.0)
    assert relative_l2(attention_sound(a.q, a.k, a.v, scaling=1.0, order=order, options=options), truth) < 0.02


def test_plain_rounding_with_a_running_maximum_is_seen_to_fail():
    a = synthetic_activations(0, heads=2)
    truth = attention(a.q, a.k, a.v, scaling=1.0)
    plain = attention_sound(a.q, a.k, a.v, scaling=1.0, options=SoundOptions(dither="nearest"))
    assert relative_l2(plain, truth) > 1.5 * relative_l2(attention_sound(a.q, a.k, a.v, scaling=1.0), truth)


def test_scales_shared_by_a_channel_beat_scales_shared_by_a_head():
    a = synthetic_activations(3, heads=2)
    truth = attention(a.q, a.k, a.v, scaling=1.0)
    channel, head = (
        relative_l2(attention_sound(a.q, a.k, a.v, scaling=1.0, share=share), truth) for share in ("channel", "head")
    )
    assert channel < head < 0.03


@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (1, 200), (130, 5), (64, 64), (63, 65)])
@pytest.mark.parametrize("order", ["natural", "diagonal"])
def test_any_number_of_queries_and_keys(queries, keys, order):
    rng = np.random.default_rng(queries + keys)
    q, k, v = rng.standard_normal((queries, 32)), rng.standard_normal((keys, 32)), rng.standard_normal((keys, 8))
    o = attention_sound(q, k, v, order=order)
    assert o.shape == (queries, 8)
    assert np.abs(o - attention(q, k, v)).max() < 0.05


def test_heads_are_independent():
    q, k, v = normal_qkv(5, (2, 3, 90, 64))
    o = attention_sound(q, k, v)
    assert np.array_equal(o[1, 2], attention_sound(q[1, 2], k[1, 2], v[1, 2]))


def test_scaling_may_be_done_before_or_inside():
    q, k, v = normal_qkv(6, (100, 64))
    assert np.array_equal(attention_sound(q, k, v), attention_sound(q / 8, k, v, scaling=1.0))


def test_equal_keys_average_v_exactly():
    rng = np.random.default_rng(7)
    v = rng.integers(-127, 128, (128, 64)).astype(float)
    v[0] = 127.0
    o = attention_sound(rng.standard_normal((3, 64)), np.ones((128, 64)), v, options=SoundOptions(dither="nearest"))
    assert np.allclose(o, v.mean(axis=0), rtol=0, atol=1e-9)


def test_one_hot_rows_pick_their_value():
    rng = np.random.default_rng(8)
    k = rng.choice([-1.0, 1.0], (128, 64))
    v = rng.integers(-127, 128, (128, 16)).astype(float)
    v[0] = 127.0
    order = rng.permutation(128)
    assert np.array_equal(np.rint(attention_sound(k[order], k, v, scaling=1.0)), v[order])


def test_zeros_everywhere_give_zeros():
    z = np.zeros((70, 64))
    assert not attention_sound(z, z, z).any()


def test_queries_of_zero_average_v():
    _, k, v = normal_qkv(9, (64, 64))
    o = attention_sound(np.zeros((2, 64)), k, v)
    assert relative_l2(o, attention(np.zeros((2, 64)), k, v)) < 0.05


def test_block_order():
    assert block_order(2, 3, "natural").tolist() == [[0, 1, 2], [0, 1, 2]]
    assert block_order(4, 3, "diagonal").tolist() == [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]


def test_to_blocks_fills_up_with_zeros():
    x = np.arange(1, 1 + 65 * 2).reshape(65, 2)
    blocks = to_blocks(x)
    assert blocks.shape == (2, 64, 2)
    assert np.array_equal(blocks.reshape(128, 2)[:65], x)
    assert not blocks.reshape(128, 2)[65:].any()


ranges = st.lists(st.floats(1e-6, 1e6) | st.just(0.0), min_size=5, max_size=5)


@settings(deadline=None)
@given(q_range=ranges, k_range=ranges, scaling=st.floats(1e-3, 10.0))
def test_scales_multiply_to_one_power_of_two_and_clip_nothing(q_range, k_range, scaling):
    q, k = (np.array([x]) for x in (q_range, k_range))
    try:
        q_scale, k_scale, shift = power_of_two_scales(q, k, scaling)
    except InputError:
        assert (q * k).max() * scaling * 128 / math.log(2) > 127**2 * 2**16
        return
    unit = 2.0 ** -float(shift[0, 0])
    product = (q_scale * k_scale) * scaling * 128 / math.log(2)
    assert np.allclose(product, unit, rtol=1e-12)
    in_use = (q > 0) & (k > 0)
    for x, scale in ((q, q_scale), (k, k_scale)):
        assert (scale > 0).all()
        assert np.isfinite(scale).all()
        assert (x / scale)[in_use].max(initial=0.0) <= 127 * (1 + 1e-9)
    smallest = (q * k).max() / 127**2 * scaling * 128 / math.log(2)
    if smallest > 2.0**-31:
        assert unit < 2 * smallest * (1 + 1e-9), "the next power of two would have done"


@pytest.mark.parametrize("share", ["channel", "head"])
def test_operands_give_the_floats_back(share):
    rng = np.random.default_rng(10)
    q, k, v = (rng.standard_normal((3, 40, 64)) * np.exp(rng.standard_normal(64)) for _ in range(3))
    operands = quantize_operands(q, k, v, share=share)
    for name, x in (("q", q), ("k", k), ("v", v)):
        values, scale = getattr(operands, name), getattr(operands, f"{name}_scale")
        assert values.dtype == np.int8
        assert (np.abs(values * scale - x) <= scale * 0.5000001).all()
    dot = operands.q.astype(int) @ operands.k.astype(int).swapaxes(-1, -2)
    octaves = dot / 2.0**operands.shift / 128
    logits = (operands.q * operands.q_scale) @ (operands.k * operands.k_scale).swapaxes(-1, -2) / 8
    assert np.allclose(octaves * math.log(2), logits, rtol=1e-9, atol=1e-9)


def test_logits_out_of_range_are_refused_and_smoothing_k_mends_them():
    rng = np.random.default_rng(11)
    q = np.abs(rng.standard_normal((64, 64))) + 1
    k, v = rng.standard_normal((2, 64, 64))
    for offset in (-3.0, 6.0):
        with pytest.raises(InputError, match="int16 scores cannot tell their keys apart"):
            attention_sound(q, k + offset, v, scaling=1.0)
        o = attention_sound(q, k + offset, v, scaling=0.25, smooth_k=True)
        assert relative_l2(o, attention(q, k, v, scaling=0.25)) < 0.05


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: attention_sound(x, x, x * np.nan), "v|x holds 8 NaN"),
        (lambda x: attention_sound(x * np.inf, x, x), "NaN or infinite"),
        (lambda x: attention_sound(x, x, x, scaling=0.0), "scaling is 0.0"),
        (lambda x: attention_sound(x, x, x, order="random"), "order is 'random'"),
        (lambda x: attention_sound(x, x, x, share="token"), "share is 'token'"),
        (lambda x: attention_sound(x, x[:, :1], x), "both need the same head size"),
        (lambda x: attention_sound(x * 1e9, x, x), "cannot be told apart in int8"),
        (lambda x: attention_sound(x, np.ones((65794, 2)), np.ones((65794, 1))), "expected at most 65793"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(InputError, match=message):
        call(np.ones((4, 2)))
