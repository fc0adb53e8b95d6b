"""What an encoder block computes besides attention, in integers: GELU, linear layers, LayerNorm, the last division.

Each module has the integer model, which kernels equal bit for bit, and how its constants come from real scales. Every
shift to the right rounds to the nearest, ties towards +infinity, and every narrowing saturates.
"""

from xattn.numerics.layers.attention_end import attention_end
from xattn.numerics.layers.gelu import GeluConstants, gelu, gelu_constants
from xattn.numerics.layers.layer_norm import NormConstants, layer_norm, norm_constants
from xattn.numerics.layers.linear import (
    Requantization,
    add_to_residual,
    linear_sums,
    requantization,
    requantize,
)

__all__ = [
    "GeluConstants",
    "NormConstants",
    "Requantization",
    "add_to_residual",
    "attention_end",
    "gelu",
    "gelu_constants",
    "layer_norm",
    "linear_sums",
    "norm_constants",
    "requantization",
    "requantize",
]
