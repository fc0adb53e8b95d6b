"""Lints of instruction streams: each sees its mistake, and says nothing of the stream that does it right."""

from __future__ import annotations

from lint_cases import done, fetch, found_in, names, send, stream

from xattn.array.buffer_descriptor import bd_offset
from xattn.array.instructions import InstructionStream, Write32
from xattn.array.registers import TileKind, tile_address
from xattn.array.stream_tasks import QUEUE_DEPTH


def rules(operations: InstructionStream) -> set[str]:
    return {line.partition(":")[0] for line in found_in(operations)}


def block(column: int, bd: int = 0, argument: int = 0) -> list:
    """A block into a column and its result, started."""
    return [*send(column, bd, argument), *fetch(column, bd + 1, argument + 1)]


# columns


def test_columns_in_turn_are_seen_and_columns_at_once_are_not() -> None:
    in_turn = stream(*([*block(column), *done(column)] for column in range(4)))
    (line,) = found_in(in_turn)
    assert line.startswith("serial-columns: stream, operation 10: columns 1, 2, 3 start only after another column")
    assert found_in(stream(*(block(column) for column in range(4)), *(done(column) for column in range(4)))) == []


def test_two_and_two_columns_are_half_in_turn() -> None:
    pairs = [[*block(c), *block(c + 1), *done(c), *done(c + 1)] for c in (0, 2)]
    (line,) = found_in(stream(*pairs))
    assert "columns 2, 3 start only after another column (here 0)" in line


def test_many_rounds_of_all_columns_are_at_once() -> None:
    one_round = [*block(0), *block(1), *done(0), *done(1)]
    assert found_in(stream(one_round, one_round, one_round)) == []
    ahead = [*block(0), *block(1), *done(0), *block(0), *done(1), *block(1), *done(0), *done(1)]
    assert found_in(stream(ahead)) == []


def test_rounds_in_turn_are_seen_after_a_good_one() -> None:
    good = [*block(0), *block(1), *done(0), *done(1)]
    bad = [*block(0), *done(0), *block(1), *done(1)]
    assert rules(stream(good, bad)) == {"serial-columns"}


def test_a_column_that_reads_what_another_wrote_has_to_wait() -> None:
    first = [*send(0, 0, 0), *fetch(0, 1, 1), *done(0)]
    assert found_in(stream(first, send(1, 0, 1), fetch(1, 1, 2), done(1))) == []
    assert rules(stream(first, send(1, 0, 1, offset=64), fetch(1, 1, 2), done(1))) == {"serial-columns"}


# queues


def test_a_queue_that_runs_over() -> None:
    full = [operation for bd in range(QUEUE_DEPTH) for operation in fetch(0, bd)]
    waits = [operation for _ in range(QUEUE_DEPTH) for operation in done(0)]
    assert found_in(stream(full, waits)) == []
    (line,) = found_in(stream(full, fetch(0, 7), waits, done(0)))
    assert line.startswith("task-queue-too-deep: stream, operation 19: S2MM_0 of column 0 has up to 5 tasks started")
    assert found_in(stream(full, done(0), fetch(0, 7), waits)) == []


def test_one_task_may_repeat() -> None:
    assert found_in(stream(fetch(0, 0, repeat=64), done(0))) == []


def test_inputs_are_done_when_the_output_after_them_is() -> None:
    rounds = [[*send(0, 0), *fetch(0, 1), *done(0)] for _ in range(QUEUE_DEPTH + 3)]
    assert found_in(stream(*rounds)) == []
    ahead = [operation for bd in range(QUEUE_DEPTH + 1) for operation in send(0, bd)]
    assert rules(stream(ahead, fetch(0, 9), done(0))) == {"task-queue-too-deep"}


def test_channels_have_queues_of_their_own() -> None:
    three = [[*send(column, bd), *fetch(column, bd + 8)] for column in range(3) for bd in range(3)]
    assert found_in(stream(*three, *(done(column) for column in range(3) for _ in range(3)))) == []


