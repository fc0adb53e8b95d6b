"""The Q, K and V that one attention layer of a real Whisper encoder sees on a real clip."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

from xattn.errors import InputError
from xattn.whisper.audio import SAMPLE_RATE, Audio
from xattn.whisper.cache import QKV, ActivationCache
from xattn.whisper.encoder import block, embed, project_qkv
from xattn.whisper.mel import WINDOW_SAMPLES, WINDOW_SECONDS, log_mel
from xattn.whisper.tensors import Float32
from xattn.whisper.weights import WhisperWeights

_REVISION = 1  # to be raised when mel.py, encoder.py or gelu.py change what they compute

Progress = Callable[[int, int, str], None]
"""Called with (steps done, steps in all, what was just done)."""


@dataclass(frozen=True)
class Captured:
    """Activations of one layer, float32: [heads, tokens, 64], or [tokens, 64] where one head was asked for."""

    q: Float32
    """Queries, already multiplied by ``scaling``: attention must not scale again."""
    k: Float32
    v: Float32
    layer: int
    head: int | None
    """The one head that the arrays hold, or None for all."""
    clip: str
    model: str
    scaling: float
    """The factor 64^−½ that is already in ``q``."""
    heard_tokens: int
    """Leading tokens that overlap the clip; the rest of the 30 s window is padding."""
    notes: tuple[str, ...]
    """What the user should know: the clip's notes, trimming, a cache that could not be written."""


def capture_qkv(
    weights: WhisperWeights,
    audio: Audio,
    layer: int,
    head: int | None = None,
    *,
    cache: ActivationCache | None = None,
    progress: Progress | None = None,
) -> Captured:
    """Q, K and V of encoder layer ``layer`` on the first 30 s of a clip, all heads or one.

    The encoder runs up to that layer only, with float attention. All heads go to ``cache`` (default: the user's cache
    folder), from which a later call takes them. InputError for a layer or head that the model does not have.
    """
    dims = weights.dims
    _require("layer", layer, dims.encoder_layers, weights)
    if head is not None:
        _require("head", head, dims.heads, weights)
    cache = ActivationCache() if cache is None else cache
    notes = list(audio.notes)
    if audio.samples.size > WINDOW_SAMPLES:
        notes.append(f"only the first {WINDOW_SECONDS} s of {audio.seconds:.1f} s were used")
    key = _key(weights, audio, layer)
    qkv = cache.read(key, (dims.heads, dims.audio_positions, dims.head_width))
    if qkv is None:
        qkv = _compute(weights, audio, layer, progress)
        try:
            cache.write(key, qkv)
        except OSError as error:
            notes.append(f"activations were not cached: {error.strerror or error} ({cache.folder})")
    q, k, v = qkv if head is None else (m[head] for m in qkv)
    return Captured(
        q=q,
        k=k,
        v=v,
        layer=layer,
        head=head,
        clip=audio.name,
        model=weights.name,
        scaling=dims.head_width**-0.5,
        heard_tokens=min(math.ceil(audio.samples.size / WINDOW_SAMPLES * dims.audio_positions), dims.audio_positions),
        notes=tuple(notes),
    )


def _require(what: str, value: int, count: int, weights: WhisperWeights) -> None:
    if not 0 <= value < count:
        raise InputError(f"{what} {value} does not exist; {weights.name} has encoder {what}s 0 to {count - 1}")


def _key(weights: WhisperWeights, audio: Audio, layer: int) -> str:
    """Equal for equal encoder tensors, equal samples and the same layer; file names play no part."""
    digest = hashlib.sha256(f"{_REVISION} {SAMPLE_RATE} {weights.encoder_digest} {layer} ".encode())
    digest.update(audio.samples[:WINDOW_SAMPLES].astype("<f4", copy=False).tobytes())
    return digest.hexdigest()[:40]


def _compute(weights: WhisperWeights, audio: Audio, layer: int, progress: Progress | None) -> QKV:
    names = ["log-mel spectrogram", "encoder stem", *(f"encoder layer {i}" for i in range(layer)), "Q, K and V"]

    def done(steps: int) -> None:
        if progress is not None:
            progress(steps, len(names), names[steps - 1])

    mel = log_mel(audio.samples, weights.dims.mel_bins)
    done(1)
    x = embed(weights, mel)
    done(2)
    for i in range(layer):
        x = block(weights, x, i)
        done(3 + i)
    qkv = project_qkv(weights, x, layer)
    done(len(names))
    return qkv
