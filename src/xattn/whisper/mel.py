"""Whisper's log-mel spectrogram in NumPy.

The definition is Whisper's (openai/whisper audio.py, described in section 2.2 of its paper, arXiv 2212.04356): 16 kHz
samples padded or trimmed to 30 s, a centred short-time Fourier transform (periodic Hann window of 400, hop of 160,
reflected edges), power, Slaney's mel filters with area normalisation, log10 limited to 8 decades below the maximum, and
(x + 4) / 4.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from xattn.errors import InputError
from xattn.whisper.audio import SAMPLE_RATE

WINDOW_SECONDS = 30
WINDOW_SAMPLES = WINDOW_SECONDS * SAMPLE_RATE
FRAMES = 3000
_FFT = 400
_HOP = 160

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


def log_mel(samples: Float32, mel_bins: int = 80) -> Float32:
    """The log-mel spectrogram, float32 [mel_bins, 3000], of the first 30 s of mono 16 kHz samples [n].

    Shorter audio is padded with silence. ``mel_bins`` is 80, or 128 for large-v3. InputError for an empty or
    multi-dimensional array, or one with NaN or infinity. Computed in float64, rounded once at the end.
    """
    if samples.ndim != 1 or samples.size == 0:
        raise InputError(f"samples have shape {samples.shape}; expected one dimension with at least one sample")
    window = np.zeros(WINDOW_SAMPLES)
    heard = samples[:WINDOW_SAMPLES]
    window[: heard.size] = heard
    if not np.isfinite(window).all():
        raise InputError("samples hold NaN or infinity; expected finite values within ±1")
    power = mel_filters(mel_bins) @ _power_spectrum(window)
    log = np.log10(np.maximum(power, 1e-10))
    log = np.maximum(log, log.max() - 8.0)
    scaled: Float32 = ((log + 4.0) / 4.0).astype(np.float32)
    return scaled


def _power_spectrum(window: Float64) -> Float64:
    """The power [201, 3000] of centred frames; the 3001st frame is left out, as Whisper does."""
    padded = np.pad(window, _FFT // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::_HOP][:FRAMES]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FFT) / _FFT)
    spectrum = np.fft.rfft(frames * hann, axis=1)
    power: Float64 = (spectrum.real**2 + spectrum.imag**2).T
    return power


@cache
def mel_filters(mel_bins: int) -> Float64:
    """Slaney's triangular filters [mel_bins, 201]: each rises and falls linearly in Hz, with area 1 Hz·(1/Hz).

    Corner frequencies are evenly spaced on the mel scale from 0 to 8 kHz.
    """
    if not 1 <= mel_bins <= 512:
        raise InputError(f"{mel_bins} mel bins; Whisper models have 80 or 128")
    bins = np.linspace(0, SAMPLE_RATE / 2, _FFT // 2 + 1)
    corners = _hz(np.linspace(0, _mel(SAMPLE_RATE / 2), mel_bins + 2))
    low, centre, high = (corners[i : i + mel_bins, None] for i in range(3))
    triangles = np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre))
    filters: Float64 = np.maximum(triangles, 0) * 2 / (high - low)
    filters.flags.writeable = False
    return filters


# Slaney's mel scale (Auditory Toolbox, 1998): linear, 15 mel per kHz, up to 1 kHz; above, 27 mel per factor of 6.4.
_KNEE_HZ, _KNEE_MEL, _MEL_PER_LOG = 1000.0, 15.0, 27 / np.log(6.4)


def _mel(hz: float) -> float:
    """A frequency above the knee in mel."""
    return float(_KNEE_MEL + _MEL_PER_LOG * np.log(hz / _KNEE_HZ))


def _hz(mel: Float64) -> Float64:
    above: Float64 = _KNEE_HZ * np.exp((mel - _KNEE_MEL) / _MEL_PER_LOG)
    return np.where(mel < _KNEE_MEL, mel * (_KNEE_HZ / _KNEE_MEL), above)
