"""How much of a model a scheme of attention keeps: by layer, over the encoder, in the text, and on awkward rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from xattn.errors import InputError
from xattn.numerics.adversarial import ADVERSARIAL_CASES, adversarial_case
from xattn.numerics.metrics import cosine, kl_divergence, relative_l2, top1_agreement
from xattn.numerics.quantize import quantize
from xattn.whisper.audio import Audio
from xattn.whisper.encoder import encode, softmax_attention
from xattn.whisper.mel import log_mel
from xattn.whisper.schemes import Scheme, scheme
from xattn.whisper.tensors import Float32
from xattn.whisper.transcribe import transcribe
from xattn.whisper.vocabulary import Vocabulary
from xattn.whisper.weights import WhisperWeights
from xattn.whisper.word_errors import word_errors, words

_AWKWARD_TOKENS = 192
_SCORE_RANGE = 8.0  # of awkward rows' logits, in nats: scores that a softmax tells apart

Progress = Callable[[int, int, str], None]


class SchemeQuality(msgspec.Struct, kw_only=True):
    """One scheme, over all layers of all clips. Each clip counts by its first 30 s.

    `cosine_worst`, `rel_l2_*`, `kl_mean` (nats) and `top1_mean` (fraction of rows whose heaviest key is the same) are
    of layers' attention given the float model's Q, K and V; `encoder_cosine` is the worst of the clips' encoder outputs
    with the scheme throughout, `encoder_rel_l2` the mean of their relative L2. `wer` is against the float text, over
    all clips' words together; null without a decoder. `wer_spoken` is against what was said; null where that is not
    known. `awkward_worst` is the largest relative L2 of the adversarial rows, `awkward_case` which of them it is.
    """

    name: str
    summary: str
    cosine_worst: float
    rel_l2_mean: float
    rel_l2_worst: float
    kl_mean: float
    top1_mean: float
    encoder_cosine: float
    encoder_rel_l2: float
    wer: float | None
    wer_spoken: float | None
    same_texts: int | None
    awkward_worst: float
    awkward_case: str


class QualityRecord(msgspec.Struct, kw_only=True):
    """A whole table."""

    model: str
    clips: list[str]
    schemes: list[SchemeQuality]
    texts: dict[str, list[str]]


def measure_quality(
    weights: WhisperWeights,
    clips: Sequence[Audio],
    chosen: Sequence[Scheme],
    vocabulary: Vocabulary | None = None,
    *,
    language: str | None = None,
    spoken: Sequence[str] | None = None,
    progress: Progress = lambda *_: None,
) -> QualityRecord:
    """Judge schemes on clips.

    Args:
        weights: the model.
        clips: speech; the first 30 s of each are used.
        chosen: schemes, judged in this order.
        vocabulary: for texts and word error rates; None leaves them out.
        language: of the speech.
        spoken: what is said in each clip, where that is known.
        progress: told what is done.

    Raises:
        InputError: no clips, or no schemes, or another number of spoken texts than of clips.
    """
    if not clips or not chosen:
        raise InputError("nothing to judge: expected at least one clip and one scheme")
    if spoken is not None and len(spoken) != len(clips):
        raise InputError(f"{len(spoken)} spoken texts for {len(clips)} clips, expected one for each")
    total = len(clips) * (len(chosen) + 1)
    heard = []
    for number, clip in enumerate(clips):
        progress(number, total, f"{clip.name}: float")
        heard.append(_Heard(weights, clip, vocabulary, language))
    found, texts = [], {"float": [h.text for h in heard if h.text is not None]}
    for place, judged in enumerate(chosen):
        rows = []
        for number, one in enumerate(heard):
            progress(len(clips) * (place + 1) + number, total, f"{one.clip.name}: {judged.name}")
            rows.append(one.judge(judged))
        found.append(_together(judged, rows, heard, spoken))
        if vocabulary is not None:
            texts[judged.name] = [row.text for row in rows if row.text is not None]
    return QualityRecord(model=weights.name, clips=[c.name for c in clips], schemes=found, texts=texts)


class _Row(msgspec.Struct):
    """One scheme on one clip; lists are by layer."""

    cosine: list[float]
    rel_l2: list[float]
    kl: list[float]
    top1: list[float]
    encoder_cosine: float
    encoder_rel_l2: float
    text: str | None


class _Heard:
    """A clip as the float model hears it."""

    def __init__(
        self, weights: WhisperWeights, clip: Audio, vocabulary: Vocabulary | None, language: str | None
    ) -> None:
        self.weights, self.clip, self.vocabulary, self.language = weights, clip, vocabulary, language
        self.reference = scheme("float")
        self.mel = log_mel(clip.samples, weights.dims.mel_bins)
        self.layers: list[tuple[Float32, Float32, Float32, Float32]] = []
        self.encoded = encode(weights, self.mel, softmax_attention, lambda _, *qkvo: self.layers.append(qkvo))
        self.text = None if vocabulary is None else self._text(softmax_attention)

    def _text(self, attention: Callable[..., Float32]) -> str | None:
        if self.vocabulary is None:
            return None
        found = transcribe(self.weights, self.vocabulary, self.clip, attention=attention, language=self.language)
        return found.text

    def judge(self, judged: Scheme) -> _Row:
        row = _Row([], [], [], [], 0.0, 0.0, None)
        for q, k, v, truth in self.layers:
            output = judged(q, k, v)
            row.cosine.append(cosine(output, truth))
            row.rel_l2.append(relative_l2(output, truth))
            for head in range(len(q)):
                one = slice(head, head + 1)
                expected, found = self.reference.weights(q[one], k[one]), judged.weights(q[one], k[one])
                row.kl.append(kl_divergence(found, expected))
                row.top1.append(top1_agreement(found, expected))
        encoded, truth = np.ravel(encode(self.weights, self.mel, judged)), np.ravel(self.encoded)
        row.encoder_cosine, row.encoder_rel_l2 = cosine(encoded, truth), relative_l2(encoded, truth)
        row.text = self._text(judged)
        return row


def _together(judged: Scheme, rows: list[_Row], heard: list[_Heard], spoken: Sequence[str] | None) -> SchemeQuality:
    awkward = awkward_errors(judged)
    worst = max(awkward, key=lambda name: awkward[name])
    pairs = [(h.text, r.text) for h, r in zip(heard, rows, strict=True) if h.text is not None and r.text is not None]
    texts = [row.text for row in rows if row.text is not None]
    return SchemeQuality(
        name=judged.name,
        summary=judged.summary,
        cosine_worst=min(min(row.cosine) for row in rows),
        rel_l2_mean=float(np.mean([row.rel_l2 for row in rows])),
        rel_l2_worst=max(max(row.rel_l2) for row in rows),
        kl_mean=float(np.mean([row.kl for row in rows])),
        top1_mean=float(np.mean([row.top1 for row in rows])),
        encoder_cosine=min(row.encoder_cosine for row in rows),
        encoder_rel_l2=float(np.mean([row.encoder_rel_l2 for row in rows])),
        wer=_word_errors(pairs) if pairs else None,
        wer_spoken=_word_errors(list(zip(spoken, texts, strict=True))) if spoken and texts else None,
        same_texts=sum(a == b for a, b in pairs) if pairs else None,
        awkward_worst=awkward[worst],
        awkward_case=worst,
    )


def _word_errors(pairs: list[tuple[str, str]]) -> float:
    """Errors of all texts over all their words, so that long clips count for more."""
    said = sum(len(words(text)) for text, _ in pairs)
    return sum(word_errors(*pair) for pair in pairs) / max(said, 1)


def awkward_errors(judged: Scheme) -> dict[str, float]:
    """Relative L2 of a scheme on each adversarial case, scaled so that its logits span eight nats at most."""
    errors = {}
    for name in ADVERSARIAL_CASES:
        case = adversarial_case(name, _AWKWARD_TOKENS)
        q, k, v = (x[np.newaxis].astype(np.float32) for x in (case.q, case.k, case.v))
        logits = q @ k.swapaxes(-1, -2)
        q *= np.float32(_SCORE_RANGE / max(float(np.ptp(logits, axis=-1).max()), float(np.abs(logits).max()), 1.0))
        v = quantize(v).dequantize().astype(np.float32)
        errors[name] = relative_l2(judged(q, k, v), softmax_attention(q, k, v))
    return errors
