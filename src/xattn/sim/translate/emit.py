"""The LLVM module of a program: one function, made of chains of bundles, from the graph of `explore`.

    i32 run(state, memory, blocks.counts, stalls.counts, locks.counts)

Registers are places on the stack while it runs, which LLVM turns into values; so is what is on its way at the start of
each chain. The result says how it ended (`END`). Unless it says "returned" or "stopped", nothing that it did counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from xattn.isa.semantics.meaning import ADDRESS_BITS
from xattn.sim.memory import Region
from xattn.sim.state import storage_index, storage_registers
from xattn.sim.translate import layout
from xattn.sim.translate.explore import Edge, Explorer, Key, Node
from xattn.sim.translate.ir import Writer, vector_type
from xattn.sim.translate.known import KnownNumbers
from xattn.sim.translate.lanes import UntranslatableError, type_of
from xattn.sim.translate.machine import ADDRESS, Cell, Machine, Shared, Symbol
from xattn.sim.translate.modes import Choice
from xattn.sim.translate.operations import Functions
from xattn.sim.translate.pipeline import DEPTH, Event, Flow, Pipeline

END = {0: "returned", 1: "stopped", 2: "gave up", 3: "limit", 4: "jump"}
RETURNED, STOPPED, GAVE_UP, LIMIT, JUMP = END
INLINE_COST = 12_000  # lines of IR that inlining one function everywhere may give


@dataclass(frozen=True)
class Module:
    """A module's text; addresses of bundles by block, stalls counter and lock counter; what is chosen at run time."""

    text: str
    blocks: list[list[int]]
    stalls: list[int]
    locks: list[int]
    choices: list[Choice]


def module_of(
    explorer: Explorer, nodes: Mapping[Key, Node], regions: Sequence[Region], features: frozenset[str]
) -> Module:
    """Write the code of an explored program."""
    return _Emitter(explorer, nodes, regions, features).module()


