"""The run as a trace for Perfetto and chrome://tracing, in the Trace Event Format (JSON object form).

Times are real ones at the named clock; the format counts in microseconds. Tracks: the call, its loops (in each other),
every stage and every part of one, and stalls. A stage that shares a loop with others is shown from its first to its
last cycle in it; its arguments say in how many cycles it is active.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from xattn.bench.profile.record import Profile
from xattn.bench.profile.recording import Recording, Slice

Event = dict[str, Any]
_PROCESS = 1


def chrome_trace(profile: Profile, recording: Recording) -> bytes:
    """The file's contents."""
    events = list(_Tracks(profile, recording).events())
    about = {
        "xattn": profile.xattn,
        "kernel": f"{profile.name} {profile.tokens}×{profile.width}",
        "input": profile.input,
        "cycles": profile.cycles_are,
        "clock_hz": profile.clock_hz,
    }
    return msgspec.json.encode({"traceEvents": events, "displayTimeUnit": "ns", "otherData": about}) + b"\n"


class _Tracks:
    def __init__(self, profile: Profile, recording: Recording) -> None:
        self.profile, self.recording = profile, recording
        self.micros = 1e6 / profile.clock_hz

    def events(self) -> Iterator[Event]:
        """All tracks, each with its name and place before its slices."""
        profile, recording = self.profile, self.recording
        title = f"{profile.name} {profile.tokens}×{profile.width}, simulated, at {profile.clock_hz / 1e9:g} GHz"
        yield self._about(0, "process_name", name=title)
        tracks: list[tuple[str, Iterator[Event]]] = [
            ("call", iter([self._slice(1, profile.name, Slice(0, recording.cycles, recording.cycles))])),
            ("loops", self._loops(2)),
        ]
        for name in self._stages():
            tracks.append((name, self._stage(len(tracks) + 1, name)))
        tracks.append(("stalls", self._stalls(len(tracks) + 1)))
        for number, (name, slices) in enumerate(tracks, 1):
            yield self._about(number, "thread_name", name=name)
            yield self._about(number, "thread_sort_index", sort_index=number)
            yield from slices

    def _stages(self) -> Iterator[str]:
        for stage in self.profile.stages.stages:
            yield stage.name
            if len(stage.parts) > 1:
                yield from (_label(stage.name, part.name) for part in stage.parts if part.name)

    def _loops(self, track: int) -> Iterator[Event]:
        for _, name, where, time in self.recording.loop_slices():
            yield self._slice(track, name, time, source=where)

    def _stage(self, track: int, label: str) -> Iterator[Event]:
        slices = self.recording.stage_slices(
            lambda stage: label if label in (stage.name, _label(stage.name, stage.part)) else None
        )
        for name, time in slices:
            yield self._slice(track, name, time, active_cycles=time.active)

    def _stalls(self, track: int) -> Iterator[Event]:
        for stall in self.recording.stalls:
            time = Slice(stall.first, stall.behind, stall.behind - stall.first)
            yield self._slice(track, "stall", time, bundle=f"{stall.address:#x}")

    def _slice(self, track: int, name: str, time: Slice, **arguments: object) -> Event:
        return {
            "ph": "X",
            "name": name,
            "cat": "simulated",
            "pid": _PROCESS,
            "tid": track,
            "ts": time.first * self.micros,
            "dur": (time.behind - time.first) * self.micros,
            "args": {"first_cycle": time.first, "cycles": time.behind - time.first, **arguments},
        }

    def _about(self, track: int, what: str, **arguments: object) -> Event:
        return {"ph": "M", "name": what, "pid": _PROCESS, "tid": track, "ts": 0, "args": arguments}


def _label(stage: str, part: str) -> str:
    return f"{stage}: {part}"
