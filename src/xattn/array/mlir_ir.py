"""A small MLIR: operations with regions, printed in MLIR's generic form or in that of the operation's dialect.

The generic form is for checking with tools that do not know the dialect; what people and aiecc read is the custom form,
which each operation brings along as text, with the names of its operands filled in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Value:
    """What an operation gives: its name without %, and its type."""

    name: str
    type: str


@dataclass
class Block:
    """Operations in order; `label` without ^ (None for a region's only block), `arguments` of the block."""

    operations: list[Operation] = field(default_factory=list)
    label: str | None = None
    arguments: tuple[Value, ...] = ()


@dataclass
class Operation:
    """An operation. `attributes` are MLIR text by name.

    `custom` is the custom form: everything before the region, and `tail` what comes behind it. Without `custom` the
    operation is printed in the generic form alone (a terminator that the custom form implies); a region without blocks
    too.
    """

    name: str
    custom: str
    operands: tuple[Value, ...] = ()
    results: tuple[Value, ...] = ()
    attributes: dict[str, str] = field(default_factory=dict)
    region: list[Block] | None = None
    successors: tuple[str, ...] = ()
    tail: str = ""


def custom_form(operation: Operation) -> str:
    """The text that mlir-aie's tools take."""
    return "\n".join(_custom(operation, 0)) + "\n"


def generic_form(operation: Operation) -> str:
    """The text that any MLIR tool takes, with unregistered dialects allowed."""
    return "\n".join(_generic(operation, 0)) + "\n"


def _custom(operation: Operation, depth: int) -> Iterator[str]:
    if not operation.custom:
        return
    pad = "  " * depth
    results = ", ".join(f"%{value.name}" for value in operation.results)
    head = f"{pad}{results + ' = ' if results else ''}{operation.custom}"
    if not operation.region:
        yield head + operation.tail
        return
    yield head + " {"
    for block in operation.region:
        if block.label is not None:
            yield f"{pad}^{block.label}:"
        for inner in block.operations:
            yield from _custom(inner, depth + 1)
    yield f"{pad}}}{operation.tail}"


def _generic(operation: Operation, depth: int) -> Iterator[str]:
    pad = "  " * depth
    results = ", ".join(f"%{value.name}" for value in operation.results)
    head = f'{pad}{results + " = " if results else ""}"{operation.name}"({_names(operation.operands)})'
    if operation.successors:
        head += f"[{', '.join('^' + name for name in operation.successors)}]"
    attributes = ", ".join(f"{name} = {value}" for name, value in operation.attributes.items())
    tail = f" {{{attributes}}}" if attributes else ""
    tail += f" : ({_types(operation.operands)}) -> ({_types(operation.results)})"
    if operation.region is None:
        yield head + tail
        return
    yield head + " ({"
    for block in operation.region:
        if block.label is not None or block.arguments:
            arguments = ", ".join(f"%{value.name}: {value.type}" for value in block.arguments)
            yield f"{pad}^{block.label or 'bb0'}{f'({arguments})' if arguments else ''}:"
        for inner in block.operations:
            yield from _generic(inner, depth + 1)
    yield f"{pad}}}){tail}"


def _names(values: Sequence[Value]) -> str:
    return ", ".join(f"%{value.name}" for value in values)


def _types(values: Sequence[Value]) -> str:
    return ", ".join(value.type for value in values)
