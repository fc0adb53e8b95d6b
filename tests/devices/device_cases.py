"""Operands for tests of devices."""

from __future__ import annotations

import numpy as np

SIDE = 16


def operands(seed: int) -> list[np.ndarray]:
    """Random int8 Q, K, V [16, 16]."""
    generator = np.random.default_rng(seed)
    return [generator.integers(-127, 128, (SIDE, SIDE)).astype(np.int8) for _ in range(3)]
