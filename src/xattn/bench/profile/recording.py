"""What a traced run did, in order of time: spans of cycles in one place, and stalls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby

from xattn.bench.profile.loops import Path, paths_at
from xattn.bench.stages import Stages, stages_at
from xattn.compiler.compile import CompiledKernel
from xattn.compiler.ir import Stage
from xattn.isa.codec import Bundle

Place = tuple[Path, Stages]


@dataclass(frozen=True)
class Span:
    """Cycles from `first` to before `behind` in bundles of the same loops that serve the same stages."""

    first: int
    behind: int
    path: Path
    stages: Stages


@dataclass(frozen=True)
class Slice:
    """A time in which a loop or a stage is under way. `active`: the cycles of it in which it issues or waits."""

    first: int
    behind: int
    active: int


@dataclass(frozen=True)
class Stall:
    """Cycles lost at a bundle, from `first` to before `behind`."""

    first: int
    behind: int
    address: int


@dataclass
class Recording:
    """One run. Cycles count from 0, the first of the run."""

    cycles: int
    spans: list[Span]
    stalls: list[Stall]
    executed: dict[int, int]
    """How often each bundle was issued."""

    @property
    def stalls_at(self) -> Counter[int]:
        """Stall cycles by the address of the bundle."""
        lost: Counter[int] = Counter()
        for stall in self.stalls:
            lost[stall.address] += stall.behind - stall.first
        return lost

    @property
    def cycles_at(self) -> dict[int, int]:
        """Cycles by the address of the bundle, stalls included."""
        lost = self.stalls_at
        return {address: times + lost[address] for address, times in self.executed.items()}

    def loop_slices(self) -> Iterator[tuple[int, str, str, Slice]]:
        """(depth, name, place in the source, time) of each time that a loop runs, outer ones before inner ones."""
        begun: list[int] = []
        path: Path = ()
        slices = []
        for span in [*self.spans, Span(self.cycles, self.cycles, (), frozenset())]:
            kept = next((i for i, (a, b) in enumerate(zip(path, span.path, strict=False)) if a != b), None)
            kept = min(len(path), len(span.path)) if kept is None else kept
            for depth in reversed(range(kept, len(path))):
                loop, first = path[depth], begun.pop()
                slices.append((depth, loop.name, loop.where, Slice(first, span.first, span.first - first)))
            begun += [span.first] * (len(span.path) - kept)
            path = span.path
        yield from sorted(slices, key=lambda item: (item[3].first, item[0]))

    def stage_slices(self, key: Callable[[Stage], str | None]) -> Iterator[tuple[str, Slice]]:
        """(name, time) of every stage, where `key` names those of interest, in order of time for each.

        In one visit of a loop a stage is under way from its first to its last cycle; what touches is one slice.
        """
        open_slices: dict[str, Slice] = {}
        for _, visit in groupby(self.spans, key=lambda span: span.path):
            for name, new in _in_visit(visit, key).items():
                before = open_slices.get(name)
                if before is not None and before.behind == new.first:
                    new = Slice(before.first, new.behind, before.active + new.active)
                elif before is not None:
                    yield name, before
                open_slices[name] = new
        yield from open_slices.items()


def _in_visit(visit: Iterator[Span], key: Callable[[Stage], str | None]) -> dict[str, Slice]:
    found: dict[str, Slice] = {}
    for span in visit:
        for name in {key(stage) for stage in span.stages}:
            if name is not None:
                before = found.get(name, Slice(span.first, span.first, 0))
                found[name] = Slice(before.first, span.behind, before.active + span.behind - span.first)
    return found


@dataclass
class Recorder:
    """Makes a recording: `step` is the trace of a simulated core that runs the program once; then `finish`."""

    program: CompiledKernel
    _places: list[Place] = field(default_factory=list)
    _place_of: dict[int, int] = field(default_factory=dict)  # bundle -> number of its place
    _changes: list[tuple[int, int]] = field(default_factory=list)  # cycle, address of the first bundle in another place
    _stalls: list[Stall] = field(default_factory=list)
    _executed: dict[int, int] = field(default_factory=dict)
    _start: int = 0
    _last: tuple[int, int] | None = None  # cycle and address of the bundle before

    def __post_init__(self) -> None:
        paths, stages = paths_at(self.program), stages_at(self.program)
        numbers: dict[Place, int] = {}
        for address, path in paths.items():
            self._place_of[address] = numbers.setdefault((path, stages[address]), len(numbers))
        self._places = list(numbers)

    def step(self, cycle: int, address: int, bundle: Bundle) -> None:
        """A bundle is about to be issued."""
        del bundle
        self._executed[address] = self._executed.get(address, 0) + 1
        if self._last is None:
            self._start = cycle
            self._changes.append((0, address))
        else:
            before, last = self._last
            if cycle - before > 1:
                self._stalls.append(Stall(before + 1 - self._start, cycle - self._start, last))
            if self._place_of[address] != self._place_of[last]:
                self._changes.append((cycle - self._start, address))
        self._last = cycle, address

    def finish(self, cycles: int) -> Recording:
        """The run has ended and took so many cycles in all."""
        assert self._last is not None, "the recorder saw no bundle"
        last, address = self._last
        if last + 1 - self._start < cycles:
            self._stalls.append(Stall(last + 1 - self._start, cycles, address))
        ends = [first for first, _ in self._changes[1:]] + [cycles]
        spans = [
            Span(first, behind, *self._places[self._place_of[address]])
            for (first, address), behind in zip(self._changes, ends, strict=True)
        ]
        return Recording(cycles, spans, self._stalls, self._executed)
