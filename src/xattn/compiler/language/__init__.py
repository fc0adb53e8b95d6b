"""The kernel language: arrays, scalars, vectors and loops; running a kernel function records its program."""

from xattn.compiler.language.kernel import Kernel
from xattn.compiler.language.memory import Index, View
from xattn.compiler.language.scalar import (
    Condition,
    Scalar,
    Variable,
    clamp,
    divide,
    leading_zeros,
    maximum,
    minimum,
    select,
)
from xattn.compiler.language.types import AccumulatorType, ScalarType, VectorType, int8, int16, int32, uint8, uint16
from xattn.compiler.language.vector import Accumulator, Vector, lane_product, product

__all__ = [
    "Accumulator",
    "AccumulatorType",
    "Condition",
    "Index",
    "Kernel",
    "Scalar",
    "ScalarType",
    "Variable",
    "Vector",
    "VectorType",
    "View",
    "clamp",
    "divide",
    "int8",
    "int16",
    "int32",
    "lane_product",
    "leading_zeros",
    "maximum",
    "minimum",
    "product",
    "select",
    "uint8",
    "uint16",
]
