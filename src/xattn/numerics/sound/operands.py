"""From float Q, K, V to the int8 operands of sound attention, with every scale folded into one power of two."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from xattn.errors import InputError
from xattn.numerics.checks import require_qkv_shapes
from xattn.numerics.quantize import QMAX, absmax, quantize
from xattn.numerics.sound.steps import OCTAVE

MAX_SHIFT = 31
MIN_SHIFT = -16
"""One unit of a dot product then saturates the scores."""

_TINY = 2.0**-200

Share: TypeAlias = Literal["channel", "head"]
"""What shares one scale of Q and one of K: each channel of a head, or all channels of it."""


@dataclass(frozen=True)
class SoundOperands:
    """int8 operands and the scales that give the floats back.

    Attributes:
        q: `[..., queries, dim]` int8.
        k: `[..., keys, dim]` int8.
        v: `[..., keys, width]` int8.
        shift: `[..., 1, 1]` int32: a dot product of the integers, divided by `2**shift`, is the logit in 1/128 octave.
        q_scale: `[..., 1, dim]` float64, one a channel, or `[..., 1, 1]`, one a head.
        k_scale: the same; `q_scale * k_scale` is one number a head.
        v_scale: `[..., 1, width]` float64, one a channel: it is applied after the division, so it costs nothing.
    """

    q: NDArray[np.int8]
    k: NDArray[np.int8]
    v: NDArray[np.int8]
    shift: NDArray[np.int32]
    q_scale: NDArray[np.float64]
    k_scale: NDArray[np.float64]
    v_scale: NDArray[np.float64]


def power_of_two_scales(
    q_range: NDArray[np.float64], k_range: NDArray[np.float64], scaling: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int32]]:
    """Choose scales of Q and K whose product is one power of two of 1/128 octave, the same for all channels of a head.

    A dot product needs the same *product* of scales in every channel, not the same scales: what channel c of Q loses,
    channel c of K gains. So the product is the smallest that fits the largest `q_range * k_range` of any channel into
    int8 twice, raised to the next power of two, and each channel splits it in proportion to its ranges. The raise
    costs each side less than sqrt 2, i.e. less than half a bit.

    Args:
        q_range: `[..., 1, channels]`, the largest magnitude of Q's channels; one channel stands for all.
        k_range: the same of K.
        scaling: factor of the dot products, which the product of scales takes in.

    Returns:
        the scales of Q and K, shaped as the ranges, and the shift, `[..., 1, 1]` int32 (at most 31; negative where dot
        products must be shifted left).

    Raises:
        InputError: `scaling` is not a positive finite number, or the shift would be below -16.
    """
    if not (math.isfinite(scaling) and scaling > 0):
        raise InputError(f"scaling is {scaling}, expected a positive finite number")
    octaves = scaling * math.log2(math.e) * OCTAVE
    smallest = (q_range * k_range).max(axis=(-2, -1), keepdims=True) / QMAX**2 * octaves
    shift = np.minimum(np.floor(-np.log2(np.maximum(smallest, _TINY))), MAX_SHIFT)
    if (shift < MIN_SHIFT).any():
        raise InputError(
            f"q and k reach {q_range.max():.3g} and {k_range.max():.3g}: their logits cannot be told apart in int8, "
            "scale them down"
        )
    product = np.exp2(-shift) / octaves
    q_scale = np.sqrt(product * _without_zeros(q_range) / _without_zeros(k_range))
    return q_scale, product / q_scale, shift.astype(np.int32)


def _without_zeros(channel_range: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give channels that are all zero, which count in no dot product, the head's range: their scales stay finite."""
    top: NDArray[np.float64] = channel_range.max(axis=(-2, -1), keepdims=True)
    return np.where(channel_range > 0, channel_range, np.where(top > 0, top, 1.0))


def quantize_operands(
    q: NDArray[Any],
    k: NDArray[Any],
    v: NDArray[Any],
    *,
    scaling: float | None = None,
    share: Share = "channel",
    smooth_k: bool = False,
) -> SoundOperands:
    """Quantize Q, K and V, round-half-even: V per channel, Q and K by the scales of `power_of_two_scales`.

    Args:
        q: `[..., queries, dim]` floats.
        k: `[..., keys, dim]` floats.
        v: `[..., keys, width]` floats.
        scaling: factor of the dot products; None means `1 / sqrt(dim)`. Whisper multiplies Q by it beforehand: pass 1.
        share: what shares the scales of Q and K; the shift is one a head either way.
        smooth_k: subtract K's mean over the keys first. It changes no softmax, and helps where K has large offsets.

    Raises:
        InputError: shapes that do not fit together, NaN or infinity.
    """
    require_qkv_shapes(q, k, v)
    if share not in get_args(Share):
        raise InputError(f"share is {share!r}, expected one of {', '.join(get_args(Share))}")
    if smooth_k:
        k = k - k.mean(axis=-2, keepdims=True)
    factor = q.shape[-1] ** -0.5 if scaling is None else scaling
    q_scale, k_scale, shift = power_of_two_scales(absmax(q, share), absmax(k, share), factor)
    v_quantized = quantize(v, "channel")
    return SoundOperands(
        q=quantize(q, scale=q_scale).values,
        k=quantize(k, scale=k_scale).values,
        v=v_quantized.values,
        shift=shift,
        q_scale=q_scale,
        k_scale=k_scale,
        v_scale=v_quantized.scale,
    )
