"""Which operations hold which ports when, as a solver wants to know it: in runs of cycles."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from xattn.compiler.dependence import Graph
from xattn.compiler.interval_bounds import Unit


@dataclass(frozen=True)
class Hold:
    """One choice of an operation holds a port, `alone` or with others, for `length` cycles from `offset` on."""

    node: int
    choice: int
    offset: int  # cycles after issue, below the interval
    length: int
    alone: bool


def port_holds(graph: Graph, interval: int) -> dict[str, list[Hold]]:
    """All holds, by port. Runs end within one interval after the issue; where they would not, they are cut up."""
    found: dict[str, list[Hold]] = defaultdict(list)
    for node, timings in enumerate(graph.timings):
        for choice, timing in enumerate(timings):
            cells: dict[str, dict[int, bool]] = defaultdict(dict)
            for port, cycle, alone in timing.ports:
                cells[port][cycle] = cells[port].get(cycle, False) or alone
            for port, alone_in in cells.items():
                found[port] += _runs(node, choice, alone_in)
    return {port: _cut(holds, interval) for port, holds in found.items()}


def _runs(node: int, choice: int, alone_in: dict[int, bool]) -> list[Hold]:
    runs: list[Hold] = []
    for cycle, alone in sorted(alone_in.items()):
        last = runs[-1] if runs else None
        if last is not None and last.alone == alone and last.offset + last.length == cycle:
            runs[-1] = Hold(node, choice, last.offset, last.length + 1, alone)
        else:
            runs.append(Hold(node, choice, cycle, 1, alone))
    return runs


def _cut(holds: list[Hold], interval: int) -> list[Hold]:
    if all(hold.offset + hold.length <= interval for hold in holds):
        return holds
    cells: dict[tuple[int, int, int], bool] = {}
    for hold in holds:
        for cycle in range(hold.offset, hold.offset + hold.length):
            key = (hold.node, hold.choice, cycle % interval)
            cells[key] = cells.get(key, False) or hold.alone
    return [Hold(node, choice, offset, 1, alone) for (node, choice, offset), alone in cells.items()]


def is_settled_by_slots(graph: Graph, holds: list[Hold], units: list[Unit]) -> bool:
    """Whether the holders can never meet: none needs the port alone, or one bundle holds only one of them."""
    if not any(hold.alone for hold in holds):
        return True
    slots = {graph.timings[hold.node][hold.choice].slot for hold in holds}
    one_cycle = len({(hold.offset, hold.length) for hold in holds}) == 1 and holds[0].length == 1
    return one_cycle and any(slots <= unit for unit in units)
