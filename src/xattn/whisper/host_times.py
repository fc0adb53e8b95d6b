"""What the parts of a Whisper model other than the encoder's attention take on this computer, in NumPy float32.

Sizes alone decide that, so weights are random, and one layer stands for all: it is timed, and counted as often as the
model has it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np

from xattn.cpu import attention
from xattn.whisper.decoder import Decoder
from xattn.whisper.dims import WhisperDims
from xattn.whisper.encoder import block, embed
from xattn.whisper.layout import tensor_shapes
from xattn.whisper.mel import WINDOW_SAMPLES, log_mel
from xattn.whisper.tensors import Float32
from xattn.whisper.weights import WhisperWeights

_REPEATS = 3
_SAID = 32  # tokens that have been said when a step is timed: some half of what a window holds

Progress = Callable[[int, int, str], None]


class RandomWeights(dict[str, Float32]):
    """Tensors of a model's sizes, made when first asked for; all layers share those of the first one."""

    def __init__(self, dims: WhisperDims) -> None:
        super().__init__()
        self.dims = dims
        self._rng = np.random.default_rng(0)

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        return tensor_shapes(self.dims)

    def __missing__(self, name: str) -> Float32:
        """The tensor of that name."""
        parts = name.split(".")
        if len(parts) > 2 and parts[1] == "layers" and parts[2] != "0":
            return self[".".join([*parts[:2], "0", *parts[3:]])]
        shape = self._shapes[name]
        made: Float32 = self._rng.standard_normal(shape, dtype=np.float32) * np.float32(shape[-1] ** -0.5)
        self[name] = made
        return made


@dataclass(frozen=True)
class HostTimes:
    """Seconds, the least of three runs each.

    Attributes:
        mel: log-mel spectrogram of a window.
        stem: the two convolutions.
        layer: an encoder layer without its attention: norms, projections, feed-forward.
        attention: the encoder's attention of one layer, sound int8, native where it can be.
        token: one token in the decoder, all layers and the logits.
    """

    mel: float
    stem: float
    layer: float
    attention: float
    token: float


def measure_host(dims: WhisperDims, progress: Progress = lambda *_: None) -> HostTimes:
    """Time the parts of a model of these sizes."""
    weights = cast(WhisperWeights, RandomWeights(dims))
    rng = np.random.default_rng(1)
    names = ("log-mel spectrogram", "convolutions", "an encoder layer", "attention", "the decoder")

    def tell(step: int) -> None:
        progress(step, len(names), names[step])

    tell(0)
    sound = rng.standard_normal(WINDOW_SAMPLES).astype(np.float32) * np.float32(0.1)
    mel = _least(lambda: log_mel(sound, dims.mel_bins))
    tell(1)
    spectrogram = log_mel(sound, dims.mel_bins)
    stem = _least(lambda: embed(weights, spectrogram))
    tell(2)
    x = rng.standard_normal((dims.audio_positions, dims.width)).astype(np.float32)
    layer = _least(lambda: block(weights, x, 0, _no_attention))
    tell(3)
    heads = rng.standard_normal((3, dims.heads, dims.audio_positions, 64)).astype(np.float32)
    attended = _least(lambda: attention(*heads, scaling=0.125))
    tell(4)
    return HostTimes(mel, stem, layer, attended, _token_time(weights, x))


def _token_time(weights: WhisperWeights, encoded: Float32) -> float:
    decoder = Decoder(weights, encoded)
    decoder.say([0] * _SAID)
    return _least(lambda: decoder.say([0]))


def _no_attention(q: Float32, k: Float32, v: Float32, layer: int = 0) -> Float32:
    del q, k, layer
    return v


def _least(work: Callable[[], Any]) -> float:
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
