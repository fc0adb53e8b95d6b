"""Accuracy of the integer arithmetics: their models against float attention, on many tiles of one head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xattn.bench.activations import Activations, Tile, cut_tile
from xattn.bench.provenance import provenance
from xattn.bench.record import AccuracyRecord, AccuracyRow
from xattn.errors import InputError
from xattn.numerics.compat import COMPAT_MODELS, DEFAULT_SHIFT
from xattn.numerics.metrics import cosine, relative_l2
from xattn.numerics.sound import attention_sound

Attend = Callable[[Tile, slice], NDArray[np.floating[Any]]]
"""Of a tile, and its place in the head: the dequantized output, `[tokens, width]`."""

SOUND = "int16 scores, running maximum, unnormalised weights: the arithmetic of xattn's own kernels"


def measure_accuracy(activations: Activations, tiles: int | None = None, tokens: int = 64) -> AccuracyRecord:
    """Every model on `tiles` tiles, spread over the head, each attending to itself (default: all, side by side).

    InputError for less than one tile, or more tiles than fit.
    """
    fit = activations.q.shape[0] // tokens
    count = fit if tiles is None else tiles
    if not 1 <= count <= fit:
        raise InputError(
            f"{count} tiles of {tokens} tokens; the head of {activations.q.shape[0]} tokens has 1 to {fit}"
        )
    width = activations.q.shape[1]
    places = [int(i) * tokens for i in np.linspace(0, fit - 1, count)]
    cut = [cut_tile(activations, first, tokens, width) for first in places]
    rows = [_row(name, summary, attend, cut) for name, (summary, attend) in _models(activations).items()]
    return AccuracyRecord(
        provenance=provenance(),
        description=activations.description,
        tokens=tokens,
        width=width,
        cases=count,
        rows=rows,
    )


def _models(activations: Activations) -> dict[str, tuple[str, Attend]]:
    def compat(name: str) -> Attend:
        model = COMPAT_MODELS[name]
        return lambda tile, _place: model(tile.q, tile.k, tile.v, DEFAULT_SHIFT) * tile.v_scale

    def sound(_tile: Tile, place: slice) -> NDArray[np.floating[Any]]:
        return attention_sound(activations.q[place], activations.k[place], activations.v[place], scaling=1.0)

    found: dict[str, tuple[str, Attend]] = {name: (m.summary, compat(name)) for name, m in COMPAT_MODELS.items()}
    return found | {"sound": (SOUND, sound)}


def _row(name: str, summary: str, attend: Attend, tiles: list[Tile]) -> AccuracyRow:
    outputs = [attend(tile, slice(tile.first, tile.first + len(tile.q))) for tile in tiles]
    errors = [relative_l2(output, tile.truth) for output, tile in zip(outputs, tiles, strict=True)]
    return AccuracyRow(
        name=name,
        summary=summary,
        cosine=float(np.mean([cosine(output, tile.truth) for output, tile in zip(outputs, tiles, strict=True)])),
        rel_l2=float(np.mean(errors)),
        worst_rel_l2=max(errors),
    )
