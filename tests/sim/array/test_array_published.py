"""Shim transfers against what others measured on a Phoenix: how well the published figures are put together.

Source: FIM43-Redeye/xdna-emu (MIT), docs/superpowers/findings, 2026-05-25 (a transfer's length) and 2026-05-27 (chains
of transfers, medians of 50 runs). Single runs differ by 30 to 50 % where a transfer is short, so short ones are left
out.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from array_programs import Draft, fetch, send, stream_of

from xattn.array.configuration import ChannelStart
from xattn.array.design import TileId
from xattn.sim.array.machine import Array
from xattn.sim.array.timing import published

# words: cycles of a first transfer from start to end, host to array and array to host
MEASURED = {2048: (3421, 2217), 4096: (5304, 4261), 8192: (9121, 8357), 16384: (17963, 16525)}
# cycles from the end of one of eight transfers of 64 words to the start of the next, medians behind the first
GAPS = {"MM2S 0": 2734, "S2MM 0": 2876}
# the last of those eight transfers itself
LAST = {"MM2S 0": 369, "S2MM 0": 248}


def passthrough(words: int, repeats: int = 1) -> Array:
    """A mem tile that takes `repeats` times `words` and gives them back."""
    draft, mem = Draft(), TileId(0, 1)
    total = words * repeats
    draft.bd(mem, 0, length=total, address=0x80000, release=(64, 1))
    draft.bd(mem, 24, length=total, address=0x80000, acquire=(64, -1))
    draft.starts += [ChannelStart(mem, "S2MM_0", 0), ChannelStart(mem, "MM2S_1", 24)]
    draft.circuit(((0, 0), "South3", "North0"), ((0, 1), "South0", "DMA0"))
    draft.circuit(((0, 1), "DMA1", "South0"), ((0, 0), "North0", "South2"))
    draft.shim(0, ("South3", True), ("South2", False))
    return draft.load(timing=published(), columns=1)


@pytest.mark.parametrize("words", MEASURED)
def test_the_length_of_one_transfer(words: int) -> None:
    array = passthrough(words)
    data = np.arange(words, dtype=np.uint32).tobytes()
    (sent,) = array.run(stream_of(send(0, 0, words, 0)), [data]).transfers
    result = array.run(stream_of(fetch(0, 1, words, 0)), [bytes(4 * words)])
    (fetched,) = result.transfers
    assert result.buffers[0] == data
    for transfer, measured in zip((sent, fetched), MEASURED[words], strict=True):
        assert transfer.ended - transfer.began == pytest.approx(measured, rel=0.17), transfer.channel


def test_a_chain_of_transfers() -> None:
    words = 64
    array = passthrough(words, 8)
    sends = [send(0, n, words, 0, 4 * words * n) for n in range(8)]
    sent = array.run(stream_of(*sends), [bytes(4 * 8 * words)]).transfers
    fetches = [fetch(0, 8 + n, words, 0, 4 * words * n) for n in range(8)]
    fetched = array.run(stream_of(*fetches), [bytes(4 * 8 * words)]).transfers
    for transfers in (sent, fetched):
        name = transfers[0].channel
        gaps = [after.began - before.ended for before, after in pairwise(transfers[1:])]
        assert np.median(gaps) == pytest.approx(GAPS[name], rel=0.06)
        assert transfers[-1].ended - transfers[-1].began == pytest.approx(LAST[name], rel=0.15)
