"""Synthetic and adversarial inputs are what they say they are."""

import numpy as np
import pytest

from xattn.errors import InputError
from xattn.numerics import ADVERSARIAL_CASES, adversarial_case, attention_weights, synthetic_activations
from xattn.numerics.reference import logits


def dots(case):
    return case.q.astype(int) @ case.k.astype(int).T


def test_synthetic_is_the_same_for_the_same_seed_only():
    a, b, c = (synthetic_activations(seed, heads=2, tokens=100) for seed in (1, 1, 2))
    assert np.array_equal(a.q, b.q)
    assert np.array_equal(a.v, b.v)
    assert not np.array_equal(a.q, c.q)
    assert a.q.dtype == np.float32
    assert a.k.shape == (2, 100, 64)


@pytest.mark.parametrize("seed", [0, 1])
def test_synthetic_has_the_statistics_of_real_activations(seed):
    """Ranges recorded from Whisper tiny.en and base: absmax Q 0.8-1.6, K 5.4-11.5, V 3.3-10, scores 14-55."""
    a = synthetic_activations(seed)
    for x, low, high in ((a.q, 0.8, 1.6), (a.k, 5.4, 11.5), (a.v, 3.3, 10.0)):
        assert low <= np.abs(x).max() <= high
        assert 5 <= np.abs(x).max() / x.std() <= 12
    scores = logits(a.q, a.k, scaling=1.0)
    assert 14 <= np.abs(scores).max() <= 55
    distance = np.abs(scores.argmax(axis=-1) - np.arange(1500))
    assert (distance < 64).mean() > 0.4
    weights = attention_weights(a.q, a.k, scaling=1.0)
    effective = np.exp(-(weights * np.log(np.maximum(weights, 1e-300))).sum(axis=-1))
    assert 10 < np.median(effective) < 1200


@pytest.mark.parametrize("arguments", [(-1, 1, 1, 1), (0, 0, 1, 1), (0, 1, 0, 1), (0, 1, 1, 0)])
def test_synthetic_refuses(arguments):
    with pytest.raises(InputError, match="expected seed >= 0"):
        synthetic_activations(*arguments)


def test_smallest_synthetic_is_finite():
    a = synthetic_activations(0, 1, 1, 1)
    assert np.isfinite(a.q).all()


@pytest.mark.parametrize("name", sorted(ADVERSARIAL_CASES))
@pytest.mark.parametrize(("tokens", "dim"), [(64, 64), (16, 16), (7, 3), (1, 1), (200, 64)])
def test_adversarial_shapes_and_repeatability(name, tokens, dim):
    a, b = (adversarial_case(name, tokens, dim, seed=3) for _ in range(2))
    for x, y in ((a.q, b.q), (a.k, b.k), (a.v, b.v)):
        assert x.shape == (tokens, dim)
        assert x.dtype == np.int8
        assert np.array_equal(x, y)


def test_adversarial_cases_do_what_they_say():
    make = {name: adversarial_case(name, 256, 64) for name in ADVERSARIAL_CASES}
    assert (np.ptp(dots(make["uniform"]), axis=1) == 0).all()
    one_hot = np.sort(dots(make["one_hot"]), axis=1)
    assert (one_hot[:, -1] == 64 * 127 * 127).all()
    assert (one_hot[:, -1] - one_hot[:, -2] > 200_000).all()
    ties = dots(make["ties"])
    assert ((ties == ties.max(axis=1, keepdims=True)).sum(axis=1) >= 4).all()
    assert set(dots(make["all_minimum"]).ravel()) == {-64 * 127 * 128}
    assert set(dots(make["saturating"]).ravel()) == {64 * 128 * 128}
    alternating = dots(make["alternating"])
    assert set(alternating[:, ::2].ravel()) == {64 * 127 * 127}
    assert set(alternating[:, 1::2].ravel()) == {-64 * 127 * 127}
    last = dots(make["max_last"])
    block_max = last.reshape(256, 4, 64).max(axis=2)
    assert (np.diff(block_max, axis=1) > 0).all()
    assert (last[:, -1] == last.max(axis=1)).all()
    first = dots(make["max_first"])
    assert (first[:, 0] == first.max(axis=1)).all()


@pytest.mark.parametrize(("name", "tokens"), [("nothing", 4), ("ties", 0)])
def test_adversarial_refuses(name, tokens):
    with pytest.raises(InputError, match="expected"):
        adversarial_case(name, tokens)
