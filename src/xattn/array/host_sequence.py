"""The host's part of a design as an instruction stream: shim BDs, task queues, waits."""

from __future__ import annotations

from collections import Counter, defaultdict

from xattn.array.design import Transfer, Wait
from xattn.array.instructions import InstructionStream, Operation
from xattn.array.placement import Placement
from xattn.array.stream_tasks import QUEUE_DEPTH
from xattn.array.transfers import host_bd, program_bd, start, wait
from xattn.errors import InputError

SHIM_BDS = 16


def host_sequence(placement: Placement) -> InstructionStream:
    """The stream for one run. BDs of a column are used in turn; InputError if one would be used while it is at work."""
    arguments = {buffer.name: index for index, buffer in enumerate(placement.design.buffers)}
    operations: list[Operation] = []
    next_bd: dict[int, int] = defaultdict(int)
    queued: Counter[str] = Counter()
    for step in placement.design.sequence:
        channel = placement.shim[step.stream]
        if isinstance(step, Wait):
            operations.append(wait(channel))
            queued[step.stream] = 0  # tasks are done in order, and waits are for the last one
            continue
        first = next_bd[channel.column]
        next_bd[channel.column] += len(step.pieces)
        queued[step.stream] += 1
        _check_limits(step, channel.column, next_bd[channel.column], queued[step.stream])
        for number, piece in enumerate(step.pieces, first):
            following = number + 1 if number + 1 < next_bd[channel.column] else None
            bd = host_bd(piece.words, piece.dimensions, piece.iteration, following)
            operations += program_bd(channel.column, number, bd, arguments[piece.buffer], piece.offset)
        operations += start(channel, first, step.repeat, step.token)
    return InstructionStream(tuple(operations), columns=placement.design.columns)


def _check_limits(step: Transfer, column: int, used: int, queued: int) -> None:
    if used > SHIM_BDS:
        raise InputError(
            f"column {column} has more than {SHIM_BDS} host transfers in one run, and its shim tile {SHIM_BDS} BDs: "
            "use `repeat`, or longer transfers"
        )
    if queued > QUEUE_DEPTH:
        raise InputError(
            f"stream {step.stream} has {queued} transfers under way, and its channel's queue holds {QUEUE_DEPTH}: "
            "wait in between, or use `repeat`"
        )
