"""What repeated timings say: least, median, 95th percentile, and how sure the median is."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from xattn.errors import InputError

CONFIDENCE = 0.95
_RESAMPLES = 2000
_SEED = 20  # the same samples give the same interval


class Timing(msgspec.Struct, kw_only=True):
    """Repeated measurements of one thing, in seconds of wall clock."""

    warmup: int
    """Calls before the first one that counts."""
    samples: list[float]
    min: float
    median: float
    p95: float
    low: float
    """Lower end of the median's bootstrap interval (95 %)."""
    high: float
    other_load: float | None
    """Processors that other programs kept busy meanwhile, on average; null where the system does not tell."""
    disturbed: bool
    """Whether that was so much that the figures may be too high."""


def summarize(samples: Sequence[float], warmup: int, other_load: float | None, disturbed: bool) -> Timing:
    """The statistics of at least one sample (seconds)."""
    if not samples:
        raise InputError("no samples: at least one is needed")
    low, high = bootstrap_median(samples)
    return Timing(
        warmup=warmup,
        samples=list(samples),
        min=min(samples),
        median=float(np.median(samples)),
        p95=float(np.quantile(samples, 0.95)),
        low=low,
        high=high,
        other_load=other_load,
        disturbed=disturbed,
    )


def bootstrap_median(samples: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Percentile bootstrap interval of the median: the same for the same samples. One sample gives no width."""
    values = np.asarray(samples, np.float64)
    drawn = np.random.default_rng(_SEED).integers(0, values.size, (_RESAMPLES, values.size))
    medians = np.median(values[drawn], axis=1)
    low, high = np.quantile(medians, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
