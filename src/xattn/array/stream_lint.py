"""What an instruction stream does that costs time or fails later: remarks, each a sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from xattn.array.instructions import AddressPatch, InstructionStream, Sync, Write32
from xattn.array.registers import TileKind, register, split_address
from xattn.array.words import U32_MAX

QUEUE_DEPTH = 4  # tasks that a shim channel's queue is known to hold
DECLARED_BUFFERS = 5  # host buffers that mlir-aie's xclbins declare, whatever a design has


def remarks(stream: InstructionStream) -> Iterator[str]:
    """Columns that work one after another; queues that may run over; buffers that no xclbin of mlir-aie declares."""
    yield from _serial_columns(stream)
    yield from _long_queues(stream)
    used = {operation.argument for operation in stream.operations if isinstance(operation, AddressPatch)}
    if used and max(used) >= DECLARED_BUFFERS:
        yield (
            f"host buffers up to number {max(used)} are used: xclbins of mlir-aie declare {DECLARED_BUFFERS} buffers, "
            "so a host would have to pass more than they say"
        )


def _starts(stream: InstructionStream) -> Iterator[tuple[int, str, int]]:
    """(index, column and channel, column) of every push on a shim channel's queue."""
    for index, operation in enumerate(stream.operations):
        if isinstance(operation, Write32) and operation.address <= U32_MAX:
            place = split_address(operation.address)
            if place.kind is TileKind.SHIM:
                for name in ("MM2S_0", "MM2S_1", "S2MM_0", "S2MM_1"):
                    if register(TileKind.SHIM, f"DMA_{name}_Task_Queue").offset == place.offset:
                        yield index, f"{name} of column {place.column}", place.column


def _serial_columns(stream: InstructionStream) -> Iterator[str]:
    """Columns whose first transfer starts only when another column has been waited for."""
    first_start: dict[int, int] = {}
    for index, _, column in _starts(stream):
        first_start.setdefault(column, index)
    waits = {op.column: index for index, op in reversed(list(enumerate(stream.operations))) if isinstance(op, Sync)}
    late = sorted(
        column
        for column, start in first_start.items()
        if any(other != column and wait < start for other, wait in waits.items())
    )
    if late:
        yield (
            f"columns {', '.join(map(str, late))} start only after another column was waited for: they work one after "
            "another; start all transfers first, then wait"
        )


def _long_queues(stream: InstructionStream) -> Iterator[str]:
    queued: Counter[str] = Counter()
    starts = {index: name for index, name, _ in _starts(stream)}
    worst: Counter[str] = Counter()
    for index, operation in enumerate(stream.operations):
        if index in starts:
            queued[starts[index]] += 1
            worst[starts[index]] = max(worst[starts[index]], queued[starts[index]])
        elif isinstance(operation, Sync):
            direction = "MM2S" if operation.to_array else "S2MM"
            for column in range(operation.column, operation.column + operation.columns):
                queued[f"{direction}_{operation.channel} of column {column}"] = 0
    for name, count in worst.items():
        if count > QUEUE_DEPTH:
            yield f"{name} has {count} tasks started without a wait: its queue holds {QUEUE_DEPTH}"
