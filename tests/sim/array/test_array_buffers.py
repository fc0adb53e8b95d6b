"""How much of each host buffer a stream uses, against what a run touches."""

from __future__ import annotations

import pytest
from array_programs import Draft, fetch, send, stream_of
from hypothesis import given, settings
from hypothesis import strategies as st

from xattn.array.buffer_descriptor import Dimension, Iteration
from xattn.array.configuration import ChannelStart
from xattn.array.design import TileId
from xattn.sim.array.buffers import buffer_bytes
from xattn.sim.array.findings import ArrayError
from xattn.sim.array.machine import Array


def sink() -> Array:
    """A mem tile that takes whatever comes."""
    draft, mem = Draft(), TileId(0, 1)
    draft.bd(mem, 0, length=1, address=0x80000, next_bd=0)
    draft.starts.append(ChannelStart(mem, "S2MM_0", 0))
    draft.circuit(((0, 0), "South3", "North0"), ((0, 1), "South0", "DMA0"))
    draft.shim(0, ("South3", True))
    return draft.load(columns=1)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 30),
    st.lists(st.builds(Dimension, st.integers(1, 9), st.integers(1, 4)), max_size=2),
    st.builds(Iteration, st.integers(1, 50), st.integers(1, 4)),
    st.integers(1, 5),
    st.integers(0, 9),
)
def test_the_last_byte_used_is_just_inside(length, inner, iteration, repeat, offset) -> None:
    bd = {"dimensions": (*inner, Dimension(3)), "iteration": iteration, "repeat": repeat}
    stream = stream_of(send(0, 3, length, 0, 4 * offset, **bd))
    size = buffer_bytes(stream)[0]
    sink().run(stream, [bytes(size)])
    with pytest.raises(ArrayError, match="outside-host-buffer"):
        sink().run(stream, [bytes(size - 4)])


def test_each_buffer_has_its_own_size() -> None:
    stream = stream_of(send(0, 0, 10, 2), send(1, 0, 20, 0, 100), fetch(0, 1, 5, 1), send(0, 2, 7, 2, 4))
    assert buffer_bytes(stream) == {2: 40, 0: 180, 1: 20}
