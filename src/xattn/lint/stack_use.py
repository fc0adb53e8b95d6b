"""How much stack a program needs, at most: its own moves of the stack pointer along the calls that it makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from xattn.lint.code import Function, call_graph
from xattn.sim.program import Program


@dataclass(frozen=True)
class StackUse:
    """Stack of a program or function: `start` is the address that it sets the pointer to (None: the caller's).

    `bytes` above that at the deepest place, `path` the frames there as (function's address, bytes), and `doubts` what
    keeps it from being certain.
    """

    start: int | None
    bytes: int
    path: tuple[tuple[int, int], ...]
    doubts: tuple[str, ...]


@dataclass(frozen=True)
class _Deepest:
    bytes: int
    path: tuple[tuple[int, int], ...]


def stack_use(program: Program, start: int) -> StackUse:
    """The use of the program or function that starts there."""
    return use_in(call_graph(program, start), start)


def use_in(graph: Mapping[int, Function], start: int) -> StackUse:
    """The use of the function at `start`, of which `graph` has all functions that it calls."""
    doubts = [doubt for function in graph.values() for doubt in function.doubts]
    doubts += [
        f"the call at {call.address:#x} goes where a register points"
        for function in graph.values()
        for call in function.calls
        if call.target is None
    ]
    bases = {base for function in graph.values() for base in function.peaks if base is not None}
    if len(bases) > 1:
        doubts.append(f"the stack pointer is set to {', '.join(f'{base:#x}' for base in sorted(bases))}")
    cycle = _cycle(graph, start)
    if cycle is not None:
        doubts.append(f"the function at {cycle:#x} calls itself, directly or through others")
        return StackUse(min(bases, default=None), 0, (), tuple(doubts))
    memo: dict[int, _Deepest] = {}
    best = _deepest(graph, start, None, memo)
    if not bases:
        return StackUse(None, best.bytes, best.path, tuple(doubts))
    base = min(bases)
    deepest = [_deepest(graph, address, base, memo) for address in graph if base in graph[address].peaks]
    top = max(deepest, key=lambda use: use.bytes)
    return StackUse(base, top.bytes, top.path, tuple(doubts))


def _cycle(graph: Mapping[int, Function], start: int) -> int | None:
    """A function that is called while it is at work, if there is one."""
    done: set[int] = set()
    active: list[int] = []

    def visit(address: int) -> int | None:
        if address in active:
            return address
        if address in done:
            return None
        active.append(address)
        for call in graph[address].calls:
            if call.target is not None and (found := visit(call.target)) is not None:
                return found
        active.pop()
        done.add(address)
        return None

    return visit(start)


def _deepest(graph: Mapping[int, Function], address: int, base: int | None, memo: dict[int, _Deepest]) -> _Deepest:
    """The most that a function needs above `base` (None: above the pointer that it is called with)."""
    if base is None and address in memo:
        return memo[address]
    function = graph[address]
    own = function.peaks.get(base, 0)
    found = _Deepest(own, ((address, own),))
    for call in function.calls:
        if call.target is not None and call.depth.base == base:
            inner = _deepest(graph, call.target, None, memo)
            total = call.depth.offset + inner.bytes
            if total > found.bytes:
                found = _Deepest(total, ((address, call.depth.offset), *inner.path))
    if base is None:
        memo[address] = found
    return found
