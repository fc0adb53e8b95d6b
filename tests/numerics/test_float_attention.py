import math

import numpy as np
import pytest

from xattn.errors import InputError
from xattn.numerics import attention, attention_weights
from xattn.numerics.reference import logits


def by_hand(q, k, v, scaling, allowed):
    """Attention of lists of rows, with `math` alone; allowed(i, j) says whether query i sees key j."""
    output = []
    for i, q_row in enumerate(q):
        seen = [j for j in range(len(k)) if allowed(i, j)]
        scores = [scaling * math.fsum(a * b for a, b in zip(q_row, k[j], strict=True)) for j in seen]
        e = [math.exp(s - max(scores)) for s in scores]
        output.append(
            [math.fsum(w * v[j][c] for w, j in zip(e, seen, strict=True)) / math.fsum(e) for c in range(len(v[0]))]
        )
    return output


@pytest.fixture
def qkv():
    rng = np.random.default_rng(4)
    return rng.standard_normal((6, 5)), rng.standard_normal((9, 5)), rng.standard_normal((9, 3))


@pytest.mark.parametrize("scaling", [None, 1.0, 3.5])
def test_equals_scalar_arithmetic(qkv, scaling):
    factor = 5**-0.5 if scaling is None else scaling
    expected = by_hand(*(x.tolist() for x in qkv), factor, lambda _i, _j: True)
    assert np.allclose(attention(*qkv, scaling=scaling), expected, rtol=1e-13, atol=1e-13)


def test_masks_equal_leaving_keys_out(qkv):
    mask = np.array([True, True, False, True, False, True, True, True, False])
    expected = by_hand(*(x.tolist() for x in qkv), 5**-0.5, lambda _i, j: bool(mask[j]))
    assert np.allclose(attention(*qkv, key_mask=mask), expected, rtol=1e-13, atol=1e-13)
    expected = by_hand(*(x.tolist() for x in qkv), 5**-0.5, lambda i, j: j <= i + 3)
    assert np.allclose(attention(*qkv, causal=True), expected, rtol=1e-13, atol=1e-13)
    expected = by_hand(*(x.tolist() for x in qkv), 5**-0.5, lambda i, j: bool(mask[j]) and j <= i + 3)
    assert np.allclose(attention(*qkv, key_mask=mask, causal=True), expected, rtol=1e-13, atol=1e-13)


def test_is_stable_for_enormous_logits():
    q = np.array([[1e4, 0.0]])
    k = np.array([[1e4, 0.0], [1e4, 1.0], [-1e4, 0.0]])
    assert attention_weights(q, k, scaling=1.0).tolist() == [[0.5, 0.5, 0.0]]


def test_a_query_that_sees_nothing_gives_zeros(qkv):
    assert not attention(*qkv, key_mask=np.zeros(9, np.bool_)).any()


def test_batches_are_independent_and_masks_broadcast():
    rng = np.random.default_rng(2)
    q, k, v = rng.standard_normal((3, 2, 4, 7, 8))
    mask = rng.random((2, 1, 7)) < 0.7
    mask[..., 0] = True
    o = attention(q, k, v, key_mask=mask)
    for b, h in np.ndindex(2, 4):
        assert np.allclose(o[b, h], attention(q[b, h], k[b, h], v[b, h], key_mask=mask[b, 0]), rtol=1e-14)


def test_integers_and_float32_are_computed_in_float64():
    rng = np.random.default_rng(0)
    q, k, v = rng.integers(-9, 9, (3, 4, 8), dtype=np.int8)
    exact = attention(*(x.astype(np.float64) for x in (q, k, v)))
    assert np.array_equal(attention(q, k, v), exact)
    assert np.array_equal(attention(*(x.astype(np.float32) for x in (q, k, v))), exact)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: attention(x, x[:, :2], x), "both need the same head size"),
        (lambda x: attention(x, x, x[:2]), "every key needs one value row"),
        (lambda x: attention(x[:0], x, x), "both at least 1"),
        (lambda x: attention(x, x, x * np.nan), "v holds 12 NaN or infinite values"),
        (lambda x: logits(x, x, key_mask=np.ones(4)), r"expected bool \[\.\.\., 4\]"),
        (lambda x: logits(x, x, key_mask=np.ones(3, np.bool_)), r"bool \(3,\), expected bool \[\.\.\., 4\]"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(InputError, match=message):
        call(np.ones((4, 3)))
