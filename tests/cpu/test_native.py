"""The native program against the integer model: the whole state, bit for bit, for any shape, mask and target."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from xattn.cpu import engine, native
from xattn.errors import InputError
from xattn.numerics.adversarial import ADVERSARIAL_CASES, adversarial_case
from xattn.numerics.sound import SoundOperands, SoundState, attend, quantize_operands
from xattn.numerics.synthetic import synthetic_activations

Float = NDArray[np.float32]


def operands(rng: np.random.Generator, heads: int, queries: int, keys: int, spread: float = 3.0) -> SoundOperands:
    q = rng.standard_normal((heads, queries, 64))
    k = rng.standard_normal((heads, keys, 64)) * spread * rng.random((1, keys, 1))
    v = rng.standard_normal((heads, keys, 64))
    return quantize_operands(q, k, v, scaling=0.3)


def native_state(
    given_: SoundOperands, *, diagonal: bool = False, causal: bool = False, mask: NDArray[np.bool_] | None = None
) -> SoundState:
    prepared = native.prepare_integers(given_, 2)
    heads = prepared.q.shape[0]
    visible = native.visible_keys(prepared.keys, heads, mask)
    return native.run_prepared(
        prepared, visible=visible, diagonal=diagonal, causal=causal, threads=2, accumulators=True
    )


def assert_same(found: SoundState, expected: SoundState) -> None:
    for name in ("reference", "running_sum", "accumulator"):
        wanted = getattr(expected, name)
        np.testing.assert_array_equal(getattr(found, name).reshape(wanted.shape), wanted, err_msg=name)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(1, 3), st.integers(1, 140), st.integers(1, 200), st.booleans(), st.booleans(), st.integers(0, 2**32 - 1)
)
def test_state_equals_the_models(heads: int, queries: int, keys: int, diagonal: bool, causal: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    given_ = operands(rng, heads, queries, keys)
    mask = rng.random((heads, keys)) < rng.choice([0.0, 0.3, 0.9, 1.0])
    found = native_state(given_, diagonal=diagonal, causal=causal, mask=mask)
    order = "diagonal" if diagonal else "natural"
    assert_same(found, attend(given_, order=order, key_mask=mask, causal=causal))


@pytest.mark.parametrize("name", ADVERSARIAL_CASES)
@pytest.mark.parametrize("shift", [0, 5, 12])
def test_awkward_rows(name: str, shift: int) -> None:
    case = adversarial_case(name, 192)
    q, k, v = (x[np.newaxis] for x in (case.q, case.k, case.v))
    one = np.ones((1, 1, 64))
    given_ = SoundOperands(q, k, v, np.full((1, 1, 1), shift, np.int32), one, one, one)
    assert_same(native_state(given_), attend(given_))


def test_references_that_rise_block_by_block_rescale_old_sums() -> None:
    rng = np.random.default_rng(3)
    q = np.abs(rng.standard_normal((2, 64, 64)))
    k = np.abs(rng.standard_normal((2, 512, 64))) * np.linspace(0.1, 4, 512)[:, np.newaxis]
    given_ = quantize_operands(q, k, rng.standard_normal((2, 512, 64)))
    expected = attend(given_)
    assert (expected.reference > attend(quantize_operands(q, k[:, :64], k[:, :64])).reference).all()
    assert_same(native_state(given_), expected)


def test_the_portable_program_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    given_ = operands(rng, 2, 70, 150)
    plain = engine.functions("x86-64-v2" if engine.is_x86() else "generic", "")
    assert plain is not engine.functions()
    monkeypatch.setattr(native, "functions", lambda: plain)
    assert_same(native_state(given_), attend(given_))


def test_targets_differ_in_the_instructions_that_they_name() -> None:
    best, portable = (engine.module_text(engine.Target(*flags)) for flags in ((True, True), (False, False)))
    assert "vpdpbusd" in best and "llvm.x86" not in portable


@pytest.mark.parametrize("share", ["channel", "head"])
def test_floats_are_quantized_as_the_model_does(share: str) -> None:
    made = synthetic_activations(0, 3, 130)
    q, k, v = made.q, made.k.copy(), made.v
    k[1, :, 5] = 0  # a channel without any value
    expected = native.prepare_integers(quantize_operands(q, k, v, scaling=1.0, share=share), 1)  # type: ignore[arg-type]
    found = native.prepare_floats(q, k, v, 1.0, share, 2)  # type: ignore[arg-type]
    for name in ("q", "correction", "k", "v", "shift", "v_scale"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


def test_rows_that_are_not_side_by_side_are_read_in_place() -> None:
    rng = np.random.default_rng(1)
    heads_last = rng.standard_normal((2, 50, 3, 64)).astype(np.float32)
    view = heads_last.transpose(0, 2, 1, 3)
    packed = np.ascontiguousarray(view)
    found, expected = (native.prepare_floats(x, x, x, 0.1, "channel", 1) for x in (view, packed))
    np.testing.assert_array_equal(found.q, expected.q)
    np.testing.assert_array_equal(found.k, expected.k)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_named(bad: float) -> None:
    x = np.zeros((1, 3, 64), np.float32)
    y = x.copy()
    y[0, 1, 17] = bad
    with pytest.raises(InputError, match=r"^k hold NaN or infinite"):
        native.prepare_floats(x, y, x, 1.0, "channel", 1)
