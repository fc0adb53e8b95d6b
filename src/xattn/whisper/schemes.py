"""Ways of computing the encoder's attention that `xattn quality` judges, good and bad, each over whole heads.

A scheme gives outputs, and the weights that stand behind them: what share of a row's attention each key gets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from xattn.cpu import attention
from xattn.errors import InputError
from xattn.numerics.compat import CompatModel, compat_model
from xattn.numerics.quantize import quantize
from xattn.numerics.reference import attention_weights
from xattn.numerics.sound import BLOCK_MAXIMUM_OPTIONS, DEFAULT_OPTIONS, SoundOptions, attention_sound
from xattn.whisper.encoder import softmax_attention
from xattn.whisper.rounded import ROUNDED
from xattn.whisper.tensors import Float32

TILE = 64

Attend = Callable[[Float32, Float32, Float32], Float32]
"""Q, K, V `[heads, tokens, 64]`, Q already scaled, to O."""

Weights = Callable[[Float32, Float32], NDArray[np.floating]]
"""Q, K `[heads, tokens, 64]` to weights `[heads, tokens, tokens]`, rows of any sum."""


@dataclass(frozen=True)
class Scheme:
    """One way, by name, and in a few words what it is."""

    name: str
    summary: str
    attend: Attend
    weights: Weights

    def __call__(self, q: Float32, k: Float32, v: Float32, layer: int = 0) -> Float32:
        """As the encoder's attention."""
        del layer
        return self.attend(q, k, v).astype(np.float32, copy=False)


def _probed(attend: Attend) -> Weights:
    """The weights of a scheme that is linear in V, by attending to columns of the unit matrix."""

    def weights(q: Float32, k: Float32) -> NDArray[np.floating]:
        heads, tokens, width = k.shape
        found = np.empty((heads, q.shape[1], tokens), np.float32)
        for first in range(0, tokens, width):
            v = np.zeros_like(k)
            count = min(width, tokens - first)
            v[:, np.arange(first, first + count), np.arange(count)] = 1
            found[..., first : first + count] = attend(q, k, v)[..., :count]
        return found

    return weights


def _sound(options: SoundOptions) -> Attend:
    def attend(q: Float32, k: Float32, v: Float32) -> Float32:
        return attention_sound(q, k, v, scaling=1.0, options=options).astype(np.float32)

    return attend


def _default(q: Float32, k: Float32, v: Float32, order: str = "natural") -> Float32:
    out: Float32 = attention(q, k, v, scaling=1.0, order=order)  # type: ignore[arg-type]
    return out


def _compat(model: CompatModel, q: Float32, k: Float32, v: Float32) -> Float32:
    """The tile kernel's arithmetic over all keys, head by head: scales of Q and K have no say in it."""
    parts = [quantize(x) for x in (q, k, v)]
    outputs = [model(*(part.values[head] for part in parts)) for head in range(len(q))]
    return (np.stack(outputs) * parts[2].scale).astype(np.float32)


def _compat_weights(model: CompatModel, q: Float32, k: Float32) -> NDArray[np.floating]:
    a, b = quantize(q).values, quantize(k).values
    return np.stack([model.weights(model.scores(a[h], b[h], 4)) for h in range(len(q))]).astype(np.float32)


def _tiles(attend: Attend) -> Attend:
    """Each tile of 64 tokens attends to itself alone."""

    def alone(q: Float32, k: Float32, v: Float32) -> Float32:
        parts = [slice(first, first + TILE) for first in range(0, q.shape[1], TILE)]
        return np.concatenate([attend(q[:, part], k[:, part], v[:, part]) for part in parts], axis=1)

    return alone


def _tile_weights(weights: Weights) -> Weights:
    def alone(q: Float32, k: Float32) -> NDArray[np.floating]:
        found = np.zeros((q.shape[0], q.shape[1], k.shape[1]), np.float32)
        for first in range(0, q.shape[1], TILE):
            part = slice(first, first + TILE)
            found[:, part, part] = weights(q[:, part], k[:, part])
        return found

    return alone


def _float_weights(q: Float32, k: Float32) -> NDArray[np.floating]:
    return attention_weights(q, k, scaling=1.0).astype(np.float32)


def _scheme(name: str, summary: str, attend: Attend, weights: Weights | None = None) -> Scheme:
    return Scheme(name, summary, attend, _probed(attend) if weights is None else weights)


def schemes() -> dict[str, Scheme]:
    """Every scheme, the reference first."""
    v0, lut = compat_model("v0"), compat_model("lut")
    nearest = replace(DEFAULT_OPTIONS, dither="nearest")
    all_ = (
        _scheme("float", "softmax in float32", softmax_attention, _float_weights),
        _scheme("sound", "int8, running max, 8-bit weights with dither: the default", _default),
        _scheme("sound-diagonal", "the same, from the diagonal block on", partial(_default, order="diagonal")),
        _scheme("sound-dither16", "a dither of period 16", _sound(replace(DEFAULT_OPTIONS, dither="dither16"))),
        _scheme("sound-block-max", "a max for each block, plain rounding", _sound(BLOCK_MAXIMUM_OPTIONS)),
        _scheme("sound-nearest", "running max, plain rounding: the tail is lost", _sound(nearest)),
        *(Scheme(name, summary, way.attend, way.weights) for name, (summary, way) in ROUNDED.items()),
        Scheme("tile-float", "float, each 64 tokens attend to themselves alone", _tiles(softmax_attention),
               _tile_weights(_float_weights)),
        Scheme("seed", "the seed's v0 over all keys", partial(_compat, v0), partial(_compat_weights, v0)),
        Scheme("seed-lut", "the seed's table over all keys", partial(_compat, lut), partial(_compat_weights, lut)),
        Scheme("seed-tile", "the seed as it is: v0 in tiles of 64", _tiles(partial(_compat, v0)),
               _tile_weights(partial(_compat_weights, v0))),
    )  # fmt: skip
    return {scheme.name: scheme for scheme in all_}


def scheme(name: str) -> Scheme:
    """The scheme called `name`; InputError lists those there are."""
    known = schemes()
    if name not in known:
        raise InputError(f"no scheme is called {name!r}; there are {', '.join(known)}")
    return known[name]
