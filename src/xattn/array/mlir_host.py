"""The host's part of a design in mlir-aie's dialects: what its runtime sequence starts and waits for.

A transfer of one piece is a `dma_memcpy_nd`; one of several is a task with a chain of buffer descriptors. Numbers of
buffer descriptors are those of the instruction stream (`xattn.array.host_sequence`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from xattn.array.design import Piece, Transfer
from xattn.array.mlir_dialect import Dialect, descriptor
from xattn.array.mlir_ir import Block, Operation, Value
from xattn.array.placement import Placement
from xattn.array.words import WORD
from xattn.errors import InputError

_DIMENSIONS = 3  # of a shim BD, without the iteration


def runtime_sequence(placement: Placement, dialect: Dialect) -> Operation:
    """The operation that mlir-aie makes the instruction stream of.

    InputError for a transfer whose loops over bytes are more than a buffer descriptor has.
    """
    design = placement.design
    buffers = {item.name: Value(f"arg_{item.name}", f"memref<{item.bytes}xi8>") for item in design.buffers}
    shown = ", ".join(f"%{value.name} : {value.type}" for value in buffers.values())
    name = "aiex.runtime_sequence" if dialect is Dialect.late_2025 else "aie.runtime_sequence"
    body: list[Operation] = []
    used: Counter[int] = Counter()  # BDs of each column's shim tile
    tasks: dict[str, Value] = {}  # the last one of each stream, where it is a task
    for step in design.sequence:
        if isinstance(step, Transfer):
            column = placement.shim[step.stream].column
            if _is_copy(step):
                body.append(_copy(step, used[column], buffers[step.buffer]))
                tasks.pop(step.stream, None)
            else:
                task = Value(f"task_{column}_{used[column]}", "index")
                body += _task(task, step, used[column], buffers, dialect)
                tasks[step.stream] = task
            used[column] += len(step.pieces)
        elif step.stream in tasks:
            task = tasks[step.stream]
            body.append(Operation("aiex.dma_await_task", f"aiex.dma_await_task(%{task.name})", (task,)))
        else:
            symbol = f"@{step.stream}"
            text = f"aiex.npu.dma_wait {{symbol = {symbol}}}"
            body.append(Operation("aiex.npu.dma_wait", text, attributes={"symbol": symbol}))
    return Operation(name, f"{name}({shown})", region=[Block(body, arguments=tuple(buffers.values()))])


def _is_copy(step: Transfer) -> bool:
    """Whether a `dma_memcpy_nd`, whose outermost size is both iteration and repeat, can say it."""
    return len(step.pieces) == 1 and (step.iteration is None or step.iteration.count == step.repeat)


def _copy(step: Transfer, number: int, buffer: Value) -> Operation:
    sizes, strides = _loops(step.pieces[0])
    turns = (step.repeat, 0) if step.iteration is None else (step.iteration.count, WORD * step.iteration.step)
    sizes, strides = [turns[0], *sizes], [turns[1], *strides]
    token = ", issue_token = true" if step.token else ""
    text = (
        f"aiex.npu.dma_memcpy_nd(%{buffer.name}[0, 0, 0, {step.offset}]{sizes}{strides}) "
        f"{{id = {number} : i64, metadata = @{step.stream}{token}}} : {buffer.type}"
    )
    attributes = {
        "id": f"{number} : i64",
        "metadata": f"@{step.stream}",
        "offsets": f"[0, 0, 0, {step.offset}]",
        "sizes": f"{sizes}",
        "strides": f"{strides}",
    }
    if step.token:
        attributes["issue_token"] = "true"
    return Operation("aiex.npu.dma_memcpy_nd", text, (buffer,), attributes=attributes)


def _task(task: Value, step: Transfer, number: int, buffers: dict[str, Value], dialect: Dialect) -> Iterator[Operation]:
    """A chain of buffer descriptors from `number` on, and its start."""
    blocks = []
    for index, piece in enumerate(step.pieces):
        sizes, strides = _loops(piece)
        if piece.iteration is not None:
            sizes, strides = [piece.iteration.count, *sizes], [WORD * piece.iteration.step, *strides]
        more = {"bd_id": f"{number + index} : i32"}
        body = [descriptor(dialect, buffers[piece.buffer], piece.offset, WORD * piece.words, sizes, strides, more)]
        if index + 1 < len(step.pieces):
            body.append(Operation("aie.next_bd", f"aie.next_bd ^bd{index + 1}", successors=(f"bd{index + 1}",)))
        else:
            body.append(Operation("aie.end", "aie.end"))
        blocks.append(Block(body, f"bd{index}" if index else None))
    options = {"issue_token": "true"} if step.token else {}
    if step.repeat > 1:
        options["repeat_count"] = f"{step.repeat - 1} : i32"
    tail = f" {{{', '.join(f'{name} = {value}' for name, value in options.items())}}}" if options else ""
    yield Operation(
        "aiex.dma_configure_task_for",
        f"aiex.dma_configure_task_for @{step.stream}",
        results=(task,),
        attributes={"alloc": f"@{step.stream}", **options},
        region=blocks,
        tail=tail,
    )
    yield Operation("aiex.dma_start_task", f"aiex.dma_start_task(%{task.name})", (task,))


def _loops(piece: Piece) -> tuple[list[int], list[int]]:
    """A turn of a piece in bytes: the sizes and strides of three loops, outermost first."""
    loops, left = [(WORD, 1)], piece.words
    for dimension in piece.dimensions:
        count = dimension.wrap or left
        loops.append((count, WORD * dimension.step))
        left //= count
    if left > 1:
        loops.append((left, WORD))
    if len(loops) > 1 and loops[1][1] == WORD:
        loops[:2] = [(WORD * loops[1][0], 1)]
    if len(loops) > _DIMENSIONS:
        raise InputError(
            f"a transfer of host buffer {piece.buffer} has {len(loops)} loops over bytes, and MLIR's buffer "
            f"descriptors {_DIMENSIONS}: let its innermost dimension be of consecutive words"
        )
    loops += [(1, 0)] * (_DIMENSIONS - len(loops))
    return [count for count, _ in reversed(loops)], [stride for _, stride in reversed(loops)]
