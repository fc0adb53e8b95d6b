"""A check of modules in generic form with xDSL, which knows our subset of mlir-aie's dialects from the table below.

What it finds: undefined values and symbols, wrong types and numbers of operands, missing attributes, blocks without a
terminator, calls that do not suit the kernel, transfers over streams that are not allocated, locks of another tile,
and buffer descriptors that leave their buffer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from xattn.errors import FileFormatError, InputError

_INSTALL = 'pip install "xattn[mlir]"'


@dataclass(frozen=True)
class _Shape:
    """An operation: operand types ("index", "memref", "i32?" optional, "*" any number), result types, attributes."""

    operands: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    region: bool = False
    successors: int = 0
    terminator: bool = False
    open_ended: bool = False  # its region ends without a terminator


_PROGRAM = _Shape(("index",), ("index",), region=True)
_SEQUENCE = _Shape(region=True, open_ended=True)
_SHAPES = {
    "aie.device": _Shape(attributes=("device",), region=True),
    "aie.tile": _Shape(results=("index",), attributes=("col", "row")),
    "aie.buffer": _Shape(("index",), ("memref",), ("sym_name",)),
    "aie.lock": _Shape(("index",), ("index",), ("lockID", "init", "sym_name")),
    "aie.flow": _Shape(
        ("index", "index"), attributes=("source_bundle", "source_channel", "dest_bundle", "dest_channel")
    ),
    "aie.shim_dma_allocation": _Shape(("index",), attributes=("sym_name", "channel_dir", "channel_index")),
    "aie.core": _Shape(("index",), ("index",), ("stack_size",), region=True),
    "aie.mem": _PROGRAM,
    "aie.memtile_dma": _PROGRAM,
    "aie.dma_start": _Shape(
        results=("i1",), attributes=("channel_dir", "channel_index"), successors=2, terminator=True
    ),
    "aie.dma_bd": _Shape(("memref",), attributes=("offset", "len"), optional=("sizes", "strides", "bd_id")),
    "aie.use_lock": _Shape(("index", "i32?"), attributes=("action",)),
    "aie.next_bd": _Shape(successors=1, terminator=True),
    "aie.end": _Shape(terminator=True),
    "aie.runtime_sequence": _SEQUENCE,
    "aiex.runtime_sequence": _SEQUENCE,
    "aiex.npu.dma_memcpy_nd": _Shape(
        ("memref",), attributes=("id", "metadata", "offsets", "sizes", "strides"), optional=("issue_token",)
    ),
    "aiex.npu.dma_wait": _Shape(attributes=("symbol",)),
    "aiex.dma_configure_task_for": _Shape(
        results=("index",), attributes=("alloc",), optional=("issue_token", "repeat_count"), region=True
    ),
    "aiex.dma_start_task": _Shape(("index",)),
    "aiex.dma_await_task": _Shape(("index",)),
    "xattn.call": _Shape(("*",), attributes=("kernel",)),
}


# Operations that name a shim DMA channel, and the attribute in which they do.
_NAMED = {
    "aiex.npu.dma_memcpy_nd": "metadata",
    "aiex.npu.dma_wait": "symbol",
    "aiex.dma_configure_task_for": "alloc",
}
_TASK_LOOPS = 3  # of a task's buffer descriptor; a loop around those is its iteration


def check_module(text: str) -> int:
    """Check a module in generic form; the number of its operations. FileFormatError says what is wrong.

    InputError when xDSL is not installed.
    """
    context = _context()
    from xdsl.parser import Parser
    from xdsl.utils.exceptions import ParseError, VerifyException

    try:
        module = Parser(context, text).parse_module()
        module.verify()
    except (ParseError, VerifyException) as error:
        raise FileFormatError(f"MLIR: {' '.join(str(error).split())}") from None
    operations = list(module.walk())
    for complaint in _complaints(operations):
        raise FileFormatError(f"MLIR: {complaint}")
    return len(operations)


@lru_cache(maxsize=1)
def _context() -> Any:
    try:
        from xdsl.context import Context
        from xdsl.dialects.arith import Arith
        from xdsl.dialects.builtin import Builtin
        from xdsl.dialects.func import Func
        from xdsl.dialects.memref import MemRef
        from xdsl.dialects.scf import Scf
        from xdsl.ir import Dialect
    except ImportError:
        raise InputError(f"checking MLIR needs xDSL: {_INSTALL}") from None
    context = Context()
    for dialect in (Builtin, Func, Arith, Scf, MemRef):
        context.load_dialect(dialect)
    for prefix in ("aie", "aiex", "xattn"):
        names = [name for name in _SHAPES if name.split(".")[0] == prefix]
        context.load_dialect(Dialect(prefix, [_definition(name, _SHAPES[name]) for name in names], []))
    return context


def _definition(name: str, shape: _Shape) -> Any:
    """The xDSL class of an operation."""
    from xdsl.dialects.builtin import IndexType, MemRefType, i1, i32
    from xdsl.ir import Attribute
    from xdsl.irdl import (
        BaseAttr,
        EqAttrConstraint,
        IRDLOperation,
        attr_def,
        irdl_op_definition,
        operand_def,
        opt_attr_def,
        opt_operand_def,
        region_def,
        result_def,
        successor_def,
        traits_def,
        var_operand_def,
    )
    from xdsl.traits import IsTerminator, NoTerminator

    types = {
        "index": BaseAttr(IndexType),
        "memref": BaseAttr(MemRefType),
        "i32": EqAttrConstraint(i32),
        "i1": EqAttrConstraint(i1),
    }
    fields: dict[str, Any] = {"name": name}
    for index, kind in enumerate(shape.operands):
        if kind == "*":
            fields[f"operand{index}"] = var_operand_def()
        elif kind.endswith("?"):
            fields[f"operand{index}"] = opt_operand_def(types[kind[:-1]])
        else:
            fields[f"operand{index}"] = operand_def(types[kind])
    fields |= {f"result{index}": result_def(types[kind]) for index, kind in enumerate(shape.results)}
    fields |= {f"attribute_{key}": attr_def(Attribute, attr_name=key) for key in shape.attributes}
    fields |= {f"attribute_{key}": opt_attr_def(Attribute, attr_name=key) for key in shape.optional}
    if shape.region:
        fields["body"] = region_def()
    fields |= {f"successor{index}": successor_def() for index in range(shape.successors)}
    if shape.terminator:
        fields["traits"] = traits_def(IsTerminator())
    if shape.open_ended:
        fields["traits"] = traits_def(NoTerminator())
    return irdl_op_definition(type(name.replace(".", "_"), (IRDLOperation,), fields))


def _complaints(operations: list[Any]) -> Iterator[str]:
    """What types do not show."""
    allocated = {_text(op, "sym_name") for op in operations if op.name == "aie.shim_dma_allocation"}
    kernels = {_text(op, "sym_name"): op for op in operations if op.name == "func.func"}
    for op in operations:
        if op.name in _NAMED:
            symbol = _text(op, _NAMED[op.name])
            if symbol not in allocated:
                yield f"{op.name} names @{symbol}, for which no shim DMA channel is allocated"
        if op.name == "xattn.call":
            yield from _call(op, kernels)
        elif op.name == "aie.use_lock":
            yield from _lock(op)
        elif op.name == "aie.dma_bd":
            yield from _descriptor(op)
        elif op.name == "aiex.npu.dma_memcpy_nd":
            yield from _copy(op)
        elif op.name == "aiex.dma_await_task" and _attribute(op.operands[0].owner, "issue_token") is None:
            yield "a task is waited for that issues no token"
    yield from _flows(operations)


def _call(op: Any, kernels: dict[str, Any]) -> Iterator[str]:
    name = _text(op, "kernel")
    if name not in kernels:
        yield f"a core calls @{name}, which is not declared"
        return
    expected = [str(kind) for kind in kernels[name].function_type.inputs]
    given = [str(operand.type) for operand in op.operands]
    if expected != given:
        yield f"a core calls @{name} with ({', '.join(given)}), it takes ({', '.join(expected)})"


def _lock(op: Any) -> Iterator[str]:
    """A core or a DMA uses locks of its own tile."""
    owner = op.operands[0].owner.operands[0]
    program = op.parent_op()
    while program is not None and program.name not in ("aie.core", "aie.mem", "aie.memtile_dma"):
        program = program.parent_op()
    if program is None or program.operands[0] is not owner:
        yield f"lock {_text(op.operands[0].owner, 'sym_name')} is used by a program of another tile"


def _descriptor(op: Any) -> Iterator[str]:
    """The last element that a buffer descriptor touches lies in its buffer, and its loops make its length.

    The fourth loop of a task's descriptor is its iteration: a turn for each time that the task is repeated.
    """
    (elements,) = op.operands[0].type.get_shape()
    offset, length = (_number(op, name) for name in ("offset", "len"))
    sizes, strides = _numbers(op, "sizes"), _numbers(op, "strides")
    if len(sizes) != len(strides):
        yield f"a buffer descriptor has {len(sizes)} sizes and {len(strides)} strides"
        return
    made, reach = 1, offset + (0 if sizes else length - 1)
    for depth, (size, stride) in enumerate(zip(reversed(sizes), reversed(strides), strict=True)):
        if depth < _TASK_LOOPS or op.parent_op().name != "aiex.dma_configure_task_for":
            made *= size
        reach += (size - 1) * stride
    if sizes and made != length:
        yield f"a buffer descriptor of {length} elements has loops for {made}"
    if reach >= elements:
        yield f"a buffer descriptor reaches element {reach} of a buffer of {elements}"


def _copy(op: Any) -> Iterator[str]:
    """The last element that a host transfer touches lies in its buffer."""
    (elements,) = op.operands[0].type.get_shape()
    turns = zip(_numbers(op, "sizes"), _numbers(op, "strides"), strict=True)
    reach = sum(_numbers(op, "offsets")) + sum((size - 1) * stride for size, stride in turns)
    if reach >= elements:
        yield f"a host transfer reaches element {reach} of a buffer of {elements}"


def _flows(operations: list[Any]) -> Iterator[str]:
    """A DMA channel receives one stream."""
    seen: set[tuple[int, int]] = set()
    for op in operations:
        if op.name == "aie.flow":
            sink = (id(op.operands[1]), _number(op, "dest_channel"))
            if sink in seen:
                yield f"two streams end at DMA channel {sink[1]} of one tile"
            seen.add(sink)


def _attribute(op: Any, name: str) -> Any:
    found = op.attributes.get(name)
    return op.properties.get(name) if found is None else found


def _text(op: Any, name: str) -> str:
    """A string or symbol attribute."""
    found = _attribute(op, name)
    return str(getattr(found, "string_value", lambda: getattr(found, "data", found))())


def _number(op: Any, name: str) -> int:
    return int(_attribute(op, name).value.data)


def _numbers(op: Any, name: str) -> list[int]:
    found = _attribute(op, name)
    return [int(item.value.data) for item in found] if found is not None else []
