"""An instruction in time: which of its values are known in which pipeline cycle, and what happens in that cycle.

An operation is done in stages, one for each cycle in which it reads something. Every engine executes the same stages.

Memory needs one remark. A plain load or store touches memory in cycle 5 and nothing in the core can tell when, except
through the order of accesses. So the simulator's memory runs four cycles ahead: plain accesses happen at issue, an
access of cycle c happens c - 5 cycles after issue, and the order of all accesses is that of the machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xattn.isa.semantics.lanes import Value
from xattn.isa.semantics.meaning import Effects, Place, Store, Write, meaning_of
from xattn.isa.table import instruction_table
from xattn.sim.accesses import Shape, Spot, leaves, roots

PLAIN_MEMORY_CYCLE = 5


@dataclass(frozen=True)
class Landing:
    """A write of a stage: `offset` cycles after the cycle of the stage it can be read (1: in the next bundle)."""

    write: Write
    key: Any
    spot: Spot
    offset: int


class Stages:
    """The stages of all instructions of one shape."""

    def __init__(self, shape: Shape):
        self.opcode = instruction_table().opcode(shape.opcode)
        self.effects: Effects = meaning_of(self.opcode)
        self.spots = dict(shape.spots)
        self.memory_cycles = shape.memory_cycles
        self._cycles: dict[Value, int] = {}
        self.roots = roots(self.effects)
        self.all = sorted({1, *(self.stage_of(value) for value in [*self.roots, *leaves(self.roots)])})
        self._landings = {stage: self._landings_of(stage) for stage in self.all}
        self._needed = {stage: self._needed_after(stage) for stage in self.all}

    def cycle(self, value: Value) -> int:
        """The cycle in which everything that a value depends on has been read (0: known beforehand)."""
        if value not in self._cycles:
            if value.op == "operand":
                cycle = self.spots[leaf_key(value)].cycle
            elif value.op == "register":
                cycle = 0 if value.data == "return address" else self.spots[leaf_key(value)].cycle
            else:
                cycle = max([int(value.op == "load"), *map(self.cycle, value.args)])
            self._cycles[value] = cycle
        return self._cycles[value]

    def stage_of(self, value: Value) -> int:
        """The stage in which a value can be computed."""
        return max(1, self.cycle(value))

    def following(self, stage: int) -> int | None:
        """The stage after this one."""
        return next((later for later in self.all if later > stage), None)

    def needed_later(self, stage: int) -> list[Value]:
        """Values complete by `stage` that what happens in later stages is made from directly."""
        return self._needed[stage]

    def _needed_after(self, stage: int) -> list[Value]:
        found: dict[Value, None] = {}
        waiting = [value for value in self.roots if self.cycle(value) > stage]
        store = self.effects.store
        if store is not None and store.part_word and self.stage_of(store.value) > stage:
            found[store.address] = None
        seen: set[Value] = set()
        while waiting:
            value = waiting.pop()
            if value in seen:
                continue
            seen.add(value)
            if self.cycle(value) > stage:
                waiting.extend(value.args)
            elif self.cycle(value) > 0:
                found[value] = None
        return list(found)

    def carried_into(self, stage: int) -> list[Value]:
        """What the stage before this one hands on."""
        at = self.all.index(stage)
        return self._needed[self.all[at - 1]] if at else []

    def landings(self, stage: int) -> list[Landing]:
        """The writes whose values are complete in this stage."""
        return self._landings[stage]

    def _landings_of(self, stage: int) -> list[Landing]:
        found = []
        for write in self.effects.writes:
            if self.stage_of(write.value) == stage:
                key = place_key(write.place)
                offset = self.spots[key].cycle - (stage - 1)
                assert offset >= 1, f"{self.opcode}: {key} lands before its value is known"
                found.append(Landing(write, key, self.spots[key], offset))
        return found

    def store_in(self, stage: int) -> tuple[Store, int] | None:
        """The store, if its value is complete in this stage, and the cycles from then to its access of memory."""
        store = self.effects.store
        if store is None or self.stage_of(store.value) != stage:
            return None
        return store, self.memory_cycles[-1] - PLAIN_MEMORY_CYCLE - (stage - 1)

    @property
    def part_word_distance(self) -> int | None:
        """Cycles between the two accesses of a part-word store, which begins in stage 1; None for all else."""
        store = self.effects.store
        if store is None or not store.part_word:
            return None
        assert self.memory_cycles[0] == PLAIN_MEMORY_CYCLE
        return self.memory_cycles[1] - self.memory_cycles[0]


def leaf_key(leaf: Value) -> Any:
    """The name of a leaf among an instruction's accesses."""
    if leaf.op == "operand":
        return ("r", *leaf.data)
    return ("r", leaf.data) if leaf.op == "register" else (leaf.op, leaf.data)


def place_key(place: Place) -> Any:
    """The name of a place that is written among an instruction's accesses."""
    return ("w", place.register) if place.register else ("w", place.operand, place.path)
