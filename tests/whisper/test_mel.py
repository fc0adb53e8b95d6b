from __future__ import annotations

import cmath
import math

import numpy as np
import pytest

from xattn.errors import InputError
from xattn.whisper.audio import load_audio
from xattn.whisper.clips import jfk_path
from xattn.whisper.mel import log_mel, mel_filters


def slaney_hz(mel: float) -> float:
    """The Auditory Toolbox's scale as it is usually written: 200/3 Hz a mel, then log steps of ln(6.4)/27."""
    return mel * 200 / 3 if mel < 15 else 1000 * math.exp(math.log(6.4) / 27 * (mel - 15))


def slaney_mel(hz: float) -> float:
    return hz * 3 / 200 if hz < 1000 else 15 + math.log(hz / 1000) * 27 / math.log(6.4)


def filter_weight(mel_bins: int, row: int, hz: float) -> float:
    """One filter's weight at one frequency, by the definition of an area-normalised triangle."""
    low, centre, high = (slaney_hz(slaney_mel(8000.0) * (row + i) / (mel_bins + 1)) for i in range(3))
    if not low < hz < high:
        return 0.0
    return 2 / (high - low) * ((hz - low) / (centre - low) if hz <= centre else (high - hz) / (high - centre))


@pytest.mark.parametrize("mel_bins", [80, 128])
def test_filters_are_the_definition(mel_bins):
    expected = [[filter_weight(mel_bins, m, 40.0 * k) for k in range(201)] for m in range(mel_bins)]
    assert np.allclose(mel_filters(mel_bins), expected, rtol=1e-9, atol=1e-15)


NOISE = np.random.default_rng(4).normal(0, 0.1, 16000).astype(np.float32)  # loud from its first sample to its last


@pytest.mark.parametrize(
    ("samples", "frames"),
    [(load_audio(jfk_path()).samples, (0, 77, 300, 820, 1098)), (NOISE, (0, 1, 50, 99, 100, 101))],
    ids=["speech", "noise"],
)
def test_a_frame_is_the_definition(samples, frames):
    got = log_mel(samples)
    floor = float(got.max()) * 4 - 4 - 8  # the limit is found over all frames; below it a frame is then a plain sum
    above = 0
    for frame in frames:
        window = []
        for n in range(400):
            at = abs(frame * 160 + n - 200)  # reflected before the first sample, silent after the last
            sample = float(samples[at]) if at < samples.size else 0.0
            window.append(sample * (0.5 - 0.5 * math.cos(2 * math.pi * n / 400)))
        power = [
            abs(sum(x * cmath.exp(-2j * math.pi * k * n / 400) for n, x in enumerate(window))) ** 2 for k in range(201)
        ]
        for row in (0, 7, 40, 79):
            energy = sum(filter_weight(80, row, 40.0 * k) * p for k, p in enumerate(power))
            value = math.log10(max(energy, 1e-10))
            above += value > floor
            assert got[row, frame] == pytest.approx((max(value, floor) + 4) / 4, abs=1e-6), (frame, row)
    assert above >= 10


def test_shape_padding_and_trimming():
    rng = np.random.default_rng(0)
    long = rng.normal(0, 0.1, 35 * 16000).astype(np.float32)
    got = log_mel(long)
    assert (got.shape, got.dtype) == ((80, 3000), np.float32)
    assert np.array_equal(got, log_mel(long[: 30 * 16000]))
    short = long[:8000]
    assert np.array_equal(log_mel(short), log_mel(np.concatenate([short, np.zeros(9000, np.float32)])))
    assert log_mel(long, 128).shape == (128, 3000)


def test_silence_is_the_lower_limit():
    # log10 of the least power, 1e-10, is −10; (−10 + 4) / 4
    assert np.array_equal(log_mel(np.zeros(16000, np.float32)), np.full((80, 3000), -1.5, np.float32))


@pytest.mark.parametrize("samples", [np.zeros(0), np.zeros((2, 9)), np.array([0, np.nan]), np.array([np.inf])])
def test_unusable_samples_are_refused(samples):
    with pytest.raises(InputError, match="samples"):
        log_mel(samples.astype(np.float32))


def test_unusable_bins_are_refused():
    with pytest.raises(InputError, match="0 mel bins; Whisper models have 80 or 128"):
        log_mel(np.ones(9, np.float32), 0)


@pytest.mark.slow
@pytest.mark.parametrize("mel_bins", [80, 128])
def test_transformers_agrees(mel_bins):
    transformers = pytest.importorskip(
        "transformers",
        reason="transformers is not installed: the comparison with its WhisperFeatureExtractor is left out",
    )
    samples = load_audio(jfk_path()).samples
    extractor = transformers.WhisperFeatureExtractor(feature_size=mel_bins)
    theirs = extractor(samples, sampling_rate=16000, return_tensors="np").input_features[0]
    # With torch installed it computes in float32, which alone costs up to 5e-5 in the quietest bins.
    assert np.abs(log_mel(samples, mel_bins) - theirs).max() < 1e-4
    padded = np.concatenate([samples, np.zeros(480000 - samples.size)])
    in_double = extractor._np_extract_fbank_features(padded[None], "cpu")[0]
    assert np.abs(log_mel(samples, mel_bins) - in_double).max() < 1e-6
