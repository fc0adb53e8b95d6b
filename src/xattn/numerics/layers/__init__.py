"""What an encoder block computes besides attention, in integers: GELU.

Each module has the integer model, which kernels equal bit for bit, and how its constants come from real scales. Every
shift to the right rounds to the nearest, ties towards +infinity, and every narrowing saturates.
"""

from xattn.numerics.layers.gelu import GeluConstants, gelu, gelu_constants, gelu_scale

__all__ = ["GeluConstants", "gelu", "gelu_constants", "gelu_scale"]
