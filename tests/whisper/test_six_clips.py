"""Tiny.en and base on six real clips: int8 keeps every text, and known figures of int8's cost come out again.

The figures were measured apart from this package, with PyTorch's encoder and CTranslate2's decoder, on the same clips.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from xattn.numerics.metrics import relative_l2
from xattn.whisper.audio import load_audio
from xattn.whisper.compare import compare
from xattn.whisper.encoder import encode, softmax_attention
from xattn.whisper.mel import log_mel
from xattn.whisper.quality import measure_quality
from xattn.whisper.schemes import scheme
from xattn.whisper.spoken import read_spoken, spoken_in
from xattn.whisper.vocabulary import Vocabulary, load_vocabulary
from xattn.whisper.weights import WhisperWeights

pytestmark = pytest.mark.slow

# Mean relative L2 of the encoder's output, by scheme: tiny.en, base.
ENCODER_ERRORS = {
    "qkv-tensor": (0.013, 0.030),
    "qkv-head": (0.008, 0.021),
    "p-int8": (0.067, 0.053),
    "p-uint8": (0.049, 0.035),
    "p-int16": (0.008, 0.022),
    "seed-scaled": (0.59, 0.77),
    "tile-float": (0.53, 0.49),
}


@pytest.fixture(params=["tiny_en", "whisper_base"])
def model(request: pytest.FixtureRequest) -> WhisperWeights:
    weights: WhisperWeights = request.getfixturevalue(request.param)
    return weights


def texts_of(weights: WhisperWeights) -> Vocabulary:
    pytest.importorskip("tokenizers", reason="NOT CHECKED: text needs the package tokenizers")
    return load_vocabulary(weights.path, weights.dims.vocabulary)


def test_int8_keeps_every_text(model: WhisperWeights, six_clips: list[Path]) -> None:
    assert len(six_clips) == 6
    for path in six_clips:
        both = compare(model, texts_of(model), load_audio(path), language="en")
        assert both.int8.text == both.float_.text and len(both.int8.text) > 30
        assert both.wer == 0 and both.encoder_cosine > 0.9997


def test_encoder_errors(model: WhisperWeights, six_clips: list[Path]) -> None:
    errors: dict[str, list[float]] = {name: [] for name in ENCODER_ERRORS}
    for path in six_clips:
        mel = log_mel(load_audio(path).samples, model.dims.mel_bins)
        truth = encode(model, mel, softmax_attention)
        for name, found in errors.items():
            found.append(relative_l2(encode(model, mel, scheme(name)), truth))
    for name, found in errors.items():
        expected = ENCODER_ERRORS[name][model.name != "Whisper tiny.en"]
        digits = len(str(expected).split(".")[1])
        # to the last decimal that is known, and a little for another order of summation
        assert np.mean(found) == pytest.approx(expected, abs=0.6 * 10**-digits), name


def test_the_table_against_what_is_said(tiny_en: WhisperWeights, six_clips: list[Path]) -> None:
    """Float mishears 3 of 93 words, `sound` the same; what the seed's arithmetic keeps is less."""
    spoken = spoken_in(six_clips, read_spoken(six_clips[1].parent / "transcription"))
    chosen = [scheme(name) for name in ("float", "sound", "seed-scaled")]
    clips = [load_audio(path) for path in six_clips]
    record = measure_quality(tiny_en, clips, chosen, texts_of(tiny_en), spoken=spoken)
    rows = {row.name: row for row in record.schemes}
    assert rows["float"].wer_spoken == rows["sound"].wer_spoken == pytest.approx(0.032, abs=0.0005)
    assert rows["sound"].same_texts == 6 and rows["sound"].wer == 0
    assert rows["sound"].rel_l2_mean < 0.009 and rows["sound"].encoder_cosine > 0.9999
    assert rows["seed-scaled"].wer_spoken > 0.06
