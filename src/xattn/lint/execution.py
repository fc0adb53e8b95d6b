"""What only a run shows: files on the simulated array, three times, with random inputs.

The first two runs get the same input, the third one another, on one array, as a host would call a kernel again and
again. An output that is the same for other inputs, or another for the same input, is a mistake.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xattn.lint.finding import Check, Found, Unchecked
from xattn.lint.streams import tasks_of
from xattn.lint.subject import Subject
from xattn.sim.array.buffers import buffer_bytes
from xattn.sim.array.findings import ArrayError

if TYPE_CHECKING:
    from xattn.sim.array.report import ArrayResult

_SEEDS = (1, 1, 2)
_TOO_LONG = "still running"


@dataclass(frozen=True)
class Runs:
    """The results of the runs that ended, or why one did not."""

    where: str
    outputs: tuple[int, ...]  # numbers of the host buffers that are written
    results: tuple[ArrayResult, ...]
    failure: str | None = None
    too_long: bool = False


def runs_of(subject: Subject) -> Runs | None:
    """The runs of a subject, made once; None when it has not one image and one stream."""
    if subject.image is None or subject.stream is None:
        return None
    if subject.runs is None:
        subject.runs = _run(subject)
    return subject.runs


def _run(subject: Subject) -> Runs:
    from xattn.sim.array.machine import Array

    image, named = subject.image, subject.stream
    assert image is not None and named is not None
    where, stream = f"{named.name} with {image.name}", named.content
    sizes = buffer_bytes(stream)
    inputs = {m.argument for task in tasks_of(stream).tasks if task.channel.to_array for m in task.moved}
    outputs = {m.argument for task in tasks_of(stream).tasks if not task.channel.to_array for m in task.moved}
    results: list[ArrayResult] = []
    try:
        array = Array(core_cycles=len(_SEEDS) * subject.max_cycles, engine="auto")
        array.load(image.content.cdo)
        for seed in _SEEDS:
            buffers = _buffers(sizes, inputs, seed)
            results.append(array.run(stream, buffers, max_cycles=subject.max_cycles))
    except ArrayError as error:
        text = str(error)
        return Runs(where, tuple(sorted(outputs)), tuple(results), text, _TOO_LONG in text)
    return Runs(where, tuple(sorted(outputs)), tuple(results))


def _buffers(sizes: dict[int, int], inputs: set[int], seed: int) -> list[bytes]:
    """Random bytes where the array reads, zeros elsewhere."""
    random = np.random.default_rng(seed)
    return [
        random.bytes(sizes.get(number, 0)) if number in inputs else bytes(sizes.get(number, 0))
        for number in range(max(sizes, default=-1) + 1)
    ]


def fails(subject: Subject) -> Check:
    """Runs that end in an error or in a deadlock."""
    runs = runs_of(subject)
    if runs is None or runs.failure is None:
        return
    if runs.too_long:
        yield Unchecked("simulated-run", runs.where, _limit(subject))
        return
    yield Found(
        runs.where,
        f"run {len(runs.results) + 1} on the simulated array failed: {' '.join(runs.failure.split())}; "
        "`xattn simulate --timeline` shows who waits for whom",
    )


def _limit(subject: Subject) -> str:
    return f"a run takes more than {subject.max_cycles:,} cycles (simulated); allow more with --max-cycles"


def remarks(subject: Subject) -> Check:
    """What the simulator found in the runs that was no error."""
    runs = runs_of(subject)
    if runs is None or not runs.results:
        return
    result = runs.results[-1]  # findings add up from run to run
    for finding in result.findings:
        yield Found(f"{runs.where}, {finding.where}", f"the simulator found {finding.kind.value}: {finding.cause}")
    seen: set[str] = set()
    for core in result.cores:
        for item in core.findings:
            text = f"the simulator found {item.kind.value}: {item.cause}"
            if text not in seen:
                seen.add(text)
                yield Found(f"{runs.where}, core ({core.column}, {core.row}), {item.pc:#x}", text)


def _complete(subject: Subject, rule: str) -> Iterator[Runs | Unchecked]:
    """The runs, if all of them ended."""
    runs = runs_of(subject)
    if runs is None or not runs.outputs:
        return
    if len(runs.results) < len(_SEEDS):
        yield Unchecked(rule, runs.where, _limit(subject) if runs.too_long else "a run failed")
    else:
        yield runs


def constant_output(subject: Subject) -> Check:
    """Outputs that do not depend on the inputs."""
    for runs in _complete(subject, "constant-output"):
        if isinstance(runs, Unchecked):
            yield runs
            continue
        _, first, second = runs.results
        for number in runs.outputs:
            one, other = first.buffers[number], second.buffers[number]
            if one == other:
                shown = _shown(one)
                yield Found(
                    f"{runs.where}, host buffer {number}",
                    f"the output is the same for two random inputs ({shown}): the inputs never arrive, or the result "
                    "is not written; look at what the core reads (a stale BD, another buffer, a stuck lock)",
                )
            elif len(one) > 1 and len(set(one)) == 1 and len(set(other)) == 1:
                yield Found(
                    f"{runs.where}, host buffer {number}",
                    f"every byte of the output is the same ({_shown(one)}): scores or weights are lost, often in a "
                    "clamp or a shift; compare with the integer model",
                )


def _shown(data: bytes) -> str:
    return f"all {len(data):,} bytes are {data[0]:#04x}" if len(set(data)) == 1 else f"{len(data):,} bytes"


def depends_on_call(subject: Subject) -> Check:
    """Outputs that differ between two calls with the same input."""
    for runs in _complete(subject, "output-differs-between-calls"):
        if isinstance(runs, Unchecked):
            yield runs
            continue
        first, again, _ = runs.results
        for number in runs.outputs:
            one, other = _bytes(first, number), _bytes(again, number)
            different = int(np.count_nonzero(one != other))
            if different:
                yield Found(
                    f"{runs.where}, host buffer {number}",
                    f"{different:,} of {len(one):,} bytes differ between two calls with the same input: something "
                    "overwrites one of two buffers (a stack that is too small does), or memory that nothing has "
                    "written is read",
                )


def _bytes(result: ArrayResult, number: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(result.buffers[number], np.uint8)
