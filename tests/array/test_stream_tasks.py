"""Tasks, waits and BD writes read off instruction streams."""

from __future__ import annotations

from dataclasses import replace

import pytest

from xattn.array.buffer_descriptor import Dimension, Iteration
from xattn.array.instructions import InstructionStream, MaskWrite
from xattn.array.registers import TileKind, register, tile_address
from xattn.array.stream_tasks import HostBytes, replay
from xattn.array.transfers import ShimChannel, host_bd, program_bd, start, transfer, wait

OUT, INTO = ShimChannel(0, 1, to_array=False), ShimChannel(2, 0, to_array=True)


def test_tasks_have_their_channels_chains_repeats_and_bytes() -> None:
    chained = replace(host_bd(8), next_bd=7)
    operations = [
        *program_bd(2, 7, host_bd(4), 3, 64),
        *program_bd(2, 6, chained, 2),
        *start(INTO, 6, repeat=5),
        *transfer(OUT, 0, host_bd(16), 1, 128, token=True),
        wait(OUT),
    ]
    found = replay(InstructionStream(tuple(operations)))
    first, second = found.tasks
    assert (first.channel, first.bds, first.repeat, first.token) == (INTO, (6, 7), 5, False)
    assert first.moved == (HostBytes(2, 0, 32), HostBytes(3, 64, 80))
    assert (second.channel, second.moved, second.started, second.ended) == (OUT, (HostBytes(1, 128, 192),), 8, 9)
    assert [(w.index, w.column, w.bd) for w in found.writes] == [
        (0, 2, 7), (1, 2, 7), (2, 2, 6), (3, 2, 6), (5, 0, 0), (6, 0, 0),
    ]  # fmt: skip
    assert first.ended == 9, "column 2 has no output of its own, and this one was started later"


@pytest.mark.parametrize(
    ("dimensions", "iteration", "repeat", "end"),
    [
        ((), Iteration(), 1, 64),
        ((), Iteration(), 3, 64),  # the same bytes again
        ((), Iteration(16, 4), 3, 4 * (16 + 2 * 16)),
        ((), Iteration(16, 2), 3, 4 * (16 + 16)),  # starts anew after two
        ((Dimension(1, 4), Dimension(100)), Iteration(), 1, 4 * (3 + 3 * 100 + 1)),
        ((Dimension(1, 4), Dimension(100, 2), Dimension(1000)), Iteration(), 1, 4 * (3 + 100 + 1000 + 1)),
        ((Dimension(2, 8),), Iteration(), 1, 4 * (7 * 2 + 1 + 1)),
    ],
)
def test_bytes_that_a_task_touches(dimensions, iteration: Iteration, repeat: int, end: int) -> None:
    operations = transfer(OUT, 0, host_bd(16, dimensions, iteration), 0, repeat=repeat)
    (task,) = replay(InstructionStream(tuple(operations))).tasks
    assert task.moved == (HostBytes(0, 0, end),)


def test_a_wait_proves_the_first_token_and_all_before_it() -> None:
    tasks = [transfer(OUT, bd, host_bd(4), 0, token=token) for bd, token in enumerate((False, True, False, True))]
    operations = [operation for task in tasks for operation in task]
    found = replay(InstructionStream((*operations, wait(OUT), wait(OUT), wait(OUT))))
    last = len(operations)
    assert [task.ended for task in found.tasks] == [last, last, last + 1, last + 1]
    assert [w.task for w in found.waits] == [found.tasks[1], found.tasks[3], None]


def test_inputs_end_with_the_outputs_of_their_column() -> None:
    other = ShimChannel(2, 0, to_array=False)
    operations = [
        *transfer(INTO, 0, host_bd(4), 0),
        *transfer(OUT, 1, host_bd(4), 1, token=True),
        *transfer(other, 1, host_bd(4), 2, token=True),
        *transfer(INTO, 2, host_bd(4), 0),
        wait(OUT),
        wait(other),
    ]
    early, _, _, late = replay(InstructionStream(tuple(operations))).tasks
    assert early.ended == len(operations) - 1, "the wait in its own column, not that in the other one"
    assert late.ended is None, "it was started after the output"


def test_inputs_may_be_started_behind_their_output() -> None:
    out, into = ShimChannel(0, 0, to_array=False), ShimChannel(0, 0, to_array=True)
    blocks = [[*transfer(out, n, host_bd(4), 1, token=True), *transfer(into, n + 8, host_bd(4), 0)] for n in range(2)]
    operations = [operation for block in blocks for operation in block]
    found = replay(InstructionStream((*operations, wait(out), wait(out))))
    last = len(operations)
    assert [task.ended for task in found.tasks] == [last, last, last + 1, last + 1]
    inputs_first = [operation for block in blocks for operation in (*block[4:], *block[:4])]
    found = replay(InstructionStream((*inputs_first, wait(out), wait(out))))
    assert [task.ended for task in found.tasks] == [last, last, last + 1, last + 1]


def test_writes_by_mask_count_and_other_tiles_do_not() -> None:
    first = register(TileKind.SHIM, "DMA_BD3_0")
    queue = register(TileKind.CORE, "DMA_S2MM_0_Start_Queue")
    operations = (
        MaskWrite(tile_address(1, 0, first.offset), 8, 0xFF),
        MaskWrite(tile_address(1, 2, queue.offset), 8, 0xFF),
    )
    found = replay(InstructionStream(operations))
    assert [(w.index, w.column, w.bd) for w in found.writes] == [(0, 1, 3)]
    assert found.tasks == []
