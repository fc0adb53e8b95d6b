"""How control comes to a violation: the jumps of one path, as a hint for the reader."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from xattn.compiler.legality.flow import Place
from xattn.compiler.legality.program import Program, Touch
from xattn.compiler.legality.state import InFlight, State

MOST_JUMPS = 6


class Earlier(NamedTuple):
    """The other bundle of a violation, and how many bundles ago it was issued."""

    origin: int
    ago: int


class Unwritten(NamedTuple):
    """A leaf that some path never writes."""

    leaf: int


class Paths:
    """The edges that were walked, backwards, and the state before each place."""

    def __init__(
        self, program: Program, following: Mapping[Place, Sequence[Place]], before: Mapping[Place, State]
    ) -> None:
        self.program, self.following, self.before = program, following, before
        self.previous: dict[Place, list[Place]] = {}
        for place, targets in following.items():
            for target in targets:
                self.previous.setdefault(target, []).append(place)

    def describe(self, place: Place, trail: Earlier | Unwritten | None) -> str:
        """The jumps on a path to `place`: from the other bundle, or from an entry without a write of the leaf."""
        if isinstance(trail, Earlier):
            return self._jumps(self._back_to(place, trail))
        if isinstance(trail, Unwritten):
            return self._jumps(self._without(place, trail.leaf))
        return ""

    def is_read(self, place: Place, write: Touch, other: InFlight) -> bool:
        """Whether on some path the value that `place` writes is read before `other`, under way, lands on it."""
        places = {p for p in self.following if p.at == place.at}  # also the delay slot of the other outcome
        reads = [(r.left, r.bypass) for p in places for r in self.before[p].late if r.leaf == write.leaf]
        for ago in range(other.left + 1):
            here = (r for p in places for r in self.program[p.at].reads if r.leaf == write.leaf)
            reads += [(ago + r.cycle - 1, r.bypass) for r in here]
            places = {later for p in places for later in self.following[p]}
        return any(
            time + _meets(write.bypass, bypass) >= write.cycle and time + _meets(other.bypass, bypass) < other.left
            for time, bypass in reads
        )

    def _back_to(self, place: Place, trail: Earlier) -> list[Place]:
        """A walk of `trail.ago` bundles that ends at `place` and starts at the other bundle; empty if there is none."""
        layers: list[dict[Place, Place | None]] = [{place: None}]
        for _ in range(trail.ago):
            layers.append({p: later for later in layers[-1] for p in self.previous.get(later, ())})
        current = next((p for p in layers[-1] if p.at == trail.origin), None)
        walk = [current] if current else []
        for layer in reversed(layers[1:]):
            current = layer[current] if current else None
            walk += [current] if current else []
        return walk

    def _without(self, place: Place, leaf: int) -> list[Place]:
        """The shortest walk from an entry to `place` on which the leaf is not written."""
        later: dict[Place, Place | None] = {place: None}
        queue = deque([place])
        while queue:
            current: Place | None = queue.popleft()
            assert current is not None
            if not self.previous.get(current):
                walk = []
                while current is not None:
                    walk.append(current)
                    current = later[current]
                return walk
            for before in self.previous[current]:
                if before not in later and not self._writes(before, leaf):
                    later[before] = current
                    queue.append(before)
        return []

    def _writes(self, place: Place, leaf: int) -> bool:
        state = self.before[place]
        written = any(write.leaf == leaf for write in self.program[place.at].writes)
        return written or bool(state.defined >> leaf & 1) or leaf in state.arriving

    def _jumps(self, walk: list[Place]) -> str:
        """The transfers of control on a walk."""
        jumps = [
            f"{self.program[a.at].address:#x} → {self.program[b.at].address:#x}"
            for a, b in pairwise(walk)
            if b.at != a.at + 1
        ]
        if not jumps:
            return ""
        shown = jumps if len(jumps) <= MOST_JUMPS else [*jumps[: MOST_JUMPS - 1], "…", jumps[-1]]
        return "over " + ", ".join(shown)


def _meets(bypass: str | None, other: str | None) -> bool:
    return bypass is not None and bypass == other
