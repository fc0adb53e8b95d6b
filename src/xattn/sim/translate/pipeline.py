"""The pipeline in symbols: what is on its way at a place of the program, and what one bundle does to it.

When each result lands is known beforehand; which result it is, is not. So the pipeline is executed once with symbols,
in exactly the order in which the interpreter (`xattn.sim.engine`) does things, over a domain that says what the symbols
are: known numbers when a program is explored, names of LLVM values when its code is written.

`ring[k]` has the results that land k bundles from now, `later[k]` what operations do then that read late, `banks[k]`
the memory accesses of that cycle, `parts` the words that were read for part-word stores under way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from xattn.isa.model import Register
from xattn.sim.accesses import issue_order
from xattn.sim.translate.operations import Operation, Output

DEPTH = 16  # bundles that anything can be on its way; the longest latency is 9
Symbol = Any


@dataclass(frozen=True)
class Event:
    """Something that happens in a later bundle, but for the symbols that it takes along."""

    what: str  # scalar, vector, store, part word; stage, early; bank
    subject: Any = None
    detail: Any = None


class Domain(Protocol):
    """What symbols are, and what is done with them."""

    def addresses(self, operation: Operation) -> list[Symbol]:
        """What an operation loads from."""

    def load(self, size: int, address: Symbol) -> Symbol:
        """Load now."""

    def outputs(
        self, operation: Operation, stage: int, kept: Sequence[Symbol], loaded: Sequence[Symbol]
    ) -> dict[Output, Symbol]:
        """Compute a stage from the registers as they are now."""

    def land_scalar(self, index: int, sticky: bool, value: Symbol) -> None:
        """A scalar register gets a value; a sticky one keeps its bits."""

    def land_vector(self, register: Register, bypassed: bool, value: Symbol) -> None:
        """A vector register, or the copy of it that bypassed reads see, gets a value."""

    def store(self, size: int, address: Symbol, value: Symbol) -> None:
        """Store now."""

    def read_word(self, address: Symbol) -> Symbol:
        """The aligned word around an address."""

    def store_part(self, size: int, address: Symbol, old: Symbol, value: Symbol) -> None:
        """Store a part into a word that was read before, and write the word."""

    def lock(self, condition: Symbol | None) -> None:
        """A lock operation (None: unconditional)."""

    def signal(self, value: Symbol) -> None:
        """An event operation."""


@dataclass
class Flow:
    """What a bundle does to the flow of control."""

    target: Symbol = None
    condition: Symbol = None
    branch: Operation | None = None
    link: bool = False
    done: bool = False


class Issued:
    """The operations of a bundle in an order in which they can be done. `direct`: each may write at once."""

    def __init__(self, operations: Sequence[Operation]):
        order, self.direct = issue_order([operation.accesses for operation in operations])
        self.operations = tuple(operations[k] for k in order)


Slot = list[tuple[Event, tuple[Symbol, ...]]]


class Pipeline:
    """What is on its way, with the symbols of one domain."""

    def __init__(self) -> None:
        self.ring: list[Slot] = [[] for _ in range(DEPTH)]
        self.later: list[Slot] = [[] for _ in range(DEPTH)]
        self.banks: list[Slot] = [[] for _ in range(DEPTH)]
        self.parts: list[Symbol] = []

    # to and from signatures

    def signature(self) -> tuple[Any, ...]:
        """What is on its way, without symbols."""
        found = []
        for kind, slots in enumerate((self.ring, self.later, self.banks)):
            for distance, slot in enumerate(slots):
                if slot:
                    found.append((kind, distance, tuple((event, len(symbols)) for event, symbols in slot)))
        return (*found, len(self.parts))

    def symbols(self) -> list[Symbol]:
        """The symbols that belong to the signature, in its order."""
        found: list[Symbol] = []
        for slots in (self.ring, self.later, self.banks):
            for slot in slots:
                for _, symbols in slot:
                    found.extend(symbols)
        return found + self.parts

    @classmethod
    def of(cls, signature: tuple[Any, ...], symbols: Sequence[Symbol]) -> Pipeline:
        """The pipeline that a signature and symbols describe."""
        made, at = cls(), 0
        for kind, distance, events in signature[:-1]:
            slot = (made.ring, made.later, made.banks)[kind][distance]
            for event, count in events:
                slot.append((event, tuple(symbols[at : at + count])))
                at += count
        made.parts = list(symbols[at:])
        return made

    def next(self) -> None:
        """On to the next bundle."""
        for slots in (self.ring, self.later, self.banks):
            slots.pop(0)
            slots.append([])

    # one bundle

    def land(self, domain: Domain) -> None:
        """Results land; then operations of earlier bundles do what they do in this cycle."""
        for event, symbols in self.ring[0]:
            if event.what == "scalar":
                domain.land_scalar(event.subject, event.detail, *symbols)
            elif event.what == "vector":
                domain.land_vector(event.subject, event.detail, *symbols)
            elif event.what == "store":
                domain.store(event.subject, *symbols)
            else:
                domain.store_part(event.subject, *symbols)
        self.ring[0] = []
        for event, symbols in self.later[0]:  # may grow meanwhile
            if event.what == "stage":
                self._stage(event.subject, event.detail, symbols, domain, direct=False)
            else:
                domain.land_vector(event.subject, True, *symbols)
        self.later[0] = []

    def issue(self, issued: Issued, domain: Domain) -> Flow:
        """A bundle issues."""
        flow, direct = Flow(), issued.direct
        for operation in issued.operations:
            outputs = self._stage(operation, 1, (), domain, direct)
            effects = operation.effects
            if effects.branch:
                flow.target, flow.condition = outputs[Output("target")], outputs.get(Output("condition"))
                flow.branch = operation
                flow.link = any(write.value.data == "return address" for write in effects.writes)
            flow.done |= effects.done
        assert not self.later[0], "a result that lands where bypassed reads have already looked"
        return flow

    def accesses(self) -> list[tuple[bool, Symbol]]:
        """(wide, address) of the memory accesses of this cycle, in the order in which they ask."""
        return [(event.subject, *symbols) for event, symbols in self.banks[0]]

    def _stage(
        self, operation: Operation, stage: int, kept: Sequence[Symbol], domain: Domain, direct: bool
    ) -> dict[Output, Symbol]:
        loaded = []
        if stage == 1 and operation.effects.loads:
            for load, address in zip(operation.effects.loads, domain.addresses(operation), strict=True):
                self._access(0, load.bytes, address)
                loaded.append(domain.load(load.bytes, address))
        outputs = domain.outputs(operation, stage, kept, loaded)
        self._store(operation, stage, outputs, domain)
        following = operation.stages.following(stage)
        if following is not None:
            count = len(operation.stages.needed_later(stage))
            symbols = tuple(outputs[Output("kept", k)] for k in range(count))
            self.later[following - stage].append((Event("stage", operation, following), symbols))
        if stage == 1:
            if operation.effects.lock:
                domain.lock(outputs.get(Output("lock")))
            if operation.effects.event:
                domain.signal(outputs[Output("event")])
        self._land_later(operation, stage, outputs, domain, direct)
        return outputs

    def _access(self, distance: int, size: int, address: Symbol) -> None:
        self.banks[distance].append((Event("bank", size == 32), (address,)))

    def _store(self, operation: Operation, stage: int, outputs: dict[Output, Symbol], domain: Domain) -> None:
        distance = operation.stages.part_word_distance
        if stage == 1 and distance is not None:
            address = outputs[Output("store address")]
            self._access(0, 4, address)
            self._access(distance, 4, address)
            self.parts.append(domain.read_word(address))
        found = operation.stages.store_in(stage)
        if found is None:
            return
        store, distance = found
        address, value = outputs[Output("store address")], outputs[Output("store value")]
        if store.part_word:
            self.ring[distance + 1].append((Event("part word", store.bytes), (address, self.parts.pop(0), value)))
            return
        self._access(distance, store.bytes, address)
        if distance == 0:
            domain.store(store.bytes, address, value)
        else:
            assert store.bytes == 32
            self.ring[distance + 1].append((Event("store", store.bytes), (address, value)))

    def _land_later(
        self, operation: Operation, stage: int, outputs: dict[Output, Symbol], domain: Domain, direct: bool
    ) -> None:
        at_once = []
        for number, landing in enumerate(operation.stages.landings(stage)):
            register, spot, offset = operation.register(landing.key), landing.spot, landing.offset
            if spot.kind in ("scalar", "pair"):
                for piece, index in enumerate(operation.indices(landing.key)):
                    value = outputs[Output("landing", number, piece)]
                    if offset == 1 and direct:
                        at_once.append((index, landing.write.sticky, value))
                    else:
                        self.ring[offset].append((Event("scalar", index, landing.write.sticky), (value,)))
                continue
            value = outputs[Output("landing", number)]
            self.ring[offset].append((Event("vector", register, False), (value,)))
            if spot.twice and spot.bypassed:
                self.later[offset - 1].append((Event("early", register), (value,)))
            elif spot.twice:
                self.ring[offset].append((Event("vector", register, True), (value,)))
        for index, sticky, value in at_once:
            domain.land_scalar(index, sticky, value)
