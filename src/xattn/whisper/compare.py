"""A clip transcribed twice, with float and with int8 attention, and how far the two are apart on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from xattn.numerics.metrics import cosine, relative_l2
from xattn.whisper.audio import Audio
from xattn.whisper.encoder import encode, softmax_attention
from xattn.whisper.mel import log_mel
from xattn.whisper.tensors import Float32
from xattn.whisper.transcribe import Progress, Transcript, int8_attention, transcribe
from xattn.whisper.vocabulary import Vocabulary
from xattn.whisper.weights import WhisperWeights
from xattn.whisper.word_errors import word_error_rate


@dataclass(frozen=True)
class Comparison:
    """Two transcripts of a clip, and the encoder's differences over its first 30 s.

    Attributes:
        wer: word error rate of the int8 text against the float one.
        encoder_cosine: of the encoder's outputs, the whole model in int8 attention.
        layer_errors: relative L2 of each layer's attention, given the float model's Q, K and V.
    """

    float_: Transcript
    int8: Transcript
    wer: float
    encoder_cosine: float
    layer_errors: list[float]


def compare(
    weights: WhisperWeights,
    vocabulary: Vocabulary,
    audio: Audio,
    *,
    language: str | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Transcribe with both; arguments and errors as in `transcribe`."""
    texts = []
    for half, attention in enumerate((softmax_attention, int8_attention)):
        told = None if progress is None else _half_of(progress, half)
        texts.append(transcribe(weights, vocabulary, audio, attention=attention, language=language, progress=told))
    mel = log_mel(audio.samples, weights.dims.mel_bins)
    errors: list[float] = []

    def observe(layer: int, q: Float32, k: Float32, v: Float32, o: Float32) -> None:
        errors.append(relative_l2(int8_attention(q, k, v, layer), o))

    truth = encode(weights, mel, softmax_attention, observe)
    found = encode(weights, mel, int8_attention)
    wer = word_error_rate(texts[0].text, texts[1].text)
    return Comparison(texts[0], texts[1], wer, cosine(np.ravel(found), np.ravel(truth)), errors)


def _half_of(progress: Progress, half: int) -> Callable[[float, float], None]:
    return lambda done, total: progress(half * total + done, 2 * total)
