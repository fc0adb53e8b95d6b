import compat_c
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xattn.errors import InputError
from xattn.numerics import compat
from xattn.numerics.adversarial import ADVERSARIAL_CASES, adversarial_case

NAMES = sorted(compat.COMPAT_MODELS)


def random_qkv(seed, tokens, dim, spread=128):
    rng = np.random.default_rng(seed)
    return tuple(rng.integers(-spread, spread, size=(tokens, dim), dtype=np.int8) for _ in range(3))


def assert_equal_by_stage(name, q, k, v, shift):
    model = compat.compat_model(name)
    scores, weights, output = compat_c.stages(name, q.tolist(), k.tolist(), v.tolist(), shift)
    s = model.scores(q, k, shift)
    assert s.dtype == (np.int32 if name == "v3" else np.int8)
    assert s.tolist() == scores
    w = model.weights(s)
    assert w.dtype == np.int8
    assert w.tolist() == weights
    o = model(q, k, v, shift)
    assert o.dtype == np.int8
    assert o.tolist() == output
    assert np.array_equal(model.output(w, v), o)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("tokens", "dim"), [(16, 16), (64, 64)])
@pytest.mark.parametrize("spread", [128, 12])
def test_random_tiles(name, tokens, dim, spread):
    assert_equal_by_stage(name, *random_qkv(5, tokens, dim, spread), 4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", sorted(ADVERSARIAL_CASES))
@pytest.mark.parametrize("shift", [0, 4, 7])
def test_adversarial_tiles(name, case, shift):
    data = adversarial_case(case, tokens=24, dim=16)
    assert_equal_by_stage(name, data.q, data.k, data.v, shift)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    tokens=st.integers(1, 20),
    dim=st.integers(1, 20),
    spread=st.sampled_from([2, 8, 30, 128]),
    shift=st.integers(0, 12),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_shape_and_shift(name, tokens, dim, spread, shift, seed):
    assert_equal_by_stage(name, *random_qkv(seed, tokens, dim, spread), shift)


@pytest.mark.parametrize("name", ["v0", "v1", "lut"])
def test_every_score_difference_of_two_keys(name):
    """Rows of two int8 scores reach all differences, so every branch of the piecewise exponentials."""
    low, high = np.meshgrid(np.arange(-128, 128), np.arange(-128, 128))
    rows = np.stack([low.ravel(), high.ravel(), np.full(65536, -128)], axis=1).astype(np.int8)[::7]
    softmax = compat_c.MODELS[name][1]
    assert compat.compat_model(name).weights(rows).tolist() == [softmax(row) for row in rows.tolist()]


def test_v3_reaches_all_table_entries():
    rows = np.array([[0, -256 * n, -256 * n - 1] for n in range(200)], np.int32)
    assert compat.weights_v3(rows).tolist() == [compat_c.softmax_v3(row) for row in rows.tolist()]


def test_v3_table_is_floored():
    """With a rounded table the sum of this row passes a multiple of 1,024, and the top weight is 10."""
    row = [0] + [-256] * 21 + [-512] * 15 + [-768] * 3 + [-1024] * 35
    expected = compat_c.softmax_v3(row)
    assert expected[0] == 11
    assert compat.weights_v3(np.array([row], np.int32)).tolist() == [expected]


def test_v3_does_not_wrap_at_the_ends_of_int32():
    row = np.array([[2**31 - 1, -(2**31)]], np.int32)
    assert compat.weights_v3(row).tolist() == [[127, 0]]


@pytest.mark.parametrize("name", NAMES)
def test_heads_and_batches_are_independent(name):
    model = compat.compat_model(name)
    rng = np.random.default_rng(8)
    q, k, v = rng.integers(-64, 64, size=(3, 2, 3, 16, 8), dtype=np.int8)
    o = model(q, k, v)
    for index in np.ndindex(2, 3):
        assert np.array_equal(o[index], model(q[index], k[index], v[index]))


@pytest.mark.parametrize("size", [16, 32, 64])
def test_packed_matmul_floors_and_clamps(size):
    rng = np.random.default_rng(size)
    a, b = rng.integers(-128, 128, size=(2, size, size), dtype=np.int8)
    a[0], b[:, 0] = 127, 127
    a[1], b[:, 1] = -128, 127
    packed = np.concatenate([a.ravel(), b.ravel()])
    columns = list(zip(*b.tolist(), strict=True))
    expected = [compat_c.output_floor(compat_c.dot(row, column)) for row in a.tolist() for column in columns]
    assert {-128, 127} <= set(expected)
    assert compat.matmul_int8_packed(packed).tolist() == expected
    assert compat.matmul_int8(a, b).ravel().tolist() == expected


def test_packing_is_q_k_v_row_major():
    q, k, v = random_qkv(1, 64, 64)
    packed = compat.pack_qkv(q, k, v)
    assert packed.shape == (12288,)
    assert (packed[65], packed[4096 + 65], packed[8192 + 65]) == (q[1, 1], k[1, 1], v[1, 1])
    for got, sent in zip(compat.unpack_qkv(packed), (q, k, v), strict=True):
        assert np.array_equal(got, sent)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda q: compat.v0(q.astype(np.int16), q, q), "q has dtype int16, expected int8"),
        (lambda q: compat.v0(q, q[:, :3], q), "both need the same head size"),
        (lambda q: compat.v0(q, q, q[:3]), "every key needs one value row"),
        (lambda q: compat.v0(q, q, q, shift=-1), "shift is -1, expected 0 to 31"),
        (lambda q: compat.v0(q[0], q[0], q[0]), "expected"),
        (lambda q: compat.v0(np.stack([q, q]), q, q), "leading axes"),
        (lambda q: compat.v3.weights(q), "scores has dtype int8, expected int32"),
        (lambda q: compat.v0.weights(q[:, :0]), "at least one key"),
        (lambda _: compat.compat_model("v9"), "no compatible attention model 'v9'"),
        (lambda q: compat.matmul_int8_packed(q.ravel()), "expected 2 square matrices"),
        (lambda _: compat.unpack_qkv(np.zeros(0, np.int8)), "expected 3 square matrices"),
        (lambda q: compat.pack_qkv(q, q, q[:, :3]), "expected one square tile each"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(InputError, match=message):
        call(np.zeros((4, 4), np.int8))