def _event_types(event: Event) -> list[str]:
    """LLVM types of the symbols that an event takes along."""
    if event.what == "scalar":
        return [f"i{storage_registers()[event.subject].bits}"]
    if event.what in ("vector", "early"):
        return [vector_type(event.subject.bits // 8, 8)]
    if event.what == "store":
        return [ADDRESS, vector_type(event.subject, 8)]
    if event.what == "part word":
        return [ADDRESS, "i32", f"i{8 * event.subject}"]
    if event.what == "stage":
        return [type_of(value) for value in event.subject.stages.carried_into(event.detail)]
    assert event.what == "bank"
    return [ADDRESS]


def symbol_types(key: Key) -> list[str]:
    """LLVM types of the symbols of a node, in order."""
    if not key.signature:
        return []
    types = [t for _, _, events in key.signature[:-1] for event, _ in events for t in _event_types(event)]
    types += ["i32"] * key.signature[-1]
    return types + ([ADDRESS] if key.target in ("return", "jump") else [])


class _Emitter:
    def __init__(
        self, explorer: Explorer, nodes: Mapping[Key, Node], regions: Sequence[Region], features: frozenset[str]
    ):
        self.explorer, self.nodes = explorer, nodes
        self.functions = Functions(features)
        self.shared = Shared(self.functions, regions, _cells(nodes))
        self.writer = Writer(self.functions.intrinsics, features)
        self.blocks: list[list[int]] = []
        self.numbers: dict[Key, int] = {}
        self.calls: dict[str, int] = defaultdict(int)
        self.chains = self._chains()

    def _chains(self) -> list[list[Node]]:
        """Nodes that follow each other in any case, together; in depth-first order."""
        reached: dict[Key, int] = defaultdict(int)
        for node in self.nodes.values():
            for edge in node.edges:
                reached[edge.to] += 1
        chains, waiting, seen = [], [self.explorer.root], set()
        while waiting:
            key = waiting.pop()
            if key in seen:
                continue
            chain = [self.nodes[key]]
            seen.add(key)
            while True:
                edges = chain[-1].edges
                if len(edges) != 1 or edges[0].when or reached[edges[0].to] != 1 or edges[0].to.kind != "bundle":
                    break
                if edges[0].to in seen:  # a loop that nothing leaves
                    break
                chain.append(self.nodes[edges[0].to])
                seen.add(edges[0].to)
            chains.append(chain)
            waiting.extend(edge.to for edge in reversed(chain[-1].edges))
        for number, chain in enumerate(chains):
            self.numbers[chain[0].key] = number
        return chains

    def module(self) -> Module:
        """The whole module."""
        heads = self._loop_heads()
        for chain in self.chains:
            self._chain(chain, chain[0].key in heads)
        body = "\n".join(self.writer.lines)
        functions = "\n".join(
            code.text.replace("#INLINE", self._inlining(code.name, code.cost)) for code in self.functions.all()
        )
        parameters = ", ".join(
            f"ptr noalias %{name}" for name in ("state", "memory", "blocks.counts", "stalls.counts", "locks.counts")
        )
        text = "\n".join(
            [
                *self.functions.intrinsics.values(),
                functions,
                f"define i32 @run({parameters}) {{",
                *self._entry(),
                body,
                *self._leave(),
                "}",
            ]
        )
        return Module(text, self.blocks, self.shared.stalls, self.shared.locks, list(self.functions.choices))

    def _inlining(self, name: str, cost: int) -> str:
        calls = sum(f"@{name}(" in line for line in self.writer.lines) if cost > 20 else 0
        return "noinline" if calls > 1 and calls * cost > INLINE_COST else "alwaysinline"

    def _loop_heads(self) -> set[Key]:
        """Chains that are reached from a chain behind them: every cycle of the graph has one."""
        heads = set()
        for number, chain in enumerate(self.chains):
            heads |= {edge.to for edge in chain[-1].edges if self.numbers[edge.to] <= number}
        return heads

    # the frame

    def _entry(self) -> list[str]:
        lines = ["entry:", "%bad = alloca i32", "store i32 0, ptr %bad"]
        for name, offset in (("bundles", None), ("stalls", None), ("base", layout.BASE_CYCLE)):
            lines.append(f"%{name} = alloca i64")
            if offset is None:
                lines.append(f"store i64 0, ptr %{name}")
            else:
                lines += [
                    f"%{name}.p = getelementptr i8, ptr %state, i64 {offset}",
                    f"%{name}.v = load i64, ptr %{name}.p",
                    f"store i64 %{name}.v, ptr %{name}",
                ]
        lines.append(f"%limit.p = getelementptr i8, ptr %state, i64 {layout.LIMIT}")
        lines.append("%limit = load i64, ptr %limit.p")
        for cell in self.shared.used:
            name = cell.name
            lines += [f"{name} = alloca {cell.type}", f"{name}.p = getelementptr i8, ptr %state, i64 {cell.offset}"]
            if cell.buffer == "scalar":
                bits = cell.type
                lines.append(f"{name}.w = load i64, ptr {name}.p")
                lines.append(f"{name}.v = trunc i64 {name}.w to {bits}")
            else:
                lines.append(f"{name}.v = load {cell.type}, ptr {name}.p, align 8")
            lines.append(f"store {cell.type} {name}.v, ptr {name}")
        for key, number in self.numbers.items():
            if key.kind != "give up":
                lines += [f"%s{number}.{k} = alloca {type_}" for k, type_ in enumerate(symbol_types(key))]
        return [*lines, f"br label %n{self.numbers[self.explorer.root]}"]

    def _leave(self) -> list[str]:
        lines = ["return:", "br label %finish", "stop:", "br label %finish"]
        lines += ["finish:", f"%code = phi i32 [{RETURNED}, %return], [{STOPPED}, %stop]"]
        lines += ["%f.bad = load i32, ptr %bad", "%f.bundles = load i64, ptr %bundles"]
        lines += ["%f.isbad = icmp ne i32 %f.bad, 0", "%f.over = icmp ugt i64 %f.bundles, %limit"]
        lines += ["%f.no = or i1 %f.isbad, %f.over", "br i1 %f.no, label %toolate, label %good"]
        lines += ["good:"]
        for cell in self.shared.used:
            name = f"{cell.name}.f"
            lines.append(f"{name} = load {cell.type}, ptr {cell.name}")
            if cell.buffer == "scalar":
                lines += [f"{name}.w = zext {cell.type} {name} to i64", f"store i64 {name}.w, ptr {cell.name}.p"]
            else:
                lines.append(f"store {cell.type} {name}, ptr {cell.name}.p, align 8")
        lines += [
            f"%b.p = getelementptr i8, ptr %state, i64 {layout.BUNDLES}",
            "store i64 %f.bundles, ptr %b.p",
            "ret i32 %code",
        ]
        lines += ["toolate:", "%t.bad = load i32, ptr %bad", "%t.isbad = icmp ne i32 %t.bad, 0"]
        lines += [f"%t.code = select i1 %t.isbad, i32 {GAVE_UP}, i32 {LIMIT}", "ret i32 %t.code"]
        return lines

    # chains

    def _chain(self, chain: list[Node], is_head: bool) -> None:
        key = chain[0].key
        number = self.numbers[key]
        self.writer.do(f"n{number}:")
        if key.kind == "give up":
            self._give_up(key.address)
            return
        if is_head:
            self._check_limit(number)
        symbols = [
            Symbol(self.writer.line(f"load {type_}, ptr %s{number}.{k}"), chain[0].known.symbols[k])
            for k, type_ in enumerate(symbol_types(key))
        ]
        symbols = [Symbol(str(s.number), s.number) if isinstance(s.number, int) else s for s in symbols]
        target = symbols.pop() if key.target in ("return", "jump") else None
        pipeline = Pipeline.of(key.signature, symbols) if key.signature else Pipeline()
        numbers = KnownNumbers(self.explorer, dict(chain[0].known.numbers), key.address)
        machine = Machine(self.shared, self.writer, numbers)
        if key.kind == "exit":
            self._exit(key, pipeline, machine)
            return
        try:
            for node in chain:
                flow = self._bundle(node, pipeline, machine)
                if flow.branch is not None:
                    target = flow.target
        except UntranslatableError:
            self._give_up(machine.known.address)
            return
        self._end(chain, flow, pipeline, machine, target)

    def _bundle(self, node: Node, pipeline: Pipeline, machine: Machine) -> Flow:
        machine.known.address = node.key.address
        machine.known.numbers = dict(node.known.numbers)
        machine.position += 1
        pipeline.land(machine)
        assert node.issued is not None
        flow = pipeline.issue(node.issued, machine)
        if not flow.done:
            machine.arbitrate(pipeline.accesses(), node.key.address)
        pipeline.next()
        return flow

    def _end(self, chain: list[Node], flow: Flow, pipeline: Pipeline, machine: Machine, target: Symbol | None) -> None:
        writer = self.writer
        self._count(chain, machine)
        end = _End(self, chain[-1], flow, pipeline, machine, target)
        machine_edges = chain[-1].edges
        if flow.branch is not None and flow.condition is not None:
            taken, straight = end.label("taken"), end.label("straight")
            machine.flush()
            writer.do(f"br i1 {flow.condition.name}, label %{taken}, label %{straight}")
            before = dict(machine.current)
            for name, label in (("taken", taken), ("straight", straight)):
                writer.do(f"{label}:")
                machine.current = dict(before)
                end.group([Edge(e.to, e.when[1:]) for e in machine_edges if e.when[0] == name])
        else:
            end.group(machine_edges)

    def _count(self, chain: list[Node], machine: Machine) -> None:
        line, number = self.writer.line, len(self.blocks)
        self.blocks.append([node.key.address for node in chain])
        place = line(f"getelementptr i64, ptr %blocks.counts, i64 {number}")
        count = line(f"load i64, ptr {place}")
        self.writer.do(f"store i64 {line(f'add i64 {count}, 1')}, ptr {place}")
        bundles = line("load i64, ptr %bundles")
        self.writer.do(f"store i64 {line(f'add i64 {bundles}, {machine.position}')}, ptr %bundles")

    def _exit(self, key: Key, pipeline: Pipeline, machine: Machine) -> None:
        """Everything lands that is still on its way."""
        for _ in range(DEPTH):
            pipeline.land(machine)
            pipeline.banks[0] = []
            pipeline.next()
        machine.flush()
        self.writer.do(f"br label %{'stop' if key.detail == 'done' else 'return'}")

    def _check_limit(self, number: int) -> None:
        line = self.writer.line
        bad = line(f"icmp ne i32 {line('load i32, ptr %bad')}, 0")
        over = line(f"icmp ugt i64 {line('load i64, ptr %bundles')}, %limit")
        self.writer.do(f"br i1 {line(f'or i1 {bad}, {over}')}, label %toolate, label %go{number}")
        self.writer.do(f"go{number}:")

    def _give_up(self, address: int) -> None:
        self.writer.do(f"{self._noted(layout.ADDRESS, str(address))}")
        self.writer.do(f"ret i32 {GAVE_UP}")

    def _noted(self, offset: int, value: str) -> str:
        place = self.writer.line(f"getelementptr i8, ptr %state, i64 {offset}")
        return f"store i64 {value}, ptr {place}"

    def lost(self, address: int, target: str) -> None:
        """A computed jump that goes where none was expected to go."""
        self.writer.do(self._noted(layout.ADDRESS, str(address)))
        wide = self.writer.line(f"zext {ADDRESS} {target} to i64")
        self.writer.do(self._noted(layout.TARGET, wide))
        self.writer.do(f"ret i32 {JUMP}")


class _End:
    """The end of a chain: what chooses the way on, and what goes along it."""

    def __init__(
        self,
        emitter: _Emitter,
        node: Node,
        flow: Flow,
        pipeline: Pipeline,
        machine: Machine,
        target: Symbol | None,
    ):
        self.emitter, self.node, self.flow, self.pipeline, self.machine = emitter, node, flow, pipeline, machine
        self.target, self.writer = target, emitter.writer

    def label(self, what: str) -> str:
        """A fresh label."""
        return f"{what}{self.writer.fresh()[2:]}"

    def group(self, edges: list[Edge]) -> None:
        """The edges that remain after a conditional branch was decided."""
        if len(edges) == 1 and not edges[0].when:
            self.machine.flush()
            self._go(edges[0].to)
        elif not edges or edges[0].when[0] not in ("again", "through"):
            self._jump(edges)
        else:
            self._loop({edge.when[0]: edge.to for edge in edges})

    def _go(self, key: Key) -> None:
        self._hand_over(key)
        self.writer.do(f"br label %n{self.emitter.numbers[key]}")

    def _hand_over(self, key: Key) -> None:
        """Put the symbols of what is on its way where the next chain finds them."""
        if key.kind == "give up":
            return
        symbols = self.pipeline.symbols()
        if key.target in ("return", "jump"):
            assert self.target is not None
            symbols.append(self.target)
        number = self.emitter.numbers[key]
        for k, (type_, symbol) in enumerate(zip(symbol_types(key), symbols, strict=True)):
            self.writer.do(f"store {type_} {symbol.name}, ptr %s{number}.{k}")

    def _jump(self, edges: list[Edge]) -> None:
        """A computed jump, to one of the places that it is known to go to."""
        assert self.target is not None
        self.machine.flush()
        for edge in edges:
            self._hand_over(edge.to)
        lost = self.label("lost")
        cases = " ".join(f"{ADDRESS} {e.when[0][1]}, label %n{self.emitter.numbers[e.to]}" for e in edges)
        self.writer.do(f"switch {ADDRESS} {self.target.name}, label %{lost} [{cases}]")
        self.writer.do(f"{lost}:")
        self.emitter.lost(self.node.key.address, self.target.name)

    def _loop(self, ways: dict[str, Key]) -> None:
        """The last bundle of a hardware loop, or one that may be the last."""
        index, line, machine = storage_index(), self.writer.line, self.machine
        count = machine.scalar(index["LC"])
        active = line(f"icmp ne i32 {count}, 0")
        end = machine.known.numbers.get(index["LE"])
        if not isinstance(end, int):
            here = line(f"icmp eq {ADDRESS} {machine.scalar(index['LE'])}, {self.node.key.address}")
            active = line(f"and i1 {active}, {here}")
        left = line(f"sub i32 {count}, 1")
        new = line(f"select i1 {active}, i32 {left}, i32 {count}")
        again = line(f"and i1 {active}, {line(f'icmp ne i32 {left}, 0')}")
        machine.write(Cell("scalar", index["LC"]), new)
        machine.flush()
        for key in ways.values():
            self._hand_over(key)
        labels = {way: f"%n{self.emitter.numbers[key]}" for way, key in ways.items()}
        self.writer.do(f"br i1 {again}, label {labels['again']}, label {labels['through']}")


def _cells(nodes: Mapping[Key, Node]) -> dict[tuple[str, int, int], list[tuple[int, int]]]:
    """The coarsest cut of the vector buffers in which every access is made of whole cells."""
    places: dict[str, set[tuple[int, int]]] = defaultdict(set)
    for node in nodes.values():
        for operation in node.issued.operations if node.issued is not None else ():
            for access in operation.accesses.all.values():
                spot = operation.stages.spots[access.key]
                if spot.kind not in ("vector", "compound"):
                    continue
                for register in access.register.parts if spot.kind == "compound" else (access.register,):
                    buffer, first, size = layout.vector_place(register)
                    places[buffer].add((first, size))
    found = {}
    for buffer, extents in places.items():
        cuts = sorted({cut for first, size in extents for cut in (first, first + size)})
        for first, size in extents:
            inside = [cut for cut in cuts if first <= cut <= first + size]
            found[buffer, first, size] = [(a, b - a) for a, b in pairwise(inside)]
    return found


assert f"i{ADDRESS_BITS}" == ADDRESS
