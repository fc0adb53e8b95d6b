"""The steady state of a loop as a picture: one row for each slot, one column for each cycle, a letter an operation."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Sequence

from xattn.bench.explain.bounds import SLOTS, single_path
from xattn.bench.explain.execution import Execution
from xattn.bench.explain.loops import MeasuredLoop
from xattn.bench.explain.record import TimelineRecord

_EMPTY = "·"


def timeline_of(run: Execution, measured: MeasuredLoop) -> TimelineRecord:
    """The loop's bundles in the order of execution (of address, where iterations differ)."""
    loop = measured.loop
    path = single_path(run, loop) or loop.body
    rows = {slot: [""] * len(path) for slot in SLOTS}
    for column, address in enumerate(path):
        for operation in run.bundles[address].operations:
            if operation.opcode.slot in rows:
                rows[operation.opcode.slot][column] = operation.opcode.mnemonic
    executed = run.executed
    used = Counter(mnemonic for row in rows.values() for mnemonic in row if mnemonic)
    return TimelineRecord(
        loop=measured.record.name,
        cycles=len(path),
        slots={slot: row for slot, row in rows.items() if slot != "lng" or any(row)},
        stalls=[run.stalls[address] / executed[address] for address in path],
        letters=letters_for(used),
    )


def letters_for(mnemonics: Counter[str]) -> dict[str, str]:
    """A letter for each mnemonic, one of its own where possible, those used most choosing first.

    Vector operations get capitals, without their v; scalar ones small letters.
    """
    letters: dict[str, str] = {}
    spare = iter(string.digits + string.ascii_uppercase + string.ascii_lowercase + string.punctuation.replace("|", ""))
    for mnemonic, _ in sorted(mnemonics.items(), key=lambda item: (-item[1], item[0])):
        name = "".join(c for c in mnemonic if c.isalpha())
        own = name[1:].upper() if name.startswith("v") else name.lower()
        free = [letter for letter in own + own.swapcase() if letter not in letters.values()]
        letters[mnemonic] = free[0] if free else next(c for c in spare if c not in letters.values())
    return letters


def timeline_text(timeline: TimelineRecord, columns: int, most: int | None) -> list[str]:
    """The picture in lines, in pieces of `columns` cycles. `most`: show so many cycles at most, the densest stretch."""
    first, behind = _stretch(timeline, most)
    lines = []
    for start in range(first, behind, columns):
        end = min(start + columns, behind)
        lines.append(f"{'cycle':>6} {_ruler(start, end)}")
        for slot, row in timeline.slots.items():
            lines.append(f"{slot:>6} " + "".join(timeline.letters.get(name, _EMPTY) for name in row[start:end]))
        if any(timeline.stalls[start:end]):
            lines.append(f"{'stall':>6} " + "".join(_stall_mark(stall) for stall in timeline.stalls[start:end]))
        lines.append("")
    if behind - first < timeline.cycles:
        lines.append(f"cycles {first} to {behind - 1} of {timeline.cycles}, the densest; --timeline all shows all")
    lines += _legend(timeline)
    return lines


def _stretch(timeline: TimelineRecord, most: int | None) -> tuple[int, int]:
    """First cycle and the one behind the last of the stretch to show."""
    if most is None or timeline.cycles <= most:
        return 0, timeline.cycles
    issued = [sum(1 for row in timeline.slots.values() if row[cycle]) for cycle in range(timeline.cycles)]
    starts = range(timeline.cycles - most + 1)
    first = max(starts, key=lambda start: (sum(issued[start : start + most]), -start))
    return first, first + most


def _ruler(start: int, end: int) -> str:
    """Cycle numbers at every tenth column, and at the first where there is room."""
    first_ten = -(-start // 10) * 10
    marks = str(start) if first_ten - start > len(str(start)) else ""
    for cycle in range(first_ten, end, 10):
        marks = marks.ljust(cycle - start) + str(cycle)
    return marks


def _stall_mark(stall: float) -> str:
    """Stalls of one cycle: none, in some passes, or so many in every pass."""
    return _EMPTY if not stall else "+" if stall < 1 else str(min(round(stall), 9))


def _legend(timeline: TimelineRecord) -> list[str]:
    """What the letters stand for, five in a line."""
    entries: Sequence[str] = [f"{letter} {mnemonic}" for mnemonic, letter in timeline.letters.items()]
    if any(timeline.stalls):
        entries = [*entries, "+ stalls in some passes", "1 stalls in every pass"]
    return ["   ".join(entries[at : at + 5]) for at in range(0, len(entries), 5)]
