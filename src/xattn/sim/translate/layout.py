"""Where a core's state lies in the block of bytes that native code works on."""

from __future__ import annotations

from xattn.isa.model import Register
from xattn.sim.state import place_of, storage_index

SCALARS = 0  # 8 bytes each
_SIZES = {
    ("w", False): 24 * 32,
    ("w", True): 24 * 32,
    ("am", False): 36 * 32,
    ("am", True): 36 * 32,
    ("q", False): 4 * 16,
}
ALIGNMENT = 64


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _buffers() -> tuple[dict[tuple[str, bool], int], int]:
    place = _aligned(8 * len(storage_index()))
    found: dict[tuple[str, bool], int] = {}
    for buffer, size in _SIZES.items():
        found[buffer] = place
        place += _aligned(size)
    return found, place


BUFFERS, _END = _buffers()
"""First byte of the vector registers ("w"), accumulators ("am") and masks ("q"), and of copies for bypassed reads."""
LIMIT, BASE_CYCLE, BUNDLES, ADDRESS, TARGET, EVENTS, RESOLVER, TABLE = (_END + 8 * k for k in range(8))
"""Most bundles; cycles before the run; bundles of the run; where and where to code gave up; events so far;
what it asks for the function of a mode, and the functions that are there (see `modes`)."""
EVENT_LIST = _END + 64
MOST_EVENTS = 4096
STATE_BYTES = EVENT_LIST + 16 * MOST_EVENTS


def vector_place(register: Register) -> tuple[str, int, int]:
    """(buffer, first byte, bytes) of a vector register."""
    place = place_of(register)
    assert place is not None, register
    return place[0], place[1], register.bits // 8
