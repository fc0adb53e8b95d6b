"""Timing a function on this host, with an eye on what else the machine does meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xattn.bench.statistics import Timing, summarize
from xattn.errors import InputError

MIN_SAMPLES = 5
_SHORTEST = 1e-3  # seconds of one sample: shorter calls are timed several at once
_DISTURBING = 0.2  # processors that others keep busy
_STAT = Path("/proc/stat")
_IDLE = (3, 4)  # columns of /proc/stat: idle and waiting for input or output
_GUEST = 8  # from this column on time is counted twice


def time_calls(function: Callable[[], Any], *, budget: float = 2.0, warmup: int = 2, max_samples: int = 200) -> Timing:
    """Call `function` again and again for about `budget` seconds, at least 5 times after the warm-up.

    A sample is one call, or the mean of as many calls as take a millisecond.
    """
    if warmup < 1 or budget <= 0 or max_samples < MIN_SAMPLES:
        raise InputError(
            f"budget {budget:g} s, warm-up {warmup}, samples {max_samples}: expected above 0, 1 and {MIN_SAMPLES}"
        )
    for _ in range(warmup):
        calls = max(1, round(_SHORTEST / max(_seconds(function, 1), 1e-9)))
    samples: list[float] = []
    watch = OtherLoad()
    end = time.perf_counter() + budget
    while len(samples) < MIN_SAMPLES or (len(samples) < max_samples and time.perf_counter() < end):
        samples.append(_seconds(function, calls))
    other = watch.processors()
    return summarize(samples, warmup, other, other is not None and other > _DISTURBING)


def _seconds(function: Callable[[], Any], calls: int) -> float:
    """Of one call, on average."""
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls


class OtherLoad:
    """Watches, from its making on, how busy others keep the processors that this process may use."""

    def __init__(self) -> None:
        self._start = _now()

    def processors(self) -> float | None:
        """The mean number of processors kept busy by other programs; None where the system does not tell."""
        before, after = self._start, _now()
        if before is None or after is None or after[0] <= before[0]:
            return None
        elapsed, busy, own = (b - a for a, b in zip(before, after, strict=True))
        return max(0.0, (busy - own) / elapsed)


def _now() -> tuple[float, float, float] | None:
    """Seconds of clock, of work on the processors that this process may use, and of its own work."""
    busy = busy_seconds()
    if busy is None:
        return None
    times = os.times()
    return time.perf_counter(), busy, times.user + times.system


def busy_seconds(text: str | None = None) -> float | None:
    """Seconds that the usable processors have worked since the machine's start, by /proc/stat."""
    try:
        text = _STAT.read_text(encoding="ascii") if text is None else text
        usable, tick = os.sched_getaffinity(0), os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):
        return None
    total = 0
    for line in text.splitlines():
        name, *columns = line.split()
        if name.startswith("cpu") and name[3:].isdecimal() and int(name[3:]) in usable:
            total += sum(int(c) for i, c in enumerate(columns[:_GUEST]) if i not in _IDLE)
    return total / tick
