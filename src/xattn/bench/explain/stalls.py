"""Stalls by cause, with the operations that met and where they come from."""

from __future__ import annotations

from collections import defaultdict

from xattn.bench.explain.execution import Execution, Place
from xattn.bench.explain.record import AccessRecord, StallRecord
from xattn.bench.explain.sources import Sources
from xattn.isa.syntax import text_of


def stall_records(run: Execution, sources: Sources) -> list[StallRecord]:
    """The places where cycles were lost, the costliest first.

    Operations from the same source lines on the same arrays are one place, however often the compiler repeated them.
    """
    cycles: dict[tuple[object, ...], int] = defaultdict(int)
    examples: dict[tuple[object, ...], list[AccessRecord]] = {}
    for (cause, places), lost in run.meetings.items():
        accesses = _colliding([_access(run, sources, place) for place in places], sources)
        lines = all(access.line for access in accesses)
        key = (cause, *sorted((a.where, a.array or "") for a in accesses)) if lines else (cause, places)
        cycles[key] += lost
        examples.setdefault(key, accesses)
    records = [
        StallRecord(cause=str(key[0]), cycles=lost, share=lost / run.cycles, accesses=examples[key])
        for key, lost in cycles.items()
    ]
    return sorted(records, key=lambda record: -record.cycles)


def _colliding(accesses: list[AccessRecord], sources: Sources) -> list[AccessRecord]:
    """Without those whose array shares no bank with that of another; all, where arrays are not known."""
    if not all(access.array for access in accesses):
        return accesses
    banks = [sources.banks[access.array or ""] for access in accesses]
    met = [a for i, a in enumerate(accesses) if any(banks[i] & other for j, other in enumerate(banks) if j != i)]
    return met or accesses  # a gather meets itself


def _access(run: Execution, sources: Sources, place: Place) -> AccessRecord:
    operation = next(o for o in run.bundles[place.address].operations if o.opcode.slot == place.slot)
    return AccessRecord(
        where=sources.where(place),
        address=place.address,
        slot=place.slot,
        operation=text_of(operation),
        array=sources.arrays.get(place),
        line=sources.lines.get(place) or None,
    )
