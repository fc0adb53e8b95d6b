"""The loops of a program, found in what a run did: natural loops of the executed control flow, function by function.

A call counts as one step from its last delay slot to the bundle behind it, so a loop that calls a function is a loop
of the caller alone; the cycles that the function took are added to it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from xattn.bench.explain.execution import START, Execution


@dataclass(eq=False)
class Loop:
    """A loop that ran. `body`: its bundles in order of address, those of inner loops included.

    `iterations`: how often its first bundle was issued; `entries`: how often it was entered from outside. `cycles`: of
    all bundles of the body, stalls and the functions called from it included. `hardware`: closed by ls, le and lc.
    """

    header: int
    body: tuple[int, ...]
    iterations: int
    entries: int
    cycles: int
    stalls: int
    hardware: bool
    parent: Loop | None = None
    inner: list[Loop] = field(default_factory=list)
    calls: int = 0  # of functions, in all iterations

    @property
    def depth(self) -> int:
        """How many loops there are around it."""
        return 0 if self.parent is None else self.parent.depth + 1

    @property
    def innermost(self) -> bool:
        """Whether no loop is in it."""
        return not self.inner

    @property
    def interval(self) -> float:
        """Cycles from one iteration to the next, stalls included."""
        return self.cycles / self.iterations


def find_loops(run: Execution) -> list[Loop]:
    """Every loop that ran, outer ones before inner ones, in order of address."""
    following, roots = _steps(run)
    before: dict[int, set[int]] = defaultdict(set)
    for source, targets in following.items():
        for target in targets:
            before[target].add(source)
    order = _forwards(following, roots)
    bit = {address: 1 << place for place, address in enumerate(order)}
    dominators = _dominators(order, bit, before, roots)
    tails: dict[int, set[int]] = defaultdict(set)
    for source, targets in following.items():
        for target in targets:
            if dominators[source] & bit[target]:
                tails[target].add(source)
    return nested([loop_of(run, header, _body(header, ends, before)) for header, ends in tails.items()])


def _steps(run: Execution) -> tuple[dict[int, dict[int, int]], set[int]]:
    """Steps within functions (bundle → next bundle → how often), and the bundles where functions begin."""
    following: dict[int, dict[int, int]] = {address: {} for address in run.bundles}
    roots: set[int] = set()
    for (source, target), times in run.edges.items():
        if source == START:
            roots.add(target)
        elif source in run.call_ends:
            roots.add(target)
            behind = run.after(source)
            if behind in run.bundles:
                following[source][behind] = following[source].get(behind, 0) + times
        elif source not in run.return_ends:
            following[source][target] = times
    return following, roots


def _dominators(
    order: Sequence[int], bit: Mapping[int, int], before: Mapping[int, set[int]], roots: set[int]
) -> dict[int, int]:
    """For every bundle the bundles (as bits) that every way to it from a function's begin goes through, and itself."""
    everything = (1 << len(order)) - 1
    masks = dict.fromkeys(order, everything)
    changed = True
    while changed:
        changed = False
        for address in order:
            mask = 0 if address in roots else everything
            for source in before.get(address, ()):
                mask &= masks[source]
            mask |= bit[address]
            if mask != masks[address]:
                masks[address], changed = mask, True
    return masks


def _forwards(following: Mapping[int, Mapping[int, int]], roots: set[int]) -> list[int]:
    """The bundles in reverse postorder from the roots."""
    done: list[int] = []
    seen: set[int] = set()
    for root in sorted(roots):
        if root in seen:
            continue
        seen.add(root)
        waiting = [(root, iter(following[root]))]
        while waiting:
            address, targets = waiting[-1]
            target = next((t for t in targets if t not in seen), None)
            if target is None:
                done.append(address)
                waiting.pop()
            else:
                seen.add(target)
                waiting.append((target, iter(following[target])))
    return done[::-1]


def _body(header: int, tails: set[int], before: Mapping[int, set[int]]) -> set[int]:
    """All bundles on ways from the header to the tails that go back to it."""
    body = {header}
    waiting = list(tails)
    while waiting:
        address = waiting.pop()
        if address not in body:
            body.add(address)
            waiting.extend(before[address])
    return body


def loop_of(run: Execution, header: int, body: set[int]) -> Loop:
    """The loop of these bundles, with what the run did in it."""
    turns = {source: n for (source, target), n in run.edges.items() if target == header and source in body}
    executed = run.executed
    return Loop(
        header=header,
        body=tuple(sorted(body)),
        iterations=executed[header],
        entries=executed[header] - sum(turns.values()),
        cycles=sum(executed[address] + run.stalls[address] + run.calls[address] for address in body),
        stalls=sum(run.stalls[address] for address in body),
        hardware=not turns.keys() & run.branch_ends,
        calls=sum(executed[address] for address in body & run.call_ends),
    )


def nested(loops: list[Loop]) -> list[Loop]:
    """The loops with their places in each other, each before those inside of it."""
    loops = sorted(loops, key=lambda loop: (loop.header, -len(loop.body)))
    for loop in loops:
        loop.parent, loop.inner = None, []
    for loop in loops:
        around = [other for other in loops if loop.header in other.body and len(other.body) > len(loop.body)]
        loop.parent = min(around, key=lambda other: len(other.body), default=None)
        if loop.parent is not None:
            loop.parent.inner.append(loop)
    found: list[Loop] = []
    waiting = [loop for loop in reversed(loops) if loop.parent is None]
    while waiting:
        loop = waiting.pop()
        found.append(loop)
        waiting.extend(reversed(loop.inner))
    return found
