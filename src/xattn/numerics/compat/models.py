"""The compatible attention models by name: v0, v1, v3 and lut, each the composition of three exposed stages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xattn.errors import InputError
from xattn.numerics.checks import require_dtype, require_qkv_shapes
from xattn.numerics.compat.softmax import weights_lut, weights_v0, weights_v1, weights_v3
from xattn.numerics.compat.stages import (
    DEFAULT_SHIFT,
    output_floor,
    output_rounded,
    scores_clamped,
    scores_wide,
)

Int8Array: TypeAlias = NDArray[np.int8]


@dataclass(frozen=True)
class CompatModel:
    """One integer attention, stage by stage; calling it runs all three.

    `scores` is int8 `[..., queries, keys]`, int32 for v3; `weights` int8 of the same shape; `output` int8
    `[..., queries, width]`. The same head size and token count are expected of Q, K, V, but any is taken: all given
    keys are attended to. Sums are taken without wrapping; the 32-bit sums of the original wrap only in v3 and from
    4,096 keys on.
    """

    name: str
    summary: str
    scores: Callable[[Int8Array, Int8Array, int], NDArray[Any]]
    weights: Callable[[NDArray[Any]], Int8Array]
    output: Callable[[Int8Array, Int8Array], Int8Array]

    def __call__(self, q: Int8Array, k: Int8Array, v: Int8Array, shift: int = DEFAULT_SHIFT) -> Int8Array:
        """Attend: int8 Q, K, V `[..., tokens, dim]` -> int8 O `[..., tokens, dim]`.

        Raises:
            InputError: a dtype that is not int8, shapes that do not fit together, or a shift outside 0..31.
        """
        for name, array in (("q", q), ("k", k), ("v", v)):
            require_dtype(name, array, [np.int8])
        require_qkv_shapes(q, k, v)
        return self.output(self.weights(self.scores(q, k, shift)), v)


v0 = CompatModel("v0", "parabola for exp, floor division: the baseline", scores_clamped, weights_v0, output_floor)
v1 = CompatModel("v1", "piecewise exp, rounded division and output", scores_clamped, weights_v1, output_rounded)
v3 = CompatModel("v3", "int32 scores, exp table in steps of one nat", scores_wide, weights_v3, output_rounded)
lut = CompatModel("lut", "exp table of 256 bytes, floor division", scores_clamped, weights_lut, output_floor)

COMPAT_MODELS = MappingProxyType({model.name: model for model in (v0, v1, v3, lut)})


def compat_model(name: str) -> CompatModel:
    """Look a model up by name.

    Raises:
        InputError: an unknown name.
    """
    if name not in COMPAT_MODELS:
        raise InputError(f"no compatible attention model {name!r}, expected one of {', '.join(COMPAT_MODELS)}")
    return COMPAT_MODELS[name]
