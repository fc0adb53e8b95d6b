"""Greedy search for what was said in one window, by Whisper's rules for timestamps.

The rules are those of openai/whisper's decoding.py, in own words: a transcript starts with a timestamp of at most one
second; timestamps come in pairs around text and never run backwards; and where timestamps together are likelier than
any text token, one of them is taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xattn.whisper.decoder import Decoder
from xattn.whisper.tensors import Float32
from xattn.whisper.vocabulary import TIMESTAMP_SECONDS, Vocabulary

_LATEST_START = round(1.0 / TIMESTAMP_SECONDS)


@dataclass(frozen=True)
class Found:
    """What was found in a window.

    Attributes:
        tokens: text and timestamps, without prompt and end.
        mean_log_probability: of these tokens and the end, natural logarithm.
        no_speech: probability that nobody speaks.
    """

    tokens: list[int]
    mean_log_probability: float
    no_speech: float


def detect_language(decoder: Decoder, vocabulary: Vocabulary) -> str:
    """The likeliest language, by code. The decoder has said something then: take another one for the transcript."""
    logits = decoder.say([vocabulary.start])
    return max(vocabulary.languages, key=lambda code: float(logits[vocabulary.languages[code]]))


def search(decoder: Decoder, vocabulary: Vocabulary, language: str | None, most_tokens: int) -> Found:
    """Take the likeliest allowed token until the end, or so many.

    `language`: a code, None for a model that knows English alone.
    """
    prompt = vocabulary.prompt(language)
    first = decoder.say(prompt[:1])
    no_speech = float(np.exp(_log_softmax(first)[vocabulary.no_speech]))
    logits = decoder.say(prompt[1:]) if len(prompt) > 1 else first
    tokens: list[int] = []
    total = 0.0
    while True:
        allowed = _log_softmax(_allowed(logits, tokens, vocabulary))
        token = int(allowed.argmax())
        total += float(allowed[token])
        if token == vocabulary.end or len(tokens) + 1 >= most_tokens:
            break
        tokens.append(token)
        logits = decoder.say([token])
    return Found(tokens, total / (len(tokens) + 1), no_speech)


def _log_softmax(logits: Float32) -> Float32:
    top = logits.max()
    shifted: Float32 = logits - top
    shifted -= np.log(np.exp(shifted).sum())
    return shifted


def _allowed(logits: Float32, tokens: list[int], vocabulary: Vocabulary) -> Float32:
    """The logits, minus infinity where the rules allow no token."""
    allowed: Float32 = logits.copy()
    stamps = vocabulary.first_timestamp
    allowed[list(vocabulary.never)] = -np.inf
    allowed[vocabulary.end + 1 : stamps] = -np.inf  # tasks, languages, no_timestamps
    if not tokens:
        allowed[list(vocabulary.never_first)] = -np.inf
        allowed[:stamps] = -np.inf
        allowed[stamps + _LATEST_START + 1 :] = -np.inf
        return allowed
    last_is_stamp = tokens[-1] >= stamps
    before_is_stamp = len(tokens) < 2 or tokens[-2] >= stamps
    if last_is_stamp and before_is_stamp:
        allowed[stamps:] = -np.inf
    elif last_is_stamp:
        allowed[: vocabulary.end] = -np.inf
    said = [token for token in tokens if token >= stamps]
    if said:  # a stretch of text takes time; an end may be followed by a start at the same time
        least = said[-1] if last_is_stamp and not before_is_stamp else said[-1] + 1
        allowed[stamps:least] = -np.inf
    return _prefer_timestamps(allowed, stamps)


def _prefer_timestamps(allowed: Float32, stamps: int) -> Float32:
    log = _log_softmax(allowed)
    together = np.logaddexp.reduce(log[stamps:])
    if together > log[:stamps].max():
        allowed[:stamps] = -np.inf
    return allowed
