"""What the answer is: integer attention models, exp tables, quantization, error metrics. NumPy only.

The names below are loaded when first used, so that ``import xattn.numerics`` costs nothing:

* ``compat``: the original kernels' integer attention bit for bit; ``compat_model("v0")`` finds one by name;
* ``sound``: the integer attention that keeps a model intact; ``attention_sound`` takes floats, the package the blocks;
* ``layers``: LayerNorm, GELU, linear layers and the division that ends attention, from int8 to int8;
* ``attention``: float attention, the truth; ``metrics``: how far from it;
* ``matmul_int``, ``exp_table``, ``c_header``, the module ``quantize``: the pieces;
* ``synthetic_activations``, ``adversarial_case``: inputs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xattn.numerics import compat, layers, metrics, quantize, sound
    from xattn.numerics.adversarial import ADVERSARIAL_CASES, adversarial_case
    from xattn.numerics.compat import compat_model
    from xattn.numerics.lut import c_header, exp_table
    from xattn.numerics.matmul import matmul_int
    from xattn.numerics.quantize import Quantized
    from xattn.numerics.reference import attention, attention_weights
    from xattn.numerics.sound import attention_sound
    from xattn.numerics.synthetic import synthetic_activations

_HOME = {
    "ADVERSARIAL_CASES": "adversarial",
    "Quantized": "quantize",
    "adversarial_case": "adversarial",
    "attention": "reference",
    "attention_sound": "sound",
    "attention_weights": "reference",
    "c_header": "lut",
    "compat_model": "compat",
    "exp_table": "lut",
    "matmul_int": "matmul",
    "synthetic_activations": "synthetic",
}
_MODULES = ("compat", "layers", "metrics", "quantize", "sound")

__all__ = [
    "ADVERSARIAL_CASES",
    "Quantized",
    "adversarial_case",
    "attention",
    "attention_sound",
    "attention_weights",
    "c_header",
    "compat",
    "compat_model",
    "exp_table",
    "layers",
    "matmul_int",
    "metrics",
    "quantize",
    "sound",
    "synthetic_activations",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
