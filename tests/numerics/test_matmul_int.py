import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xattn.errors import InputError
from xattn.numerics import matmul_int

DTYPES = [np.int8, np.uint8, np.int16]
dtypes = st.sampled_from(DTYPES)


def random_matrix(rng, shape, dtype, extreme):
    """Full-range noise, or nothing but the ends of the range, where float sums are largest."""
    info = np.iinfo(dtype)
    if extreme:
        return rng.choice(np.array([info.min, info.max], dtype), size=shape)
    return rng.integers(info.min, info.max + 1, size=shape, dtype=dtype)


@settings(max_examples=150, deadline=None)
@given(
    a_dtype=dtypes,
    b_dtype=dtypes,
    sizes=st.tuples(st.integers(1, 9), st.integers(0, 1400), st.integers(1, 9)),
    batch=st.sampled_from([(), (2,), (2, 3)]),
    extreme=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_equals_int64_products(a_dtype, b_dtype, sizes, batch, extreme, seed):
    rng = np.random.default_rng(seed)
    rows, depth, columns = sizes
    a = random_matrix(rng, (*batch, rows, depth), a_dtype, extreme)
    b = random_matrix(rng, (*batch, depth, columns), b_dtype, extreme)
    c = matmul_int(a, b)
    assert np.array_equal(c, a.astype(np.int64) @ b.astype(np.int64))
    assert c.dtype in (np.int32, np.int64)


@pytest.mark.parametrize("a_dtype", DTYPES)
@pytest.mark.parametrize("b_dtype", DTYPES)
@pytest.mark.parametrize("depth", [256, 257, 258, 259, 513, 514, 515, 1023, 1024, 1025, 2049, 4096])
def test_largest_sums_around_the_float_bounds_are_exact(a_dtype, b_dtype, depth):
    """All operands at the end of their range of larger magnitude, and one odd product on top to make the sum odd."""
    a_end = np.iinfo(a_dtype).min if np.iinfo(a_dtype).min < 0 else np.iinfo(a_dtype).max
    b_end = np.iinfo(b_dtype).min if np.iinfo(b_dtype).min < 0 else np.iinfo(b_dtype).max
    a = np.full((1, depth), a_end, a_dtype)
    b = np.full((depth, 1), b_end, b_dtype)
    a[0, -1], b[-1, 0] = 1, 1
    assert int(matmul_int(a, b)[0, 0]) == (depth - 1) * int(a_end) * int(b_end) + 1


def test_dtype_is_int32_exactly_when_no_sum_can_leave_it():
    depth = (2**31 - 1) // 2**14
    assert matmul_int(np.zeros((1, depth), np.int8), np.zeros((depth, 1), np.int8)).dtype == np.int32
    assert matmul_int(np.zeros((1, depth + 1), np.int8), np.zeros((depth + 1, 1), np.int8)).dtype == np.int64


def test_leading_axes_broadcast():
    rng = np.random.default_rng(3)
    a = random_matrix(rng, (3, 1, 4, 20), np.int8, extreme=False)
    b = random_matrix(rng, (2, 20, 5), np.uint8, extreme=False)
    assert np.array_equal(matmul_int(a, b), a.astype(np.int64) @ b.astype(np.int64))


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((2, 3), np.float32), np.zeros((3, 2), np.int8), "a has dtype float32"),
        (np.zeros((2, 3), np.int8), np.zeros((3, 2), np.int32), "b has dtype int32"),
        (np.zeros(3, np.int8), np.zeros((3, 2), np.int8), "expected a matrix"),
        (np.zeros((2, 3), np.int8), np.zeros((4, 2), np.int8), "3 columns and b has 4 rows"),
        (np.zeros((2, 2, 3), np.int8), np.zeros((3, 3, 2), np.int8), "do not broadcast"),
    ],
)
def test_refuses(a, b, message):
    with pytest.raises(InputError, match=message):
        matmul_int(a, b)
