"""The stages of attention, by the names under which kernels record them and profiles show them."""

from __future__ import annotations

SCORES = "Q·Kᵀ"
SOFTMAX = "softmax"
OUTPUT = "P·V"
