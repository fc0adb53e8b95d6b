"""The kernel `gelu` against its integer model, bit for bit."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from layer_cases import differences, run

from xattn.kernels.gelu import NUMBERS, gelu_arrays
from xattn.numerics.layers import GeluConstants, gelu, gelu_constants, gelu_scale

CASES = [
    gelu_constants(gelu_scale(wanted, out), out)
    for wanted, out in ((0.06, 0.045), (0.03, 0.02), (0.1, 0.1), (0.3, 0.2))
]


@pytest.mark.parametrize("constants", CASES, ids=str)
def test_every_number_is_the_models(constants: GeluConstants) -> None:
    generator = np.random.default_rng(0)
    for x in (
        np.resize(np.arange(-128, 128), NUMBERS).astype(np.int8),
        np.full(NUMBERS, -128, np.int8),
        generator.integers(-128, 128, NUMBERS).astype(np.int8),
    ):
        y = run("gelu", {"x": x, **gelu_arrays(constants)}, asdict(constants)).results["y"]
        assert differences(y, gelu(x, constants)) == 0


def test_other_constants_would_be_noticed() -> None:
    """The comparison above can fail: one step of a constant shows."""
    constants = CASES[0]
    x = np.resize(np.arange(-128, 128), NUMBERS).astype(np.int8)
    other = GeluConstants(**{**asdict(constants), "top": constants.top + 256})
    y = run("gelu", {"x": x, **gelu_arrays(other)}, asdict(other)).results["y"]
    assert differences(y, gelu(x, constants)) > 0
