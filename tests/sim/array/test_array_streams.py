"""Streams between DMA channels, against a model that moves one word a cycle."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from array_programs import QUICK, Draft, stream_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xattn.array.configuration import ChannelStart, LockValue
from xattn.array.design import TileId
from xattn.array.instructions import Noop

SOURCE = TileId(1, 2)
SINKS = (TileId(1, 3), TileId(1, 4), TileId(2, 2))
ROUTES = (
    (((1, 2), "DMA0", "North2"), ((1, 3), "South2", "DMA0")),
    (((1, 2), "DMA0", "North3"), ((1, 3), "South3", "North1"), ((1, 4), "South1", "DMA0")),
    (((1, 2), "DMA0", "East1"), ((2, 2), "West1", "DMA0")),
)
# Cycles from the source's port to each sink, and words that fit on the way, by hand from the published figures: a
# switch takes 4 cycles to another tile and 3 inside it, a hop 2; FIFOs have 12, 4 a slave port, 4 or 2 a master port,
# and 16 words.
LATENCY = (4 + 2 + 3, 4 + 2 + 4 + 2 + 3, 4 + 2 + 3)
CAPACITY = (12 + 4 + 4 + 4 + 2 + 16, 12 + 4 + 4 + 4 + 4 + 4 + 2 + 16, 12 + 4 + 4 + 4 + 2 + 16)


@dataclass
class Actor:
    """One channel as a script: numbers are cycles to wait, None is a word to move, text marks the end of a BD."""

    script: deque
    ready: int = 0
    moved: int = 0
    ends: list[int] = field(default_factory=list)
    arrived: deque = field(default_factory=deque)

    def wants_word(self, now: int) -> bool:
        while self.script and self.script[0] is not None:
            step = self.script.popleft()
            if step == "end":
                self.ends.append(self.ready)
            else:
                self.ready += step
        return bool(self.script) and self.ready <= now

    def word(self, now: int) -> None:
        self.script.popleft()
        self.ready, self.moved = now + 1, self.moved + 1
        self.wants_word(-1)  # waits start right behind the last word


def script(lengths: list[int], locks: list[bool], receives: bool) -> deque:
    steps: list = [QUICK.channel_start + QUICK.bd_load]
    for number, (length, lock) in enumerate(zip(lengths, locks, strict=True)):
        steps.append(QUICK.bd_chain if number else 0)
        steps.append(QUICK.lock_operation if lock else 0)
        latency = QUICK.memory_latency
        steps += [None] * length + [latency] if receives else [latency] + [None] * length
        steps += ["end", QUICK.lock_operation if lock else 0]
    return deque(steps)


def word_by_word(source: Actor, sinks: list[Actor], which: list[int]) -> None:
    idle = now = 0
    while idle < 200:
        idle += 1
        for sink in sinks:
            if sink.wants_word(now) and sink.arrived and sink.arrived[0] <= now:
                sink.arrived.popleft()
                sink.word(now)
                idle = 0
        room = all(source.moved - sink.moved < CAPACITY[n] for sink, n in zip(sinks, which, strict=True))
        if source.wants_word(now) and room:
            source.word(now)
            for sink, n in zip(sinks, which, strict=True):
                sink.arrived.append(now + LATENCY[n])
            idle = 0
        now += 1


def chain(draft: Draft, tile: TileId, channel: str, first: int, lengths: list[int], locks: list[bool]) -> None:
    for number, (length, lock) in enumerate(zip(lengths, locks, strict=True)):
        last = number == len(lengths) - 1
        uses = {"acquire": (first, -1), "release": (first, 1)} if lock else {}
        address = 4 * sum(lengths[:number])
        draft.bd(
            tile, first + number, length=length, address=address, next_bd=None if last else first + number + 1, **uses
        )
    draft.locks.append(LockValue(tile, first, 1))
    draft.starts.append(ChannelStart(tile, channel, first))


def ends(spans: list, name: str) -> list[int]:
    return [span.end for span in spans if span.track == name and span.name.startswith("BD ")]


lengths = st.lists(st.tuples(st.integers(1, 90) | st.integers(1, 6), st.booleans()), min_size=1, max_size=7)


@settings(max_examples=60, deadline=None)
@given(lengths, st.lists(lengths, min_size=1, max_size=3))
@example([(200, False)], [[(3, True)] * 7, [(100, False)]])
def test_cycles_are_those_of_a_word_by_word_model(sent, taken) -> None:
    which = list(range(len(taken)))
    draft = Draft()
    chain(draft, SOURCE, "MM2S_0", 0, [n for n, _ in sent], [b for _, b in sent])
    source = Actor(script([n for n, _ in sent], [b for _, b in sent], receives=False))
    sinks = []
    for number, bds in zip(which, taken, strict=True):
        chain(draft, SINKS[number], "S2MM_0", 3, [n for n, _ in bds], [b for _, b in bds])
        sinks.append(Actor(script([n for n, _ in bds], [b for _, b in bds], receives=True)))
        draft.circuit(*ROUTES[number])
    word_by_word(source, sinks, which)
    array = draft.load()
    values = np.arange(1, 1 + sum(n for n, _ in sent), dtype=np.uint32)
    array.tiles[SOURCE].write(0, values.tolist())
    result = array.run(stream_of(Noop()), [])
    assert ends(result.spans, "DMA MM2S 0 of core tile (1,2)") == source.ends
    for number, sink in zip(which, sinks, strict=True):
        column, row = SINKS[number]
        assert ends(result.spans, f"DMA S2MM 0 of core tile ({column},{row})") == sink.ends
        complete = sum(n for n, _ in taken[number][: len(sink.ends)])
        memory = np.frombuffer(array.tile_memory(column, row), np.uint32)
        assert np.array_equal(memory[:complete], values[:complete])


def test_one_sink_that_is_not_ready_holds_up_the_other() -> None:
    draft = Draft()
    chain(draft, SOURCE, "MM2S_0", 0, [500], [False])
    chain(draft, SINKS[0], "S2MM_0", 3, [500], [False])
    draft.bd(SINKS[1], 3, length=500, address=0, acquire=(0, -1))  # a lock that nobody releases
    draft.starts.append(ChannelStart(SINKS[1], "S2MM_0", 3))
    draft.circuit(*ROUTES[0], *ROUTES[1])
    array = draft.load()
    array.tiles[SOURCE].write(0, [7] * 500)
    array.run(stream_of(Noop()), [])
    memory = np.frombuffer(array.tile_memory(*SINKS[0]), np.uint32)
    assert np.count_nonzero(memory) == CAPACITY[1]  # as much as fits on the way to the one that waits
