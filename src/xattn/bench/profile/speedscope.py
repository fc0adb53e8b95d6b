"""The run as a flame graph in speedscope's file format: once by stage and then loop, once by loop and then stage.

A stack holds one thing at a time, so cycles of several stages at once are a frame of their own. Times are real ones at
the named clock, in nanoseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from xattn import __version__
from xattn.bench.profile.record import Profile
from xattn.bench.profile.recording import Recording, Span

SCHEMA = "https://www.speedscope.app/file-format-schema.json"
Frame = tuple[str, str | None, int | None]  # name, file, line
_NO_STAGE = "no stage"


def speedscope_file(profile: Profile, recording: Recording) -> bytes:
    """The file's contents."""
    frames: dict[Frame, int] = {}
    root: Frame = (f"{profile.name} {profile.tokens}×{profile.width}", None, None)
    nanoseconds = 1e9 / profile.clock_hz
    profiles = [
        _profile(f"{profile.name} by {what}", recording, root, of, frames, nanoseconds)
        for what, of in (("stage", _stage_first), ("loop", _loop_first))
    ]
    shared = [
        {"name": name} if file is None else {"name": name, "file": file, "line": line} for name, file, line in frames
    ]
    contents = {
        "$schema": SCHEMA,
        "name": f"{root[0]}, simulated, at {profile.clock_hz / 1e9:g} GHz",
        "exporter": f"xattn {__version__}",
        "activeProfileIndex": 0,
        "shared": {"frames": shared},
        "profiles": profiles,
    }
    return msgspec.json.encode(contents) + b"\n"


def _profile(
    name: str,
    recording: Recording,
    root: Frame,
    stack_of: Callable[[Span], tuple[Frame, ...]],
    frames: dict[Frame, int],
    nanoseconds: float,
) -> dict[str, Any]:
    """An evented profile: frames open and close as the stack changes from span to span."""
    events: list[dict[str, Any]] = []
    stack: tuple[Frame, ...] = ()
    stacks = [(span.first, (root, *stack_of(span))) for span in recording.spans]
    for cycle, wanted in [*stacks, (recording.cycles, ())]:
        at = cycle * nanoseconds
        kept = 0
        while kept < min(len(stack), len(wanted)) and stack[kept] == wanted[kept]:
            kept += 1
        events += [{"type": "C", "frame": frames[frame], "at": at} for frame in reversed(stack[kept:])]
        for frame in wanted[kept:]:
            events.append({"type": "O", "frame": frames.setdefault(frame, len(frames)), "at": at})
        stack = wanted
    end = recording.cycles * nanoseconds
    return {
        "type": "evented", "name": name, "unit": "nanoseconds", "startValue": 0, "endValue": end, "events": events
    }  # fmt: skip


def _stage_first(span: Span) -> tuple[Frame, ...]:
    return (*_stages(span), *_loops(span))


def _loop_first(span: Span) -> tuple[Frame, ...]:
    return (*_loops(span), *_stages(span))


def _loops(span: Span) -> tuple[Frame, ...]:
    return tuple((f"loop {loop.name}", *_source(loop.where)) for loop in span.path)


def _source(where: str) -> tuple[str, int]:
    file, _, line = where.rpartition(":")
    return file, int(line)


def _stages(span: Span) -> tuple[Frame, ...]:
    names = sorted({stage.name for stage in span.stages})
    parts = sorted({stage.part for stage in span.stages if stage.part})
    frames: list[Frame] = [(" + ".join(names) or _NO_STAGE, None, None)]
    if parts:
        frames.append((" + ".join(parts), None, None))
    return tuple(frames)
