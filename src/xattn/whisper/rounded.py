"""Attention in float, with Q, K and V or the weights P rounded to integers: which of them costs what.

No kernel computes these; they isolate one rounding each. P before division has its largest weight at a whole number,
as a late division has it; P after division sums to one, as the seed has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from xattn.numerics.quantize import Granularity, quantize
from xattn.whisper.tensors import Float32


@dataclass(frozen=True)
class Rounded:
    """Attention with these roundings, one head at a time.

    Attributes:
        scales: what shares a scale of the int8 Q, K and V.
        levels: what a weight of one is in integers; None leaves P in float.
        divided: P is divided by its row's sum `early`, before it is rounded, or `late`, after the product with V.
    """

    scales: Granularity
    levels: int | None = None
    divided: Literal["early", "late"] = "late"

    def attend(self, q: Float32, k: Float32, v: Float32) -> Float32:
        """Q, K, V `[heads, tokens, 64]` float32, Q already scaled, to O."""
        q, k, v = (quantize(x, self.scales).dequantize().astype(np.float32) for x in (q, k, v))
        return np.stack([self._shares(a, b) @ c for a, b, c in zip(q, k, v, strict=True)])

    def weights(self, q: Float32, k: Float32) -> Float32:
        """Q, K `[heads, tokens, 64]` to weights `[heads, tokens, tokens]`."""
        q, k = (quantize(x, self.scales).dequantize().astype(np.float32) for x in (q, k))
        return np.stack([self._shares(a, b) for a, b in zip(q, k, strict=True)])

    def _shares(self, q: Float32, k: Float32) -> Float32:
        scores = q @ k.T
        p: Float32 = np.exp(scores - scores.max(axis=1, keepdims=True))
        if self.divided == "early":
            p /= p.sum(axis=1, keepdims=True)
            # the seed's rows sum to 127, and its product is shifted by seven bits
            return p if self.levels is None else np.rint(p * self.levels) / np.float32(self.levels + 1)
        if self.levels is not None:
            p = np.rint(p * self.levels)
        p /= p.sum(axis=1, keepdims=True)
        return p


ROUNDED: dict[str, tuple[str, Rounded]] = {
    "qkv-tensor": ("float weights; Q, K, V in int8, one scale each", Rounded("tensor")),
    "qkv-head": ("float weights; Q, K, V in int8, a scale per head", Rounded("head")),
    "p-int8": ("the first, and P to 127 before a late division", Rounded("tensor", 127)),
    "p-uint8": ("the second, and P to 255 before a late division", Rounded("head", 255)),
    "p-int16": ("the second, and P to 32767 before a late division", Rounded("head", 32767)),
    "seed-scaled": ("the seed with right scales: P divided early, in 127 steps", Rounded("tensor", 127, "early")),
}
"""By name: what each is, in a few words, and itself."""
