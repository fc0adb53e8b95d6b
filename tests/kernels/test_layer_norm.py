"""The kernel `layer_norm` against its integer model, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from layer_cases import differences, run
from numpy.typing import NDArray

from xattn.kernels.layer_norm import norm_arrays, norm_tokens
from xattn.kernels.layers import NORM_WIDTHS
from xattn.kernels.panels import from_panels
from xattn.numerics.layers import NormConstants, layer_norm, norm_constants


def kernel(x: NDArray[np.int16], c: NormConstants) -> NDArray[np.int8]:
    tokens, width = x.shape
    scalars = {"least": c.least, "scale": c.scale, "narrow": c.narrow, "lift": c.lift}
    y = run(f"layer_norm_{width}", {**norm_tokens(x), **norm_arrays(c)}, scalars).results["y"]
    return from_panels(y, tokens, width)


def constants(width: int, smallest: float, step: float = 0.04) -> NormConstants:
    rng = np.random.default_rng(width)
    return norm_constants(rng.normal(1, 0.3, width), rng.normal(0, 0.5, width), np.full(width, step), smallest)


@pytest.mark.parametrize("width", NORM_WIDTHS)
@pytest.mark.parametrize("smallest", [3.0, 300.0, 8000.0])
def test_rows_of_all_deviations(width: int, smallest: float) -> None:
    """From rows that hardly vary to full range, whatever the constants are made for."""
    rng = np.random.default_rng(int(smallest))
    deviation = np.geomspace(0.3, 30000, 16)[:, np.newaxis]
    x = np.clip(rng.normal(0, 1, (16, width)) * deviation + rng.uniform(-3000, 3000, (16, 1)), -32768, 32767)
    tokens, c = np.rint(x).astype(np.int16), constants(width, smallest)
    assert differences(kernel(tokens, c), layer_norm(tokens, c)) == 0


@pytest.mark.parametrize("width", NORM_WIDTHS)
def test_awkward_rows(width: int) -> None:
    """Constant rows at every level, one number apart, halves at either end, steps of one."""
    x = np.zeros((16, width), np.int16)
    x[0], x[1], x[2], x[3] = 32767, -32768, 1, -1
    x[4, 5], x[5, 5], x[6, -1] = 32767, -32768, 1
    x[7, ::2], x[7, 1::2] = 32767, -32768
    x[8, : width // 2], x[8, width // 2 :] = -32768, 32767
    x[9] = np.arange(width) % 2
    x[10], x[10, 0] = 32767, -32768
    x[11] = np.linspace(-32768, 32767, width)
    x[12:] = np.random.default_rng(0).integers(-32768, 32768, (4, width))
    for c in (constants(width, 1.0), constants(width, 2000.0), constants(width, 500.0, 0.001)):
        assert differences(kernel(x, c), layer_norm(x, c)) == 0


def test_a_wrong_gain_shows() -> None:
    x = np.random.default_rng(1).integers(-3000, 3000, (16, 384)).astype(np.int16)
    c = constants(384, 500.0)
    other = constants(384, 500.0)
    other.gain[100] += 2000
    assert set(np.nonzero(kernel(x, other) != layer_norm(x, c))[1]) == {100}
