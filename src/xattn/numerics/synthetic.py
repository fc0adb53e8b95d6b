"""Seeded stand-ins for real activations: Q, K, V with the ranges and the shape of attention of a Whisper encoder.

They are for trying things without a model. Errors measured on them say nothing about a real model's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xattn.errors import InputError


@dataclass(frozen=True)
class SyntheticActivations:
    """Q, K, V `[heads, tokens, dim]` float32. Q is already multiplied by `1 / sqrt(dim)`: attend with scaling 1."""

    q: NDArray[np.float32]
    k: NDArray[np.float32]
    v: NDArray[np.float32]


Q_ABSMAX, K_ABSMAX, V_ABSMAX = 1.3, 9.0, 7.0
"""Largest magnitudes, mid-range of those recorded from Whisper tiny.en and base (0.8-1.6, 5.4-11.5, 3.3-10)."""

_SHORT, _LONG = 6.0, 150.0
"""Correlation lengths in tokens: of a sound, and of a phrase or a pause."""

_SHARED = 0.6
"""Part of Q's and K's variance that they have in common: it makes attention local."""


def synthetic_activations(seed: int, heads: int = 6, tokens: int = 1500, dim: int = 64) -> SyntheticActivations:
    """Draw activations, the same for the same arguments.

    Tokens that are close have like Q and K, so that most rows attend most to a key within a block of themselves; heads
    and channels differ in strength, and channels have offsets, which makes the largest magnitude six to ten times the
    root mean square, as in real activations.

    Raises:
        InputError: a negative seed, or a size below 1.
    """
    if seed < 0 or min(heads, tokens, dim) < 1:
        raise InputError(f"seed {seed}, heads {heads}, tokens {tokens}, dim {dim}: expected seed >= 0 and sizes >= 1")
    rng = np.random.default_rng(seed)
    shared = _smooth_noise(rng, heads, tokens, dim)
    q, k = (np.sqrt(_SHARED) * shared + np.sqrt(1 - _SHARED) * _smooth_noise(rng, heads, tokens, dim) for _ in range(2))
    v = _smooth_noise(rng, heads, tokens, dim)
    return SyntheticActivations(
        *(_with_channels(rng, x, absmax) for x, absmax in ((q, Q_ABSMAX), (k, K_ABSMAX), (v, V_ABSMAX)))
    )


def _smooth_noise(rng: np.random.Generator, heads: int, tokens: int, dim: int) -> NDArray[np.float64]:
    """Draw `[heads, tokens, dim]` of unit variance, one third each white, over sounds and over phrases."""
    parts = [_filtered(rng.standard_normal((heads, tokens, dim)), length) for length in (0.0, _SHORT, _LONG)]
    mixed: NDArray[np.float64] = np.sum(parts, axis=0) * len(parts) ** -0.5
    return mixed


def _filtered(noise: NDArray[np.float64], length: float) -> NDArray[np.float64]:
    """Smooth along the tokens with a Gaussian of this length in tokens, and restore unit variance."""
    frequency = np.fft.rfftfreq(noise.shape[-2])[:, np.newaxis]
    response = np.exp(-2 * (np.pi * frequency * length) ** 2)
    smooth: NDArray[np.float64] = np.fft.irfft(np.fft.rfft(noise, axis=-2) * response, n=noise.shape[-2], axis=-2)
    spread: NDArray[np.float64] = np.maximum(smooth.std(axis=(-2, -1), keepdims=True), 1e-12)
    return smooth / spread


def _with_channels(rng: np.random.Generator, x: NDArray[np.float64], absmax: float) -> NDArray[np.float32]:
    """Give every head its strength, every channel its strength and offset, and the whole its largest magnitude."""
    heads, _, dim = x.shape
    gain = np.exp(0.2 * rng.standard_normal((heads, 1, dim)))
    offset = 0.4 * rng.standard_normal((heads, 1, dim))
    sharpness = np.exp(0.25 * rng.standard_normal((heads, 1, 1)))
    y = sharpness * gain * (x + offset)
    return (y * (absmax / max(float(np.abs(y).max()), 1e-12))).astype(np.float32)
