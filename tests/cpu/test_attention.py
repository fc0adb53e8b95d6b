"""`xattn.attention` and `xattn.sageattn`: both engines the same bits, any length and mask, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import xattn
from xattn.errors import InputError
from xattn.numerics.reference import attention as attention_float
from xattn.numerics.sound import attention_sound

Array = NDArray[Any]


def qkv(*shape: int, keys: int | None = None, seed: int = 0) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(seed)
    other = shape if keys is None else (*shape[:-2], keys, shape[-1])
    made = [rng.standard_normal(s).astype(np.float32) for s in (shape, other, other)]
    return made[0], made[1] * 2, made[2]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_engines_agree_to_the_bit_and_keep_the_dtype(dtype: type) -> None:
    q, k, v = (x.astype(dtype) for x in qkv(2, 3, 77, 64, keys=130))
    native, plain = (xattn.attention(q, k, v, engine=engine) for engine in ("native", "numpy"))
    assert native.dtype == plain.dtype == dtype and native.shape == q.shape
    np.testing.assert_array_equal(native, plain)


def test_it_is_the_sound_model() -> None:
    q, k, v = qkv(2, 70, 64)
    np.testing.assert_array_equal(xattn.attention(q, k, v), attention_sound(q, k, v).astype(np.float32))


def test_it_is_close_to_float_attention() -> None:
    q, k, v = qkv(4, 300, 64)
    truth = attention_float(q, k, v)
    error = np.linalg.norm(xattn.attention(q, k, v) - truth) / np.linalg.norm(truth)
    assert error < 0.05


@pytest.mark.parametrize("engine", ["native", "numpy"])
def test_causal_rows_are_those_of_shorter_sequences(engine: Any) -> None:
    """Row i of 100 is attention over the first i + 11 of 110 keys; scales differ, so floats are compared."""
    q, k, v = qkv(1, 100, 64, keys=110)
    whole = xattn.attention(q, k, v, causal=True, engine=engine)
    for row in (0, 1, 63, 64, 99):
        truth = attention_float(q[:, row : row + 1], k[:, : row + 11], v[:, : row + 11])
        assert np.linalg.norm(whole[:, row] - truth[:, 0]) < 0.08 * np.linalg.norm(truth) + 1e-3


def test_masked_keys_do_not_count() -> None:
    q, k, v = qkv(2, 2, 20, 64, keys=90)
    mask = np.ones((2, 90), bool)
    mask[0, 40:] = mask[1, :25] = False
    found = xattn.attention(q, k, v, key_mask=mask)
    changed = v.copy()
    changed[0, :, 40:] *= 0.5  # smaller, so that the scales stay
    changed[1, :, :25] *= 0.5
    same_scales = np.array_equal(np.abs(changed).max(axis=-2), np.abs(v).max(axis=-2))
    truth = attention_float(q[0], k[0, :, :40], v[0, :, :40])
    assert np.linalg.norm(found[0] - truth) < 0.03 * np.linalg.norm(truth)
    if same_scales:
        np.testing.assert_array_equal(found, xattn.attention(q, k, changed, key_mask=mask))


@pytest.mark.parametrize("engine", ["native", "numpy"])
def test_rows_that_see_no_key_are_zero(engine: Any) -> None:
    q, k, v = qkv(2, 1, 70, 64)
    mask = np.ones((2, 70), bool)
    mask[0] = False
    mask[1, :3] = False
    out = xattn.attention(q, k, v, key_mask=mask, causal=True, engine=engine)
    assert (out[0] == 0).all() and (out[1, :, :3] == 0).all() and (out[1, :, 3:] != 0).any(axis=-1).all()


def test_int8_operands_with_scales() -> None:
    q, k, v = qkv(2, 40, 64)
    scales = [np.abs(x).max() / 127 for x in (q, k, v)]
    integers = [np.rint(x / s).astype(np.int8) for x, s in zip((q, k, v), scales, strict=True)]
    given = dict(zip(("q_scale", "k_scale", "v_scale"), scales, strict=True))
    found = xattn.attention(*integers, **given)
    truth = attention_float(*(i * s for i, s in zip(integers, scales, strict=True)))
    assert found.dtype == np.float32 and np.linalg.norm(found - truth) < 0.03 * np.linalg.norm(truth)


def test_a_head_size_that_is_not_64() -> None:
    q, k, v = qkv(2, 30, 48)
    np.testing.assert_array_equal(xattn.attention(q, k, v), attention_sound(q, k, v).astype(np.float32))
    with pytest.raises(InputError, match="heads of 64 channels, found \\[48\\]"):
        xattn.attention(q, k, v, engine="native")


def test_results_do_not_depend_on_threads() -> None:
    q, k, v = qkv(3, 200, 64)
    one, three = (xattn.attention(q, k, v, engine="native", threads=n) for n in (1, 3))
    np.testing.assert_array_equal(one, three)


def test_sageattn_takes_both_layouts() -> None:
    q, k, v = qkv(1, 2, 66, 64)
    plain = xattn.attention(q, k, v, causal=True, scaling=0.2)
    np.testing.assert_array_equal(xattn.sageattn(q, k, v, is_causal=True, sm_scale=0.2), plain)
    swapped = [x.swapaxes(1, 2) for x in (q, k, v)]
    found = xattn.sageattn(*swapped, tensor_layout="NHD", is_causal=True, sm_scale=0.2)
    np.testing.assert_array_equal(found.swapaxes(1, 2), plain)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"engine": "fast"}, "engine is 'fast', expected one of auto, native, numpy"),
        ({"order": "spiral"}, "order is 'spiral'"),
        ({"threads": 0}, "threads is 0, expected at least 1"),
        ({"key_mask": np.ones((1, 7), bool)}, "key_mask has shape"),
        ({"key_mask": np.ones((1, 20))}, "key_mask has dtype float64, expected bool"),
        ({"q_scale": 0.1}, "q has dtype float32, and q_scale is for int8"),
        ({"scaling": -1.0}, "scaling is -1.0"),
    ],
)
def test_what_is_refused(change: dict[str, Any], message: str) -> None:
    q, k, v = qkv(1, 20, 64)
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        xattn.attention(q, k, v, **change)


def test_operands_that_are_refused() -> None:
    q, k, v = qkv(1, 20, 64)
    with pytest.raises(InputError, match="k has dtype int32, expected float16"):
        xattn.attention(q, k.astype(np.int32), v)
    with pytest.raises(InputError, match="q is int8 and has no scale: give q_scale"):
        xattn.attention(q.astype(np.int8), k, v)
    with pytest.raises(InputError, match="k has 19 tokens and v has 20"):
        xattn.attention(q, k[:, :19], v)
    for engine in ("native", "numpy"):
        with pytest.raises(InputError, match=r"no logit above -89|one above 177"):
            xattn.attention(q, k * 40, v, scaling=1.0, engine=engine)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="does not take return_lse, pv_accum_dtype"):
        xattn.sageattn(q, k, v, return_lse=True, pv_accum_dtype="fp32")
    with pytest.raises(InputError, match="tensor_layout is 'DHN'"):
        xattn.sageattn(q, k, v, tensor_layout="DHN")  # type: ignore[arg-type]


def test_the_package_itself_stays_light() -> None:
    program = "import sys, xattn; assert not {'numpy', 'llvmlite', 'torch'} & set(sys.modules); xattn.attention"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
