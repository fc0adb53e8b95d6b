"""From speech of any length to text with times: windows of 30 s, each starting where the last one's words ended."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from xattn.cpu import attention
from xattn.errors import InputError
from xattn.whisper.audio import SAMPLE_RATE, Audio
from xattn.whisper.decoder import Decoder
from xattn.whisper.encoder import AttentionFunction, Observer, encode, softmax_attention
from xattn.whisper.mel import WINDOW_SAMPLES, log_mel
from xattn.whisper.search import detect_language, search
from xattn.whisper.tensors import Float32
from xattn.whisper.vocabulary import Vocabulary
from xattn.whisper.weights import WhisperWeights

_SILENCE = 1e-4  # no sample reaches it: nothing is said
_NO_SPEECH, _UNSURE = 0.6, -1.0  # both must hold for a window without speech: openai/whisper's transcribe.py
_REPETITIVE = 2.4  # bytes of text to compressed ones, from there too
_MOST_TOKENS = 224

Progress = Callable[[float, float], None]
"""Called with (seconds heard, seconds in all)."""


@dataclass(frozen=True)
class Segment:
    """A stretch of speech: seconds from the clip's start, and its text."""

    start: float
    end: float
    text: str


@dataclass
class Transcript:
    """What was said in a clip. `notes`: what the user should know."""

    segments: list[Segment] = field(default_factory=list)
    language: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All of it, in one line."""
        return " ".join(part for segment in self.segments if (part := segment.text.strip()))


def int8_attention(q: Float32, k: Float32, v: Float32, layer: int = 0) -> Float32:
    """The encoder's attention in sound int8; Q is already scaled."""
    del layer
    out: Float32 = attention(q, k, v, scaling=1.0)
    return out


ATTENTION: dict[str, AttentionFunction] = {"int8": int8_attention, "float": softmax_attention}
"""The encoder's attention by name."""


def transcribe(
    weights: WhisperWeights,
    vocabulary: Vocabulary,
    audio: Audio,
    *,
    attention: AttentionFunction = int8_attention,
    language: str | None = None,
    progress: Progress | None = None,
    observer: Observer | None = None,
) -> Transcript:
    """Transcribe a clip of any length, greedily.

    Args:
        weights: a model with its decoder.
        vocabulary: the model's.
        audio: mono, 16 kHz.
        attention: of the encoder.
        language: a code such as `en`; None: heard from the first window.
        progress: told how far it is.
        observer: called after each encoder layer.

    Raises:
        InputError: a language that the model does not know, or no decoder.
    """
    language = _known_language(vocabulary, language)
    found = Transcript(language=language, notes=list(audio.notes))
    samples, at = audio.samples, 0
    while at < samples.size:
        window = samples[at : at + WINDOW_SAMPLES]
        if np.abs(window).max() < _SILENCE:
            at += WINDOW_SAMPLES
        else:
            encoded = encode(weights, log_mel(window, weights.dims.mel_bins), attention, observer)
            if found.language is None and vocabulary.languages:
                found.language = detect_language(Decoder(weights, encoded), vocabulary)
            at += _hear(Decoder(weights, encoded), vocabulary, found, at / SAMPLE_RATE, window.size)
        if progress is not None:
            progress(min(at, samples.size) / SAMPLE_RATE, samples.size / SAMPLE_RATE)
    if not found.segments:
        found.notes.append("no speech was found")
    return found


def _known_language(vocabulary: Vocabulary, language: str | None) -> str | None:
    known = vocabulary.languages or {"en": 0}
    if language is not None and language not in known:
        raise InputError(f"language {language!r} is not one of the model's: {', '.join(known)}")
    return language if vocabulary.languages else "en"


def _hear(decoder: Decoder, vocabulary: Vocabulary, found: Transcript, start: float, size: int) -> int:
    """Add a window's segments; gives the samples by which to go on."""
    result = search(decoder, vocabulary, found.language if vocabulary.languages else None, _MOST_TOKENS)
    if result.no_speech > _NO_SPEECH and result.mean_log_probability < _UNSURE:
        return size
    segments, heard = split_segments(result.tokens, vocabulary, size / SAMPLE_RATE)
    new = [Segment(start + s.start, start + s.end, s.text) for s in segments if s.text.strip()]
    text = " ".join(s.text for s in new).encode()
    if len(text) > _REPETITIVE * len(zlib.compress(text)):
        found.notes.append(f"the text from {start:.0f} s on repeats itself and may be wrong")
    found.segments += new
    return size if heard is None else max(round(heard * SAMPLE_RATE), SAMPLE_RATE // 10)


def split_segments(tokens: Sequence[int], vocabulary: Vocabulary, seconds: float) -> tuple[list[Segment], float | None]:
    """A window's tokens as segments, times from the window's start, and how far it was heard.

    That is the last complete segment's end where another one was begun and not ended, else None for all of it.
    """
    stamps = vocabulary.first_timestamp
    segments: list[Segment] = []
    start: float | None = None
    text: list[int] = []
    for token in tokens:
        if token < stamps:
            text.append(token)
            continue
        now = min(vocabulary.seconds(token), seconds)
        if text:
            segments.append(Segment(start or 0.0, now, vocabulary.text(text)))
            text, start = [], None
        else:
            start = now
    if not text:
        return segments, None
    if segments:
        return segments, segments[-1].end
    return [Segment(start or 0.0, seconds, vocabulary.text(text))], None
