import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from xattn.errors import InputError
from xattn.numerics import metrics as m

X = np.array([[3.0, 4.0], [0.0, 2.0]])
Y = np.array([[3.0, 4.0], [0.0, 1.0]])
Z = np.zeros((2, 2))
finite = arrays(np.float64, (3, 4), elements=st.floats(-1e3, 1e3).map(lambda x: round(x, 3)))


def test_figures_by_hand():
    assert m.cosine(X, Y) == pytest.approx(27 / math.sqrt(29 * 26))
    assert m.relative_l2(X, Y) == pytest.approx(1 / math.sqrt(26))
    assert m.relative_l2_rows(X, Y).tolist() == [0.0, 1.0]
    assert m.relative_l1(X, Y) == pytest.approx(1 / 8)
    assert m.mean_abs_error(X, Y) == 0.25
    assert m.max_abs_error(X, Y) == 1.0
    assert m.rms_error(X, Y) == 0.5
    assert m.fraction_within(X, Y, 0.99) == 0.75
    assert m.fraction_within(X, Y, 1.0) == 1.0


def test_compare_outputs_gathers_the_same_figures():
    got = m.compare_outputs(X, Y)
    assert (got.relative_l2_row_mean, got.relative_l2_row_worst) == (0.5, 1.0)
    assert got.cosine == m.cosine(X, Y)
    assert got.correlation == m.correlation(X, Y)
    assert got.relative_l2 == m.relative_l2(X, Y)
    assert (got.mean_abs_error, got.rms_error, got.max_abs_error) == (0.25, 0.5, 1.0)


@settings(deadline=None)
@given(x=finite, y=finite)
def test_correlation_agrees_with_numpy(x, y):
    if x.std() > 1e-3 and y.std() > 1e-3:
        assert m.correlation(x, y) == pytest.approx(np.corrcoef(x.ravel(), y.ravel())[0, 1], abs=1e-9)


@settings(deadline=None)
@given(x=finite, y=finite, factor=st.floats(0.01, 100))
def test_scale_and_bounds(x, y, factor):
    assert -1 <= m.cosine(x, y) <= 1
    assert m.cosine(factor * x, y) == pytest.approx(m.cosine(x, y), abs=1e-9)
    assert m.relative_l2(x, x) == 0
    assert m.relative_l2(factor * x, factor * y) == pytest.approx(m.relative_l2(x, y), rel=1e-6)


def test_cosine_is_blind_to_scale_and_relative_l2_is_not():
    assert m.cosine(2 * X, X) == pytest.approx(1)
    assert m.relative_l2(2 * X, X) == pytest.approx(1)


def test_zero_vectors_are_defined():
    assert (m.cosine(Z, Z), m.cosine(X, Z), m.cosine(Z, X)) == (1, 0, 0)
    assert (m.correlation(Z, Z + 1), m.correlation(X, Z)) == (1, 0)
    assert (m.relative_l2(Z, Z), m.relative_l2(X, Z)) == (0, math.inf)
    assert (m.relative_l1(Z, Z), m.relative_l1(X, Z)) == (0, math.inf)
    assert m.relative_l2_rows(np.array([[0.0, 0], [1, 0]]), Z).tolist() == [0, math.inf]


def test_tiny_vectors_do_not_underflow():
    assert m.cosine(1e-200 * X, 1e-200 * Y) == pytest.approx(m.cosine(X, Y))


def test_empty_arrays_are_defined():
    empty = np.zeros((0, 4))
    got = m.compare_outputs(empty, empty)
    assert (got.cosine, got.correlation, got.relative_l2, got.max_abs_error, got.relative_l2_row_worst) == (
        1,
        1,
        0,
        0,
        0,
    )
    assert (m.kl_divergence(empty, empty), m.top1_agreement(empty, empty), m.fraction_within(empty, empty, 1)) == (
        0,
        1,
        1,
    )
    assert m.saturated_fraction(np.zeros(0, np.int8)) == 0


def test_saturation_counts_both_ends():
    assert m.saturated_fraction(np.array([-128, 127, 0, 126], np.int8)) == 0.5
    assert m.saturated_fraction(np.array([-32768, 127, 0, 126], np.int16)) == 0.25
    with pytest.raises(InputError, match="dtype float64"):
        m.saturated_fraction(X)


def test_kl_by_hand():
    reference = np.array([[0.5, 0.5, 0.0]])
    assert m.kl_divergence(reference, reference) == pytest.approx(0, abs=1e-15)
    assert m.kl_divergence(np.array([[1, 3, 0]]), reference) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    assert m.kl_divergence(np.array([[1, 1, 2]]), reference) == pytest.approx(math.log(2))


def test_kl_of_lost_mass_and_of_nothing():
    reference = np.array([[0.5, 0.5]])
    assert m.kl_divergence(np.array([[1, 0]]), reference) == pytest.approx(0.5 * math.log(0.5) + 0.5 * math.log(0.5e12))
    assert m.kl_divergence(np.array([[0, 0]]), np.array([[1.0, 0.0]])) == pytest.approx(math.log(2))
    with pytest.raises(InputError, match="negative"):
        m.kl_divergence(np.array([[-1, 2]]), reference)


def test_top1_shares_ties():
    reference = np.array([[0.1, 0.7, 0.2], [0.9, 0.1, 0.0]])
    assert m.top1_agreement(reference, reference) == 1
    assert m.top1_agreement(np.array([[0, 1, 0], [0, 1, 0]]), reference) == 0.5
    assert m.top1_agreement(np.ones((2, 3)), reference) == pytest.approx(1 / 3)


def test_shapes_must_agree():
    with pytest.raises(InputError, match="must be equal"):
        m.cosine(X, X[:1])
