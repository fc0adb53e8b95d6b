"""Which bundles a program can execute with what on its way: the graph that code is written for.

A node is a bundle together with the signature of the pipeline before it and the branch whose delay slots are running.
Exploring follows known numbers through scalar registers (sparse conditional constant propagation): branch targets, the
ends of hardware loops, modes of vector operations. What a function returns to is found by matching calls and returns.

A place where the program would leave what can be translated is a node too: code that gets there gives up, and the
interpreter starts again from the beginning.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from xattn.errors import XattnError
from xattn.isa.codec import Bundle
from xattn.isa.timing import DELAY_SLOTS
from xattn.sim.program import Program
from xattn.sim.state import storage_index
from xattn.sim.translate.known import Entry, Known, KnownNumbers, Number
from xattn.sim.translate.operations import operation_of
from xattn.sim.translate.pipeline import Flow, Issued, Pipeline

MOST_NODES = 5_000  # a program has 1,024 bundles; more states than that are work for minutes, and gigabytes of code


Target = int | str | None  # an address; "return" or "jump": a symbol that stands behind those of the pipeline


@dataclass(frozen=True)
class Key:
    """A node. `kind`: bundle, exit (the run ends; before `address`) or give up (`detail` says why)."""

    kind: str
    address: int
    signature: tuple[Any, ...] = ()
    delay: int = 0
    target: Target = None
    link: int | None = None
    detail: str = ""


@dataclass(frozen=True)
class Edge:
    """A way from one node to the next. `when`: what chooses it among the edges of a node (see `_Ways`)."""

    to: Key
    when: tuple[Any, ...] = ()


@dataclass
class Node:
    """A node of the finished graph."""

    key: Key
    known: Known
    edges: list[Edge]
    bundle: Bundle | None = None
    issued: Issued | None = None


@dataclass(frozen=True)
class Call:
    """A place that calls: the function, where it returns to, and the functions that call there."""

    function: int
    link: int


class Explorer:
    """Explores a program from `start`, with the numbers that some registers are known to hold.

    `jumps`: where computed jumps were seen to go, by the address that they leave from. `locks`: whether lock operations
    are granted at once; else they end what can be translated.
    """

    def __init__(
        self,
        program: Program,
        start: int,
        stop_at: int,
        numbers: Mapping[int, int],
        *,
        jumps: Mapping[int, Iterable[int]] | None = None,
        locks: bool = False,
    ):
        self.program, self.start, self.stop_at, self.locks = program, start, stop_at, locks
        self.jumps = {address: tuple(targets) for address, targets in (jumps or {}).items()}
        self._numbers = dict(numbers)
        self._calls: dict[Call, set[int]] = defaultdict(set)
        self._returns: set[Key] = set()
        self._known: dict[Key, Known] = {}
        self._waiting: deque[Key] = deque()
        self._queued: set[Key] = set()
        self._decoded: dict[int, tuple[Bundle, Issued] | str] = {}
        self.needed: set[int] = set()
        """Registers whose number at the start of the run chooses a mode, once the graph is finished."""
        self.root = self._bundle(start, Pipeline(), 0, None)
        self.followed: frozenset[int] = frozenset(map(storage_index().__getitem__, ("LS", "LE", "LC", "lr")))
        """Scalar registers whose numbers are followed: those that modes and computed jumps are made from."""

    def _begin(self) -> None:
        for what in (self._calls, self._returns, self._known, self._waiting, self._queued):
            what.clear()
        lr = self._numbers.get(storage_index()["lr"])
        if lr is not None:
            self._calls[Call(self.start, lr)] = set()
        numbers: dict[int, int | Entry] = {k: self._numbers.get(k, str(k)) for k in self.followed}
        self._reach(self.root, Known(numbers, [], frozenset([self.start])))

    def nodes(self) -> dict[Key, Node]:
        """The finished graph."""
        self._sweep()
        wanted = self._wanted()
        while True:
            self.followed |= wanted
            self._begin()
            self._follow()
            wanted = self._wanted()
            if wanted <= self.followed:
                return self._finished()

    def _sweep(self) -> None:
        """Decode what follows the start, as far as it is code, to guess which registers matter."""
        address = self.start
        while not isinstance(decoded := self._decode(address), str):
            address += decoded[0].size

    def _wanted(self) -> frozenset[int]:
        """The registers that modes and jumps of what was decoded are made from, through other registers too."""
        operations = [
            operation
            for decoded in self._decoded.values()
            if not isinstance(decoded, str)
            for operation in decoded[1].operations
        ]
        sources: dict[int, set[int]] = defaultdict(set)
        wanted = set(self.followed)
        for operation in operations:
            for value in (*operation.selectors, *([branch.target] if (branch := operation.effects.branch) else [])):
                wanted |= operation.scalars_of(value)
            for key, value in operation.numbers:
                for index in operation.indices(key):
                    sources[index] |= operation.scalars_of(value)
        waiting = list(wanted)
        while waiting:
            found = sources[waiting.pop()] - wanted
            wanted |= found
            waiting += found
        return frozenset(wanted)

    def _follow(self) -> None:
        while self._waiting:
            key = self._waiting.popleft()
            self._queued.discard(key)
            for edge, known in self._edges(key):
                self._reach(edge.to, known)
            if len(self._known) > MOST_NODES:
                raise XattnError(f"the program has more than {MOST_NODES:,} states of the pipeline")

    def _finished(self) -> dict[Key, Node]:
        finished: dict[Key, Node] = {}
        self.needed.clear()
        waiting = [self.root]
        while waiting:  # what was reached only while less was known than is now stays out
            key = waiting.pop()
            if key in finished:
                continue
            edges = [edge for edge, _ in self._edges(key)]
            node = finished[key] = Node(key, self._known[key], edges)
            decoded = self._decoded.get(key.address)
            if key.kind == "bundle" and decoded is not None and not isinstance(decoded, str):
                node.bundle, node.issued = decoded
            waiting += [edge.to for edge in edges]
        return finished

    def _reach(self, key: Key, known: Known) -> None:
        before = self._known.get(key)
        if before is not None:
            merged = before.merged(known)
            if merged is None:
                return
            known = merged
        self._known[key] = known
        if key.kind == "bundle" and key not in self._queued:
            self._queued.add(key)
            self._waiting.append(key)

    def return_address(self, address: int) -> int | None:
        """The address behind the delay slots that follow a bundle."""
        try:
            for _ in range(DELAY_SLOTS + 1):
                address += self.program.bundle(address).size
        except XattnError:
            return None
        return address

    # nodes

    def _bundle(self, address: int, pipeline: Pipeline, delay: int, target: Target, link: int | None = None) -> Key:
        signature = pipeline.signature()
        if address == self.stop_at:
            return Key("exit", address, signature)
        decoded = self._decode(address)
        if isinstance(decoded, str):
            return Key("give up", address, detail=decoded)
        return Key("bundle", address, signature, delay, target, link)

    def _decode(self, address: int) -> tuple[Bundle, Issued] | str:
        if address not in self._decoded:
            try:
                bundle = self.program.bundle(address)
                operations = [operation_of(instruction) for instruction in bundle.operations]
            except XattnError as error:
                self._decoded[address] = str(error)
            else:
                locks = any(operation.effects.lock for operation in operations)
                self._decoded[address] = "a lock" if locks and not self.locks else (bundle, Issued(operations))
        return self._decoded[address]

    # edges

    def _edges(self, key: Key) -> list[tuple[Edge, Known]]:
        if key.kind != "bundle":
            return []
        known = self._known[key]
        decoded = self._decode(key.address)
        assert not isinstance(decoded, str)
        bundle, issued = decoded
        carried = known.symbols if key.target not in ("return", "jump") else known.symbols[:-1]
        pipeline = Pipeline.of(key.signature, carried)
        domain = KnownNumbers(self, dict(known.numbers), key.address)
        pipeline.land(domain)
        flow = pipeline.issue(issued, domain)
        pipeline.banks[0] = []
        pipeline.next()
        self.needed |= domain.needed
        return _Ways(self, key, bundle, flow, pipeline, domain.numbers, known.functions).all()

    def returns_from(self, functions: frozenset[int]) -> list[tuple[int, frozenset[int]]]:
        """Where a return from one of these functions can go, and which functions run there."""
        found: dict[int, set[int]] = defaultdict(set)
        for call, callers in self._calls.items():
            if call.function in functions:
                found[call.link] |= callers
        return [(link, frozenset(callers)) for link, callers in found.items()]

    def note_return(self, key: Key) -> None:
        """Explore a node again when its functions are called from elsewhere."""
        self._returns.add(key)

    def note_call(self, function: int, link: int, callers: frozenset[int]) -> None:
        """Functions call a function."""
        known = self._calls[Call(function, link)]
        if not known or not callers <= known:
            known |= callers
            for key in self._returns - self._queued:
                self._queued.add(key)
                self._waiting.append(key)


class _Ways:
    """The ways on from one bundle, each with what is known there.

    `when` of the edges: () the only one; ("taken",) and ("straight",) of a conditional branch; ("again",) and
    ("through",) at a loop's end; ("to", address) of a computed jump. Combinations are tuples in that order.
    """

    def __init__(
        self,
        explorer: Explorer,
        key: Key,
        bundle: Bundle,
        flow: Flow,
        pipeline: Pipeline,
        numbers: dict[int, int | Entry],
        functions: frozenset[int],
    ):
        self.explorer, self.key, self.bundle, self.flow = explorer, key, bundle, flow
        self.pipeline, self.numbers, self.functions = pipeline, numbers, functions
        self.found: list[tuple[Edge, Known]] = []

    def all(self) -> list[tuple[Edge, Known]]:
        """Every way on."""
        flow, key = self.flow, self.key
        if flow.done:
            done = Key("exit", key.address, self.pipeline.signature(), detail="done")
            self._add(done, (), self.numbers)
            return self.found
        conditional = flow.branch is not None and flow.branch.effects.branch.condition is not None  # type: ignore[union-attr]
        if flow.branch is not None:
            link = self.explorer.return_address(key.address) if flow.link else None
            self._on(DELAY_SLOTS + 1, self._target(flow), link, ("taken",) if conditional else ())
        if flow.branch is None or conditional:
            self._on(key.delay, key.target, key.link, ("straight",) if conditional else ())
        return self.found

    def _target(self, flow: Flow) -> Target:
        assert flow.branch is not None and flow.branch.effects.branch is not None
        if flow.branch.effects.branch.target.data == "lr":
            return "return"  # also where its address is known: the functions that run behind it are others
        return flow.target if isinstance(flow.target, int) else "jump"

    def _on(self, delay: int, target: Target, link: int | None, when: tuple[Any, ...]) -> None:
        if delay == 1:
            self._jump(target, link, when)
            return
        left = max(0, delay - 1)
        if not left:
            target = link = None
        following = self.key.address + self.bundle.size
        index = storage_index()
        end, count, start = (self.numbers.get(index[name]) for name in ("LE", "LC", "LS"))
        if count == 0 or (isinstance(end, int) and end != self.key.address):
            self._add(self._at(following, left, target, link), when, self.numbers)
            return
        through = {**self.numbers}
        if end == self.key.address:
            through[index["LC"]] = 0
        self._add(self._at(following, left, target, link), (*when, "through"), through)
        around = {k: v for k, v in self.numbers.items() if k != index["LC"]}
        if isinstance(start, int):
            self._add(self._at(start, left, target, link), (*when, "again"), around)
        else:
            unknown = Key("give up", self.key.address, detail="the start of a hardware loop is not known")
            self._add(unknown, (*when, "again"), around)

    def _jump(self, target: Target, link: int | None, when: tuple[Any, ...]) -> None:
        if isinstance(target, int):
            functions = self.functions
            if link is not None:
                self.explorer.note_call(target, link, functions)
                functions = frozenset([target])
            self._add(self._at(target, 0, None, None), when, self.numbers, functions)
            return
        places: list[tuple[int, frozenset[int]]] = []
        if target == "return":
            self.explorer.note_return(self.key)
            places = self.explorer.returns_from(self.functions)
        seen = {address for address, _ in places}
        for address in self.explorer.jumps.get(self.key.address, ()):
            if address not in seen:
                functions = self.functions
                if link is not None:
                    self.explorer.note_call(address, link, functions)
                    functions = frozenset([address])
                places.append((address, functions))
        for address, functions in places:
            self._add(self._at(address, 0, None, None), (*when, ("to", address)), self.numbers, functions)

    def _at(self, address: int, delay: int, target: Target, link: int | None) -> Key:
        return self.explorer._bundle(address, self.pipeline, delay, target, link)

    def _add(
        self,
        key: Key,
        when: tuple[Any, ...],
        numbers: dict[int, int | Entry],
        functions: frozenset[int] | None = None,
    ) -> None:
        symbols: list[Number] = []
        if key.kind != "give up":
            symbols = self.pipeline.symbols()
            if key.target in ("return", "jump"):
                symbols.append(None)
        self.found.append((Edge(key, when), Known(dict(numbers), symbols, functions or self.functions)))
