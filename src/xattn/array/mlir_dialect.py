"""For which time MLIR text is written, and what the times write differently in more than one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

from xattn.array.mlir_ir import Operation, Value


class Dialect(str, Enum):
    """When the text was current: to the end of 2025, to July 2026, since August 2026."""

    late_2025 = "2025"
    early_2026 = "2026-04"
    late_2026 = "2026-08"


NEWEST = Dialect.late_2026


def descriptor(
    dialect: Dialect,
    buffer: Value,
    offset: int,
    length: int,
    sizes: Sequence[int] = (),
    strides: Sequence[int] = (),
    more: Mapping[str, str] | None = None,
) -> Operation:
    """`aie.dma_bd`: `length` elements of `buffer` from element `offset` on, in loops, outermost first.

    `more`: further attributes.
    """
    sizes, strides = list(sizes), list(strides)
    if dialect is Dialect.late_2026:
        shape = f" sizes = {sizes} strides = {strides}" if sizes else ""
        text = f"aie.dma_bd(%{buffer.name} : {buffer.type} offset = {offset} len = {length}{shape})"
    else:
        pairs = ", ".join(f"<size = {a}, stride = {b}>" for a, b in zip(sizes, strides, strict=True))
        shape = f", [{pairs}]" if sizes else ""
        text = f"aie.dma_bd(%{buffer.name} : {buffer.type}, {offset}, {length}{shape})"
    attributes = {"offset": f"{offset} : i32", "len": f"{length} : i32"}
    if sizes:
        attributes |= {"sizes": f"{sizes}", "strides": f"{strides}"}
    if more:
        text += f" {{{', '.join(f'{name} = {value}' for name, value in more.items())}}}"
        attributes |= more
    return Operation("aie.dma_bd", text, (buffer,), attributes=attributes)
