"""The integer attention of the original kernels, bit for bit, flaws included.

Kernels are proven against these stage by stage. They are no recommendation: see `xattn.numerics.sound` for an integer
attention that keeps a model intact.
"""

from xattn.numerics.compat.models import COMPAT_MODELS, CompatModel, compat_model, lut, v0, v1, v3
from xattn.numerics.compat.packed import matmul_int8, matmul_int8_packed, pack_qkv, unpack_qkv
from xattn.numerics.compat.softmax import weights_lut, weights_v0, weights_v1, weights_v3
from xattn.numerics.compat.stages import DEFAULT_SHIFT, output_floor, output_rounded, scores_clamped, scores_wide

__all__ = [
    "COMPAT_MODELS",
    "DEFAULT_SHIFT",
    "CompatModel",
    "compat_model",
    "lut",
    "matmul_int8",
    "matmul_int8_packed",
    "output_floor",
    "output_rounded",
    "pack_qkv",
    "scores_clamped",
    "scores_wide",
    "unpack_qkv",
    "v0",
    "v1",
    "v3",
    "weights_lut",
    "weights_v0",
    "weights_v1",
    "weights_v3",
]
