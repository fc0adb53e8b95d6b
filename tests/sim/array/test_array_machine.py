"""Whole configurations and instruction streams: what comes out, when, what is waited for, and what is found wrong."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from array_programs import QUICK, Draft, adder, done, fetch, one_core, send, stream_of
from hypothesis import given, settings
from hypothesis import strategies as st

from xattn.array.buffer_descriptor import Dimension, Iteration
from xattn.array.configuration import ChannelStart, LockValue, TokenRoute
from xattn.array.design import TileId
from xattn.array.instructions import LoadPdi, Noop, Write32
from xattn.array.pdi import read_pdi
from xattn.array.registers import TileKind, register, tile_address
from xattn.array.transfers import ShimChannel, wait
from xattn.sim.array.findings import ArrayError, ArrayKind
from xattn.sim.array.timing import published
from xattn.sim.findings import Severity

TILE = TileId(0, 2)


def numbers(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1 << 31, count, dtype=np.uint32)


def span_of(result, track: str, name: str) -> list[tuple[int, int]]:
    return [(span.begin, span.end) for span in result.spans if span.track == track and span.name.startswith(name)]


def kinds(result) -> list[str]:
    return [finding.kind.value for finding in result.findings]


# -- one core ----------------------------------------------------------------------------------------------------------


def test_a_core_gets_its_input_and_the_host_its_output() -> None:
    data = numbers(256)
    result = (
        one_core()
        .load()
        .run(stream_of(send(0, 0, 256, 0), fetch(0, 1, 256, 1), done(0)), [data.tobytes(), bytes(1024)])
    )
    assert np.array_equal(np.frombuffer(result.buffers[1], np.uint32), data + 1)
    assert result.buffers[0] == data.tobytes() and result.findings == []
    assert (result.read, result.written, result.operations) == (1024, 1024, 8)


def test_every_cycle_of_a_core_is_accounted_for() -> None:
    array = one_core().load()
    buffers = [numbers(256).tobytes(), bytes(1024)]
    for _ in range(2):  # also in a run that begins with the core waiting
        result = array.run(stream_of(send(0, 0, 256, 0), fetch(0, 1, 256, 1), done(0)), buffers)
        (core,) = result.cores
        assert core.busy + sum(core.waits.values()) == result.cycles
        assert core.findings == [] and set(core.waits) <= {f"lock {n} of core tile (0,2)" for n in range(4)}
        assert "waits for lock 1 of core tile (0,2) ≥ 1" in core.state
        assert result.buffers[1] != bytes(1024)


def test_two_buffers_overlap_computing_and_moving_and_one_does_not() -> None:
    words, rounds, work = 256, 6, 0
    cycles = {}
    for depth in (1, 2):
        array = one_core(words=words, depth=depth, work=work).load()
        stream = stream_of(send(0, 0, words * rounds, 0), fetch(0, 1, words * rounds, 1), done(0))
        result = array.run(stream, [numbers(words * rounds).tobytes(), bytes(4 * words * rounds)])
        (core,) = result.cores
        cycles[depth] = result.cycles
        computing, moving = core.busy // rounds, words + 20  # a transfer and what surrounds it
        if depth == 2:  # only the first input and the last output are not behind the core's work
            assert result.cycles < core.busy + 2.2 * moving
            inside = [e for _, e in span_of(result, "DMA S2MM 0 of core tile (0,2)", "BD")][1:]
            assert all(any(b < at < e for b, e in span_of(result, "core (0,2)", "runs")) for at in inside)
        else:
            assert result.cycles > rounds * (computing + moving)
    assert cycles[1] > cycles[2] + (rounds - 1) * words


def test_a_slow_core_holds_up_the_host_by_back_pressure() -> None:
    words, rounds = 64, 8
    array = one_core(words=words, work=300).load()
    stream = stream_of(send(0, 0, words * rounds, 0), fetch(0, 1, words * rounds, 1), done(0))
    result = array.run(stream, [numbers(words * rounds).tobytes(), bytes(4 * words * rounds)])
    sender = next(c for c in result.channels if (c.name, c.row) == ("MM2S 0", 0))
    receiver = next(c for c in result.channels if (c.name, c.row) == ("S2MM 0", 2))
    assert sender.words == receiver.words == words * rounds
    assert sender.waits["its stream"] > 0.5 * result.cycles
    assert receiver.waits["lock 0 of core tile (0,2)"] > 0.5 * result.cycles
    (core,) = result.cores
    assert core.busy > 0.9 * result.cycles


def test_runs_follow_one_another_on_the_same_array() -> None:
    array = one_core().load(timing=published())
    stream = stream_of(send(0, 0, 64, 0), fetch(0, 1, 64, 1), done(0))
    results = []
    for seed in range(3):
        data = numbers(64, seed)
        results.append(array.run(stream, [data.tobytes(), bytes(256)]))
        assert np.array_equal(np.frombuffer(results[-1].buffers[1], np.uint32), data + 1)
    # The first task of a shim channel costs more, the others the same. That of the input is hidden behind the time that
    # the controller takes until it can start the output.
    assert results[0].cycles - results[1].cycles == published().shim_s2mm_cold
    assert results[1].cycles == results[2].cycles
    assert results[2].begin > results[1].begin > 0


def test_a_core_that_ends_says_so() -> None:
    draft = Draft()
    draft.program(TILE, adder(4, [0x400], [0x800], rounds=2), (0x400, numbers(4).tobytes()))
    for lock, value in enumerate((0, 2, 2, 0)):
        draft.locks.append(LockValue(TILE, lock, value))
    array = draft.load()
    result = array.run(stream_of(Noop()), [])
    assert result.cores[0].state == "ended" and array.tiles[TILE].locks[3].value == 2
    assert array.tile_memory(0, 2)[0x800:0x810] == (numbers(4) + 1).tobytes()


def test_a_second_configuration_replaces_the_first() -> None:
    array = one_core(words=64).load()
    stream = stream_of(send(0, 0, 256, 0), fetch(0, 1, 256, 1), done(0))
    array.run(stream, [numbers(256).tobytes(), bytes(1024)])
    second = one_core(words=32)  # other programs, BDs, and channels from their first BD again
    array.load(read_pdi(second.image()).cdo())
    data = numbers(256, 9)
    result = array.run(stream, [data.tobytes(), bytes(1024)])
    assert np.array_equal(np.frombuffer(result.buffers[1], np.uint32), data + 1)
    assert result.findings == [] and result.cores[0].findings == []
    third = Draft()  # reads what the program before left in a register: a reset core has nothing there
    third.program(TILE, "add r3, r16, #1\nnop*8\ndone\nnop*5")
    array.load(read_pdi(third.image()).cdo())
    (core,) = array.run(stream_of(Noop()), []).cores
    assert [finding.kind.value for finding in core.findings] == ["undefined-register"]


# -- buffer descriptors ------------------------------------------------------------------------------------------------


def loop_back(**options) -> Draft:
    """Host → mem tile → host: 96 words in, `options` of the BD that sends them back."""
    draft = Draft()
    mem = TileId(0, 1)
    draft.bd(mem, 0, length=96, address=0x80000 + 0x1000, release=(64 + 5, 1))
    options = {"length": 96, "address": 0x80000 + 0x1000, "acquire": (64 + 5, -1)} | options
    draft.bd(mem, 24, **options)
    draft.starts += [ChannelStart(mem, "S2MM_2", 0), ChannelStart(mem, "MM2S_3", 24)]
    draft.circuit(((0, 0), "South3", "North4"), ((0, 1), "South4", "DMA2"))
    draft.circuit(((0, 1), "DMA3", "South3"), ((0, 0), "North3", "South2"))
    draft.shim(0, ("South3", True), ("South2", False))
    return draft


def test_a_mem_tile_transposes_and_pads() -> None:
    data = numbers(96)
    array = loop_back(
        length=10 * 12,
        dimensions=(Dimension(12, 8), Dimension(1)),
        zero_before=(1, 0, 0),
        zero_after=(1, 0, 0),
    ).load()
    result = array.run(stream_of(send(0, 0, 96, 0), fetch(0, 1, 120, 1), done(0)), [data.tobytes(), bytes(480)])
    expected = np.pad(data.reshape(8, 12).T, ((0, 0), (1, 1)))
    assert np.array_equal(np.frombuffer(result.buffers[1], np.uint32).reshape(12, 10), expected)
    assert result.findings == []


def test_the_host_gathers_with_dimensions_iteration_and_repeat() -> None:
    data = numbers(4 * 100)
    gather = {"dimensions": (Dimension(1, 4), Dimension(10)), "iteration": Iteration(100, 4), "repeat": 4}
    array = loop_back().load()
    stream = stream_of(send(0, 0, 24, 0, **gather), fetch(0, 1, 96, 1), done(0))
    result = array.run(stream, [data.tobytes(), bytes(384)])
    expected = data.reshape(4, 100)[:, :60].reshape(4, 6, 10)[:, :, :4]
    assert np.array_equal(np.frombuffer(result.buffers[1], np.uint32), expected.reshape(-1))


def test_a_repeated_task_goes_through_its_chain_again() -> None:
    array = loop_back().load()
    data = numbers(96)
    array.run(stream_of(send(0, 0, 96, 0), fetch(0, 1, 96, 1), done(0)), [data.tobytes(), bytes(384)])
    array.tiles[0, 1].locks[5].value = 10
    queue = register(TileKind.MEM, "DMA_MM2S_3_Start_Queue")
    push = Write32(tile_address(0, 1, queue.offset), queue.encode(Start_BD_ID=24, Repeat_Count=2))
    result = array.run(stream_of(push, fetch(0, 2, 288, 0), done(0)), [bytes(4 * 288)])
    assert np.array_equal(np.frombuffer(result.buffers[0], np.uint32).reshape(3, 96), np.tile(data, (3, 1)))
    assert array.tiles[0, 1].locks[5].value == 7


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=4), st.integers(1, 3))
def test_words_arrive_in_order_whatever_the_sizes(sizes: list[int], rounds: int) -> None:
    """Mem tile BDs of odd sizes in a ring: in, and out by a ring of other sizes."""
    total = sum(sizes)
    draft, mem = Draft(), TileId(0, 1)
    for number, size in enumerate(sizes):
        following = (number + 1) % len(sizes)
        where = {"address": 0x80000 + 4 * sum(sizes[:number]), "length": size}
        draft.bd(mem, number, **where, acquire=(64 + 2 * number, -1), release=(65 + 2 * number, 1), next_bd=following)
        out = 24 + number
        draft.bd(mem, out, **where, acquire=(65 + 2 * number, -1), release=(64 + 2 * number, 1), next_bd=24 + following)
        draft.locks += [LockValue(mem, 2 * number, 1)]
    draft.starts += [ChannelStart(mem, "S2MM_2", 0), ChannelStart(mem, "MM2S_3", 24)]
    draft.circuit(((0, 0), "South3", "North4"), ((0, 1), "South4", "DMA2"))
    draft.circuit(((0, 1), "DMA3", "South3"), ((0, 0), "North3", "South2"))
    draft.shim(0, ("South3", True), ("South2", False))
    data = numbers(total * rounds)
    stream = stream_of(send(0, 0, total * rounds, 0), fetch(0, 1, total * rounds, 1), done(0))
    result = draft.load(columns=1).run(stream, [data.tobytes(), bytes(4 * total * rounds)])
    assert result.buffers[1] == data.tobytes()


# -- several columns ---------------------------------------------------------------------------------------------------


def columns_of(count: int, words: int, rounds: int, **options):
    draft = Draft()
    for column in range(count):
        one_core(column, words=words, draft=draft, **options)
    operations = [send(c, 0, words * rounds, c) for c in range(count)]
    operations += [fetch(c, 1, words * rounds, count + c) for c in range(count)]
    stream = stream_of(*operations, *(done(c) for c in range(count)))
    data = [numbers(words * rounds, seed) for seed in range(count)]
    result = draft.load(timing=published()).run(
        stream, [*(d.tobytes() for d in data), *(bytes(4 * words * rounds) for _ in data)]
    )
    for d, out in zip(data, result.buffers[count:], strict=True):
        assert np.array_equal(np.frombuffer(out, np.uint32), d + 1)
    return result


def test_four_columns_do_more_than_three_times_the_work_of_one() -> None:
    one, four = (columns_of(count, words=256, rounds=24) for count in (1, 4))
    assert 4 * one.cycles / four.cycles > 3


def test_waiting_for_each_column_in_turn_brings_nothing() -> None:
    words = 256
    draft = Draft()
    for column in range(4):
        one_core(column, words=words, work=500, draft=draft)
    starts = [(send(c, 0, words, c), fetch(c, 1, words, 4 + c), done(c)) for c in range(4)]
    buffers = [numbers(words).tobytes()] * 4 + [bytes(4 * words)] * 4
    in_turn = draft.load().run(stream_of(*(o for s in starts for o in s)), buffers)
    together = draft.load().run(stream_of(*(o for k in range(3) for o in (s[k] for s in starts))), buffers)
    assert in_turn.cycles > 3.5 * together.cycles and in_turn.buffers == together.buffers


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_memory_bandwidth_is_shared(channels: int) -> None:
    words = 4096
    draft = Draft()
    for column in range(channels):
        mem = TileId(column, 1)
        draft.bd(mem, 0, length=words, address=0x80000, next_bd=0)
        draft.starts.append(ChannelStart(mem, "S2MM_0", 0))
        draft.circuit(((column, 0), "South3", "North0"), ((column, 1), "South0", "DMA0"))
        draft.shim(column, ("South3", True))
    timing = replace(QUICK, ddr_bytes=6)  # one channel wants 4 bytes a cycle
    array = draft.load(timing=timing)
    result = array.run(stream_of(*(send(c, 0, words, c) for c in range(channels))), [bytes(4 * words)] * channels)
    finished = max(end for c in range(channels) for _, end in span_of(result, f"DMA S2MM 0 of mem tile ({c},1)", "BD"))
    expected = max(words, 4 * words * channels / 6)
    assert expected < finished < 1.03 * expected
    assert array.ddr[True].moved == 4 * words * channels


# -- what costs how much -----------------------------------------------------------------------------------------------


def test_the_host_pays_for_operations_pushes_and_first_tasks() -> None:
    timing = published()
    array = loop_back().load(timing=timing)
    result = array.run(stream_of(send(0, 0, 96, 0), fetch(0, 1, 96, 1), done(0)), [bytes(384), bytes(384)])
    # block write, patch and push of the first; then the second push waits until the controller can push again
    second_push = 3 * timing.operation + timing.push_idle
    start = timing.channel_start + timing.bd_load
    taken = start + timing.shim_s2mm_cold + timing.shim_s2mm_task + 96 + timing.memory_latency + timing.token
    assert second_push + taken <= result.cycles <= second_push + taken + 20
    (sent,) = span_of(result, "DMA MM2S 0 of shim tile (0,0)", "BD")
    pushed = 3 * timing.operation + start + timing.shim_mm2s_cold + timing.shim_mm2s_task
    assert sent == (pushed, pushed + timing.memory_latency + -(-96 * timing.shim_mm2s_percent // 100))


# -- what is found wrong -----------------------------------------------------------------------------------------------


def test_a_deadlock_says_who_waits_for_what() -> None:
    draft = one_core(words=64)
    draft.bds = [replace(p, bd=replace(p.bd, release=None)) if p.number == 1 else p for p in draft.bds]  # forgotten
    stream = stream_of(send(0, 0, 640, 0), fetch(0, 1, 640, 1), done(0))
    with pytest.raises(ArrayError) as error:
        draft.load().run(stream, [numbers(640).tobytes(), bytes(2560)])
    text = str(error.value)
    lock, dma = r"lock \d of core tile \(0,2\)", r"DMA (?:S2MM|MM2S) 0 of (?:core tile \(0,2\)|shim tile \(0,0\))"
    state = rf"{lock} ≥ 1 \(it is 0;"
    since, cycle = r"waits since cycle [\d,]+ for", r"in cycle [\d,]+"
    assert re.match(r"deadlock in cycle [\d,]+: nothing moves, and the instruction stream has not ended\n", text)
    for line in (
        rf"core \(0,2\) {since} {state} last released by {dma} {cycle}, last taken by core \(0,2\) {cycle}\)",
        rf"{dma} {since} {state} last released by core \(0,2\) {cycle}, last taken by {dma} {cycle}\)",
        rf"DMA MM2S 0 of shim tile \(0,0\) {since} room in the stream to DMA S2MM 0 of core tile \(0,2\)",
        rf"DMA S2MM 0 of shim tile \(0,0\) {since} \d+ more words on its stream",
        rf"controller {since} a token of DMA S2MM 0 of shim tile \(0,0\)",
    ):
        assert re.search(rf"^  {line}$", text, re.MULTILINE), (line, text)


def test_waiting_for_a_transfer_that_issues_no_token_is_a_deadlock() -> None:
    stream = stream_of(send(0, 0, 96, 0), fetch(0, 1, 96, 1, token=False), done(0))
    with pytest.raises(ArrayError, match=r"controller waits since .* for a token of DMA S2MM 0 of shim tile \(0,0\)"):
        loop_back().load().run(stream, [bytes(384), bytes(384)])


def test_a_wait_for_several_columns_takes_a_token_of_each() -> None:
    draft = Draft()
    for column in (1, 2):
        one_core(column, draft=draft)
    buffers = [numbers(64).tobytes(), bytes(256), bytes(256)]
    transfers = [send(1, 0, 64, 0), fetch(1, 1, 64, 1), send(2, 0, 64, 0), fetch(2, 1, 64, 2)]
    both = wait(ShimChannel(1, 0, False), columns=2)
    result = draft.load().run(stream_of(*transfers, both), buffers)
    assert result.findings == [] and result.buffers[1] == result.buffers[2] != bytes(256)
    with pytest.raises(ArrayError, match=r"a token of DMA S2MM 0 of shim tile \(2,0\)"):
        draft.load().run(stream_of(*transfers[:3], both), buffers)


def test_a_program_that_never_rests_is_stopped() -> None:
    draft = Draft()
    draft.program(TILE, "mova r17, #0\n.align 16\nagain:\nacq #49, r17\nj #again\nnop*5\n")
    with pytest.raises(ArrayError, match=r"still running in cycle 5,000 \(core \(0,2\)\)"):
        draft.load().run(stream_of(Noop()), [], max_cycles=5000)


def test_sending_what_nobody_wrote_is_found() -> None:
    draft = loop_back(address=0x80000 + 0x1000 + 40)
    result = draft.load().run(stream_of(send(0, 0, 96, 0), fetch(0, 1, 96, 1), done(0)), [bytes(384), bytes(384)])
    assert kinds(result) == ["dma-reads-undefined"]
    assert "word 1120 of the memory of mem tile (0,1)" in result.findings[0].cause
    with pytest.raises(ArrayError, match="dma-reads-undefined"):
        draft.load(strict=True).run(stream_of(send(0, 0, 96, 0), fetch(0, 1, 96, 1), done(0)), [bytes(384)] * 2)


def test_an_address_out_of_the_tile_or_the_buffer_is_an_error() -> None:
    array = loop_back(address=0x100000 - 96).load()
    with pytest.raises(ArrayError, match=r"dma-outside-memory.*mem tile \(0,1\), which has 131072"):
        array.run(stream_of(send(0, 0, 96, 0), fetch(0, 1, 96, 1), done(0)), [bytes(384), bytes(384)])
    for buffers, text in (([bytes(380), bytes(384)], "words 0 to 95 of host buffer 0, which has 95"),):
        with pytest.raises(ArrayError, match=f"outside-host-buffer.*{text}"):
            loop_back().load().run(stream_of(send(0, 0, 96, 0), fetch(0, 1, 96, 1), done(0)), buffers)
    with pytest.raises(ArrayError, match="host buffer 1, and 1 were given"):
        loop_back().load().run(stream_of(send(0, 0, 96, 0), fetch(0, 1, 96, 1), done(0)), [bytes(384)])


def test_a_task_queue_holds_four() -> None:
    sends = [send(0, n, 96, 0) for n in range(6)]
    loop_back().load().run(stream_of(*sends[:5]), [bytes(384)])  # one runs, four wait
    with pytest.raises(ArrayError, match=r"task-queue-full at DMA MM2S 0 of shim tile \(0,0\).*BD 5 is pushed while 4"):
        loop_back().load().run(stream_of(*sends), [bytes(384)])


def test_a_bd_that_is_written_while_it_is_used_is_found() -> None:
    stream = stream_of(send(0, 0, 96, 0), send(0, 0, 96, 0, 0))
    result = loop_back().load(timing=published()).run(stream, [bytes(384)])
    assert set(kinds(result)) == {"bd-rewritten-in-use"}


def test_a_bd_that_is_not_valid_or_of_the_wrong_channel_is_an_error() -> None:
    with pytest.raises(ArrayError, match=r"bd-invalid.*BD 24 is started, but"):
        loop_back(valid=False).load().run(stream_of(Noop()), [])
    draft = loop_back()
    draft.starts[1] = ChannelStart(TileId(0, 1), "MM2S_2", 24)
    with pytest.raises(ArrayError, match="BD 24 cannot be used by channel 2: even channels use BDs 0 to 23"):
        draft.load().run(stream_of(Noop()), [])


def test_a_stream_that_goes_nowhere_is_found() -> None:
    draft = loop_back()
    draft.routes = [route for route in draft.routes if isinstance(route, TokenRoute) or route.slave != "DMA3"]
    with pytest.raises(ArrayError, match="deadlock") as error:
        draft.load().run(stream_of(send(0, 0, 96, 0), fetch(0, 1, 96, 1), done(0)), [bytes(384), bytes(384)])
    assert "DMA MM2S 3 of mem tile (0,1) waits since" in str(error.value)
    assert "no route brings" in str(error.value)
    result = draft.load().run(stream_of(send(0, 0, 96, 0)), [bytes(384)])
    assert kinds(result) == ["stream-goes-nowhere"]


def test_a_token_without_a_way_out_and_an_output_that_nobody_waits_for_are_found() -> None:
    draft = loop_back()
    draft.routes = [route for route in draft.routes if not isinstance(route, TokenRoute)]
    result = draft.load().run(stream_of(send(0, 0, 96, 0), fetch(0, 1, 96, 1), done(0)), [bytes(384), bytes(384)])
    assert kinds(result) == ["token-has-no-route"] and "id 15" in result.findings[0].cause
    result = loop_back().load().run(stream_of(send(0, 0, 96, 0), fetch(0, 1, 100, 1)), [bytes(384), bytes(400)])
    assert kinds(result) == ["host-transfer-unfinished"]


def test_a_lock_out_of_range_is_an_error_unless_told_otherwise() -> None:
    draft = loop_back(release=(64 + 9, 63))
    draft.locks.append(LockValue(TileId(0, 1), 9, 1))
    stream, buffers = stream_of(send(0, 0, 96, 0), fetch(0, 1, 96, 1), done(0)), [bytes(384), bytes(384)]
    with pytest.raises(ArrayError, match=r"lock-out-of-range.*which makes 64"):
        draft.load().run(stream, buffers)
    result = draft.load(severity={ArrayKind.LOCK_RANGE: Severity.WARNING}).run(stream, buffers)
    assert kinds(result) == ["lock-out-of-range"]


def test_strict_is_strict_with_cores_too_but_not_with_reads_of_old_values() -> None:
    text = "movxm p0, #0x70100\nmova r1, #5\nlda r1, [p0, #0]\nadd r2, r1, #1\nnop*16\n{more}\nnop*16\ndone\nnop*5"
    for more, fails in (("nop", False), ("add r3, r9, #1", True)):
        draft = Draft()
        draft.program(TILE, text.format(more=more), (0x100, bytes(16)))
        array = draft.load(strict=True)
        if fails:
            with pytest.raises(ArrayError, match=r"core \(0,2\): error: undefined-register"):
                array.run(stream_of(Noop()), [])
        else:
            assert array.run(stream_of(Noop()), []).cores[0].state == "ended"
            assert array.cores[0, 2].core.registers["r2"] == 6


@pytest.mark.parametrize(("frame", "found"), [(512, []), (1024, ["stack"])])
def test_a_stack_that_grows_into_a_buffer_is_found(frame: int, found: list[str]) -> None:
    """The stack starts below the first buffer, at 0x400: a frame of 1,024 bytes on top of another one is too much."""
    draft = one_core(words=64)
    text = adder(64, [0x400, 0x500], [0x8000, 0x8100])
    text = f"movxm sp, #{0x70000:#x}\npaddb [sp], #64\n" + text.replace(
        "movxm p0", f"paddb [sp], #{frame}\npaddb [sp], #-{frame}\nmovxm p0"
    )
    draft.cores.clear()
    draft.program(TILE, text)
    stream = stream_of(send(0, 0, 64, 0), fetch(0, 1, 64, 1), done(0))
    (core,) = draft.load().run(stream, [bytes(256), bytes(256)]).cores
    assert sorted({finding.kind.value for finding in core.findings}) == found
    if found:
        assert "the stack is 0x70000..0x703ff" in core.findings[0].cause


def test_what_is_not_simulated_says_so() -> None:
    with pytest.raises(ArrayError, match="operation 0 is a LoadPdi, which is not simulated"):
        loop_back().load().run(stream_of(LoadPdi(1, 2, 3)), [])
    with pytest.raises(ArrayError, match=r"no tile \(7,0\); the array has 4 columns"):
        loop_back().load().run(stream_of(Write32(tile_address(7, 0, 0x1D000), 0)), [])
    result = loop_back().load().run(stream_of(Write32(tile_address(0, 0, 0x12340), 0)), [])
    assert kinds(result) == ["unknown-register"]
    with pytest.raises(ArrayError, match="BD 24 compresses, which is not simulated"):
        loop_back(compression=True).load().run(stream_of(Noop()), [])
