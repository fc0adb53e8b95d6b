"""The kernels of linear layers against the integer model, bit for bit, over depths of several calls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from layer_cases import differences, run
from numpy.typing import NDArray

from xattn.kernels.matmul import multiplier_lanes
from xattn.kernels.panels import from_panels, to_column_panels, to_panels
from xattn.numerics.layers import Requantization, add_to_residual, linear_sums, requantization, requantize

Int8 = NDArray[np.int8]


def product(
    x: Int8, w: Int8, bias: NDArray[np.int32], by: Requantization, residual: NDArray[np.int16] | None, octaves: int = 0
) -> NDArray[Any]:
    """All calls for 64 rows, any depth and 64 columns; the result row-major."""
    steps = len(w) // 64
    scalars = {"first": by.first, "second": by.second}
    sums: dict[str, NDArray[Any]] = {}
    for step in range(steps):
        part = slice(64 * step, 64 * step + 64)
        operands = {"a": to_panels(x[:, part]), "b": to_column_panels(w[part]), **sums}
        if step == 0:
            sums = run("matmul_start", {**operands, "bias": bias}, {}).results
        elif step + 1 < steps or residual is not None:
            sums = run("matmul_accumulate", operands, {}).results
        else:
            operands["multiplier"] = multiplier_lanes(by.multiplier)
            return from_panels(run("matmul_narrow", operands, scalars).results["out"], 64, 64)
    assert residual is not None, "a depth of 128 at least"
    operands = {**sums, "multiplier": multiplier_lanes(by.multiplier), "x": to_panels(residual)}
    scalars["lift"] = by.second - octaves
    return from_panels(run("add_residual", operands, scalars).results["x"], 64, 64)


def layer(depth: int, seed: int) -> tuple[Int8, Int8, NDArray[np.int32], Requantization]:
    rng = np.random.default_rng(seed)
    x, w = rng.integers(-128, 128, (64, depth), dtype=np.int8), rng.integers(-128, 128, (depth, 64), dtype=np.int8)
    bias = rng.integers(-(1 << 18), 1 << 18, 64).astype(np.int32)
    ratio = 10.0 ** rng.uniform(-4, -3.2, 64)
    return x, w, bias, requantization(ratio, depth * 127 * 127)


@pytest.mark.parametrize("depth", [128, 256])
def test_int8_is_the_models(depth: int) -> None:
    x, w, bias, by = layer(depth, depth)
    expected = requantize(linear_sums(x, w, bias), by)
    assert (expected == 127).any() and (expected == -128).any() and len(np.unique(expected)) > 200
    assert differences(product(x, w, bias, by, None), expected) == 0


@pytest.mark.parametrize("depth", [128, 256])
def test_a_residual_stream_is_the_models(depth: int) -> None:
    x, w, bias, by = layer(depth, depth + 1)
    by = Requantization(by.multiplier, by.first, 11)
    residual = np.random.default_rng(0).integers(-32768, 32768, (64, 64)).astype(np.int16)
    expected = add_to_residual(residual, linear_sums(x, w, bias), by)
    assert (expected == 32767).any() and (expected == -32768).any()
    assert differences(product(x, w, bias, by, residual), expected) == 0
    larger = add_to_residual(residual, linear_sums(x, w, bias), by, 3)
    assert differences(product(x, w, bias, by, residual, 3), larger) == 0


@pytest.mark.parametrize("fill", [-128, 127, 0])
def test_extremes(fill: int) -> None:
    x, w, bias, by = layer(128, 3)
    x[:], w[:] = fill, -128
    expected = linear_sums(x, w, bias)
    assert differences(product(x, w, bias, by, None), requantize(expected, by)) == 0
    residual, by = np.full((64, 64), -32768, np.int16), Requantization(by.multiplier, by.first, 15)
    assert differences(product(x, w, bias, by, residual), add_to_residual(residual, expected, by)) == 0


def test_a_wrong_bias_shows() -> None:
    x, w, bias, by = layer(128, 4)
    expected = requantize(linear_sums(x, w, bias), by)
    other = bias.copy()
    other[17] += 1 << 20
    assert set(np.nonzero(product(x, w, other, by, None) != expected)[1]) == {17}
