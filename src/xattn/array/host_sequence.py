"""The host's part of a design as an instruction stream: shim BDs, task queues, waits."""

from __future__ import annotations

from collections import Counter, defaultdict

from xattn.array.design import Transfer, Wait
from xattn.array.instructions import InstructionStream, Operation
from xattn.array.placement import Placement
from xattn.array.stream_tasks import QUEUE_DEPTH
from xattn.array.transfers import host_bd, transfer, wait
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
        number = next_bd[channel.column]
        next_bd[channel.column] += 1
        queued[step.stream] += 1
        _check_limits(step, channel.column, number, queued[step.stream])
        bd = host_bd(step.words, step.dimensions, step.iteration)
        operations += transfer(
            channel, number, bd, arguments[step.buffer], step.offset, repeat=step.repeat, token=step.token
        )
    return InstructionStream(tuple(operations), columns=placement.design.columns)


def _check_limits(step: Transfer, column: int, number: int, queued: int) -> None:
    if number >= SHIM_BDS:
        raise InputError(
            f"column {column} has more than {SHIM_BDS} host transfers in one run, and its shim tile {SHIM_BDS} BDs: "
            "use `repeat`, or longer transfers"
        )
    if queued > QUEUE_DEPTH:
        raise InputError(
            f"stream {step.stream} has {queued} transfers under way, and its channel's queue holds {QUEUE_DEPTH}: "
            "wait in between, or use `repeat`"
        )
