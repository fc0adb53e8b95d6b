import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from xattn.errors import InputError
from xattn.numerics.quantize import absmax_scale, quantize

GROUPS = {"tensor": (1, 1, 1), "head": (2, 1, 1), "channel": (2, 1, 5), "token": (2, 7, 1)}
tensors = arrays(np.float64, (2, 7, 5), elements=st.floats(-1e6, 1e6, allow_subnormal=False))


@settings(deadline=None)
@given(x=tensors, per=st.sampled_from(sorted(GROUPS)))
def test_error_is_at_most_half_a_step_of_each_group(x, per):
    result = quantize(x, per)
    assert result.values.dtype == np.int8
    assert result.scale.shape == GROUPS[per]
    assert result.values.min() >= -127
    step = np.broadcast_to(result.scale, x.shape)
    assert (np.abs(result.dequantize() - x) <= step * (0.5 + 1e-9)).all()


@settings(deadline=None)
@given(x=tensors, per=st.sampled_from(sorted(GROUPS)))
def test_largest_of_each_group_becomes_127(x, per):
    result = quantize(x, per)
    axes = tuple(i for i, size in enumerate(GROUPS[per]) if size == 1)
    top = np.abs(result.values.astype(int)).max(axis=axes)
    assert np.isin(top, (0, 127)).all()
    assert ((top == 0) == (np.abs(x).max(axis=axes) == 0)).all()


def test_ties_go_to_even():
    x = np.array([[0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 127.0]])
    assert quantize(x, scale=1.0).values.tolist() == [[0, 2, 2, 0, -2, -2, 127]]


def test_own_scale_clamps_symmetrically():
    assert quantize(np.array([[300.0, -300.0, 126.4]]), scale=1.0).values.tolist() == [[127, -127, 126]]


def test_zeros_have_scale_one():
    result = quantize(np.zeros((3, 4)), "token")
    assert result.scale.tolist() == [[1.0]] * 3
    assert not result.values.any()


def test_float32_is_quantized_in_float64():
    x = np.random.default_rng(0).standard_normal((50, 64)).astype(np.float32)
    assert np.array_equal(quantize(x).values, quantize(x.astype(np.float64)).values)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: quantize(np.array([[1.0, np.nan]])), "1 NaN or infinite values of 2"),
        (lambda: quantize(np.array([[np.inf]]), scale=1.0), "NaN or infinite"),
        (lambda: quantize(np.ones(3)), r"expected \[\.\.\., tokens, dim\]"),
        (lambda: quantize(np.ones((2, 2)), scale=[[1.0, 0.0]]), "scale holds 0.0"),
        (lambda: absmax_scale(np.ones((2, 2)), "row"), "per is 'row'"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(InputError, match=message):
        call()