# buffer descriptors


def test_a_bd_is_written_while_its_task_runs() -> None:
    (line,) = found_in(stream(fetch(0, 3), fetch(0, 3), done(0), done(0)))
    assert line.startswith("bd-rewritten-in-use: stream, operation 4: BD 3 of column 0 is written again")
    assert "operation 3 started with it" in line
    assert found_in(stream(fetch(0, 3), done(0), fetch(0, 3), done(0))) == []
    assert found_in(stream(fetch(0, 3), fetch(1, 3), done(0), done(1))) == []


def test_a_bd_in_a_chain_is_in_use_too() -> None:
    from dataclasses import replace

    from lint_cases import channel

    from xattn.array.buffer_descriptor import BufferDescriptor
    from xattn.array.transfers import host_bd, program_bd, start

    chained: BufferDescriptor = replace(host_bd(16), next_bd=5)
    both = [*program_bd(0, 5, host_bd(16), 1), *program_bd(0, 4, chained, 1), *start(channel(), 4, token=True)]
    assert rules(stream(both, fetch(0, 5), done(0), done(0))) == {"bd-rewritten-in-use"}
    assert rules(stream(both, done(0), fetch(0, 5), done(0))) == set()


def test_a_single_register_of_a_bd_counts_too() -> None:
    length = Write32(tile_address(0, 0, bd_offset(TileKind.SHIM, 3)), 8)
    assert rules(stream(fetch(0, 3), [length], done(0))) == {"bd-rewritten-in-use"}
    other = Write32(tile_address(0, 0, bd_offset(TileKind.SHIM, 4)), 8)
    assert rules(stream(fetch(0, 3), [other], done(0))) == set()


def test_an_input_bd_is_free_only_when_an_output_shows_it() -> None:
    assert rules(stream(send(0, 0), fetch(0, 1), done(0), send(0, 0), fetch(0, 1), done(0))) == set()
    assert rules(stream(send(0, 0), send(0, 0), fetch(0, 1), done(0))) == {"bd-rewritten-in-use"}


# waits


def test_a_wait_that_nothing_ends() -> None:
    (line,) = found_in(stream(fetch(0, 1), done(0), done(0)))
    assert line.startswith("wait-without-token: stream, operation 5: the wait for a token of S2MM_0 of column 0")
    assert "no task is under way there" in line
    lines = found_in(stream(fetch(0, 1, token=False), done(0)))
    assert any("of its 1 tasks under way none issues a token" in line for line in lines)
    assert found_in(stream(fetch(0, 1), fetch(1, 1), done(0, columns=2))) == []
    assert rules(stream(fetch(0, 1), done(0, columns=2))) == {"wait-without-token"}


def test_an_output_that_nobody_waits_for() -> None:
    (line,) = found_in(stream(fetch(0, 1), done(0), fetch(0, 2, argument=3)))
    assert line.startswith(
        "output-not-awaited: stream, operation 8: 1 transfers of S2MM_0 of column 0 to host buffer 3"
    )
    assert found_in(stream(fetch(0, 1, token=False), fetch(0, 2), done(0))) == []
    assert found_in(stream(send(0, 1))) == []


def test_many_buffers_with_no_xclbin() -> None:
    assert found_in(stream(fetch(0, 1, argument=4), done(0))) == []
    (line,) = found_in(stream(fetch(0, 1, argument=5), done(0)))
    assert line.startswith(
        "many-host-buffers: stream: the stream uses 6 host buffers, and xclbins of mlir-aie declare 5"
    )


def test_rules_can_be_chosen() -> None:
    bad = stream(fetch(0, 3), fetch(0, 3))
    assert rules(bad) == {"bd-rewritten-in-use", "output-not-awaited"}
    assert [line.partition(":")[0] for line in found_in(bad, "output-not-awaited")] == ["output-not-awaited"]
    assert names({}) == set()
