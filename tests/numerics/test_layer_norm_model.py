"""The integer LayerNorm against a float one, step by step and as a whole."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from xattn.errors import InputError
from xattn.numerics.layers import NormConstants, layer_norm, norm_constants
from xattn.numerics.layers.layer_norm import MAX_SCALE, SQUARE_SHIFT, least_variance, row_means, row_roots

WIDTHS = (384, 512, 768, 1280)


def rows(width: int, seed: int = 0) -> NDArray[np.int16]:
    """Rows whose deviations differ four times, off centre, with outlying channels as real residual streams have."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 800, (64, width)) * rng.uniform(0.5, 2, (64, 1)) + rng.uniform(-2000, 2000, (64, 1))
    x[:, 7] += 20000
    return np.clip(np.rint(x), -32768, 32767).astype(np.int16)


@pytest.mark.parametrize("width", WIDTHS)
def test_means_are_off_by_rounding_alone(width: int) -> None:
    extremes = np.stack([np.full(width, v) for v in (-32768, 32767, 0, 1, -1)]).astype(np.int16)
    x = np.concatenate([rows(width), extremes])
    off = np.abs(row_means(x) - x.mean(axis=-1))
    assert off.max() <= 0.5 + 1 / 6 + 1e-9  # of a third the last bits are not looked at
    assert np.array_equal(row_means(extremes), extremes[:, 0].astype(int))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scale", [8, 12, MAX_SCALE])
def test_roots_are_off_by_a_thousandth(width: int, scale: int) -> None:
    """For every size of V from the least on: with x = ±a, V is known exactly."""
    least = least_variance(width, scale)
    smallest = math.ceil(math.sqrt(least / width))
    for a in np.unique(np.geomspace(smallest, 1023, 60).astype(int)):
        x = np.tile(np.array([a, -a]) << SQUARE_SHIFT, (1, width // 2)).astype(np.int16)
        root = int(row_roots(x, np.zeros(1, np.int64), scale, least)[0])
        exact = 2.0 ** (scale + SQUARE_SHIFT) / a
        assert abs(root - exact) <= exact / 1000 + 1 and root <= 32767


@pytest.mark.parametrize("width", WIDTHS)
def test_the_least_variance_keeps_roots_in_16_bits(width: int) -> None:
    x = np.zeros((1, width), np.int16)
    for scale in range(1, MAX_SCALE + 1):
        root = int(row_roots(x, np.zeros(1, np.int64), scale, least_variance(width, scale))[0])
        assert root <= 32767


@pytest.mark.parametrize("width", WIDTHS)
def test_a_layer_is_within_three_quarters_of_a_step(width: int) -> None:
    x, rng = rows(width), np.random.default_rng(1)
    weight, bias = rng.normal(1, 0.2, width), rng.normal(0, 0.3, width)
    normal = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1)[:, np.newaxis]
    truth = normal * weight + bias
    step = np.abs(truth).max(axis=0) / 127
    constants = norm_constants(weight, bias, step, float(x.std(axis=1).min()))
    y = layer_norm(x, constants)
    assert np.abs(y - truth / step).max() < 0.75
    floor = np.linalg.norm(np.rint(truth / step) * step - truth)
    assert np.linalg.norm(y * step - truth) < 1.03 * floor  # rounding to int8 is nearly all of the error


def plain(width: int) -> NormConstants:
    return norm_constants(np.ones(width), np.full(width, 0.5), np.full(width, 0.05), 100.0)


@pytest.mark.parametrize("level", [-32768, -1, 0, 1, 32767])
def test_constant_rows_give_the_offset(level: int) -> None:
    np.testing.assert_array_equal(layer_norm(np.full((2, 512), level, np.int16), plain(512)), 10)


def test_rows_that_vary_less_than_is_foreseen_are_magnified_less() -> None:
    x = np.tile(np.array([3, -3], np.int16), (1, 256))
    y = np.abs(layer_norm(x, plain(512)).astype(int) - 10)
    assert y.max() < 20  # one deviation is 20 steps


def test_what_is_too_large_saturates() -> None:
    x, constants = rows(512), plain(512)
    y = layer_norm(x, replace(constants, narrow=constants.narrow - 3))
    assert y.min() == -128 and y.max() == 127


@pytest.mark.parametrize(
    ("width", "smallest", "step", "message"),
    [
        (2048, 1.0, 1.0, "expected a multiple of 8 up to 2047"),
        (100, 1.0, 1.0, "expected a multiple of 8"),
        (384, 0.0, 1.0, "not finite and positive"),
        (384, 1.0, 1e-9, "leave their bits"),
    ],
)
def test_what_does_not_fit_is_refused(width: int, smallest: float, step: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        norm_constants(np.ones(width), np.ones(width), np.full(width, step), smallest)


def test_another_width_or_dtype_is_refused() -> None:
    with pytest.raises(InputError, match="there are 512 gains"):
        layer_norm(np.zeros((1, 384), np.int16), plain(512))
    with pytest.raises(InputError, match="x has dtype int8"):
        layer_norm(np.zeros((1, 512), np.int8), plain(512))
