"""The kernel `gelu` against its integer model, bit for bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from layer_cases import differences, run
from numpy.typing import NDArray

from xattn.kernels.gelu import gelu_arrays
from xattn.kernels.panels import from_panels, to_panels
from xattn.numerics.layers import GeluConstants, gelu, gelu_constants


def constants(scale: float, spread: float = 40.0) -> GeluConstants:
    """Output scales of 64 channels, up to `spread` times apart."""
    rng = np.random.default_rng(1)
    return gelu_constants(scale, 0.02 * spread ** rng.uniform(0, 1, 64))


def kernel(x: NDArray[np.int8], c: GeluConstants) -> NDArray[np.int8]:
    scalars = {"square": c.square, "fall": c.fall, "narrow": c.narrow}
    return from_panels(run("gelu", {"x": to_panels(x), **gelu_arrays(c)}, scalars).results["y"], 64, 64)


@pytest.mark.parametrize("scale", [0.0289, 0.06, 0.1, 0.5])
def test_every_number_is_the_models(scale: float) -> None:
    """All 256 in all channels, and the lowest, whose magnitude is the largest."""
    c = constants(scale)
    numbers = np.arange(-128, 128).reshape(4, 64, 1) + np.zeros((4, 64, 64), int)
    for x in (*numbers.astype(np.int8), np.full((64, 64), -128, np.int8)):
        assert differences(kernel(x, c), gelu(x, c)) == 0
    x = np.random.default_rng(0).integers(-128, 128, (64, 64)).astype(np.int8)
    assert differences(kernel(x, c), gelu(x, c)) == 0


def test_other_constants_would_be_noticed() -> None:
    """The comparison above can fail, and where."""
    c = constants(0.06)
    factor = c.factor.copy()
    factor[13] += 500
    x = np.random.default_rng(0).integers(-128, 128, (64, 64)).astype(np.int8)
    assert set(np.nonzero(kernel(x, replace(c, factor=factor)) != gelu(x, c))[1]) == {13}
    assert differences(kernel(x, replace(c, top=c.top + 256)), gelu(x, c)) > 0
