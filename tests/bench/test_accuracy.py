"""Accuracy over many tiles: the means are those of the tiles, computed here by themselves."""

from __future__ import annotations

import numpy as np
import pytest

from xattn.bench import cut_tile, synthetic_activations
from xattn.bench.accuracy import measure_accuracy
from xattn.errors import InputError
from xattn.numerics.compat import v0

ACTIVATIONS = synthetic_activations(2)


def test_the_figures_are_the_means_over_the_tiles() -> None:
    record = measure_accuracy(ACTIVATIONS, 3)
    row = {row.name: row for row in record.rows}["v0"]
    errors, cosines = [], []
    for first in (0, 704, 1408):  # the first, the twelfth and the last of 23 whole tiles
        tile = cut_tile(ACTIVATIONS, first, 64, 64)
        output = v0(tile.q, tile.k, tile.v, 4) * tile.v_scale
        errors.append(np.linalg.norm(output - tile.truth) / np.linalg.norm(tile.truth))
        cosines.append(np.vdot(output, tile.truth) / np.linalg.norm(output) / np.linalg.norm(tile.truth))
    assert row.rel_l2 == pytest.approx(np.mean(errors)) and row.worst_rel_l2 == pytest.approx(max(errors))
    assert row.cosine == pytest.approx(np.mean(cosines)) and record.cases == 3


def test_sound_attention_is_the_accurate_one() -> None:
    record = measure_accuracy(ACTIVATIONS, 2)
    errors = {row.name: row.rel_l2 for row in record.rows}
    assert set(errors) == {"v0", "v1", "v3", "lut", "sound"}
    assert errors["sound"] < 0.02 < 0.1 < min(error for name, error in errors.items() if name != "sound")


@pytest.mark.parametrize("tiles", [0, 24])
def test_tiles_that_the_head_does_not_have_are_refused(tiles: int) -> None:
    with pytest.raises(InputError, match=f"^{tiles} tiles of 64 tokens; the head of 1500 tokens has 1 to 23"):
        measure_accuracy(ACTIVATIONS, tiles)
