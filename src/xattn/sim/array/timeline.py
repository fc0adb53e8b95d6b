"""A run as a timeline in Chrome's trace format, for chrome://tracing and Perfetto; one cycle is drawn as 1 µs."""

from __future__ import annotations

import re
from typing import Any

from xattn.sim.array.report import ArrayResult

HOST = "host"


def chrome_trace(result: ArrayResult) -> dict[str, Any]:
    """The run as a JSON object: a process a tile, a thread a core or DMA channel, a counter a lock; from cycle 0."""
    tiles: dict[str, int] = {}
    threads: dict[str, int] = {}
    events: list[dict[str, Any]] = []
    for span in sorted(result.spans, key=lambda span: (span.begin, -span.end)):
        tile = tiles.setdefault(_tile_of(span.track), len(tiles))
        thread = threads.setdefault(span.track, len(threads))
        begin = span.begin - result.begin
        events.append(
            {"ph": "X", "name": span.name, "pid": tile, "tid": thread, "ts": begin, "dur": span.end - span.begin}
        )
    for name, changes in result.locks.items():
        tile = tiles.setdefault(_tile_of(name), len(tiles))
        counter = name.split(" of ")[0]
        events += [
            {"ph": "C", "name": counter, "pid": tile, "ts": cycle - result.begin, "args": {"value": value}}
            for cycle, value in changes
        ]
    names = [_name("process_name", tile, pid, 0) for tile, pid in tiles.items()]
    names += [_name("thread_name", track, tiles[_tile_of(track)], tid) for track, tid in threads.items()]
    return {"traceEvents": names + events, "otherData": {"cycles": result.cycles, "unit": "one cycle is shown as 1 us"}}


def _name(kind: str, name: str, process: int, thread: int) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": process, "tid": thread, "args": {"name": name}}


def _tile_of(track: str) -> str:
    found = re.search(r"\(\d+,\d+\)$", track)
    return f"tile {found.group()}" if found else HOST
