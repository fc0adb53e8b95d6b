"""The pipeline's domain while code is written: symbols are names of LLVM values, with their numbers where known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from xattn.isa.model import Register
from xattn.isa.semantics.meaning import ADDRESS_BITS
from xattn.sim.access import ALIGNMENT
from xattn.sim.memory import WIDE, WINDOW, Region
from xattn.sim.state import storage_index, storage_registers
from xattn.sim.translate import layout
from xattn.sim.translate.ir import Writer, vector_type
from xattn.sim.translate.known import KnownNumbers, Number
from xattn.sim.translate.operations import Functions, Input, Operation, Output, StageCode

ADDRESS = f"i{ADDRESS_BITS}"


class Symbol(NamedTuple):
    """The name (or literal) of a value, and its number where that is known."""

    name: str
    number: Number = None


@dataclass(frozen=True)
class Cell:
    """A piece of the core's state that code reads and writes as one: a scalar, or bytes of a vector buffer."""

    buffer: str  # scalar, w, am, q
    first: int  # index of the scalar, or first byte
    size: int = 0
    bypassed: bool = False

    @property
    def type(self) -> str:
        """Its LLVM type."""
        if self.buffer == "scalar":
            return f"i{storage_registers()[self.first].bits}"
        return vector_type(self.size, 8)

    @property
    def name(self) -> str:
        """Name of its place on the stack."""
        return f"%{self.buffer}{self.first}{'b' if self.bypassed else ''}"

    @property
    def offset(self) -> int:
        """Its place in the state."""
        if self.buffer == "scalar":
            return layout.SCALARS + 8 * self.first
        return layout.BUFFERS[self.buffer, self.bypassed] + self.first


@dataclass
class Shared:
    """What the chains of one module have in common."""

    functions: Functions
    regions: Sequence[Region]
    cells_of: dict[tuple[str, int, int], list[tuple[int, int]]]
    """For each (buffer, first byte, bytes) that is accessed: the cells that it is made of."""
    used: dict[Cell, None] = field(default_factory=dict)
    stalls: list[int] = field(default_factory=list)
    """Addresses of the bundles whose bank stalls are counted, in the order of the counters."""
    locks: list[int] = field(default_factory=list)
    counts_cycles: bool = False
    """Whether the program reads the cycle counter, or signals events: then stalls are also summed up."""


class Machine:
    """Writes the code of one chain of bundles; see `pipeline.Domain`."""

    def __init__(self, shared: Shared, writer: Writer, known: KnownNumbers):
        self.shared, self.writer, self.known = shared, writer, known
        self.current: dict[Cell, str] = {}
        self.changed: dict[Cell, None] = {}
        self.bad: list[str] = []
        self.position = 0  # bundles of the chain that have issued, the current one included

    # registers

    def read(self, cell: Cell) -> str:
        """The name of a cell's value."""
        if cell not in self.current:
            self.shared.used[cell] = None
            self.current[cell] = self.writer.line(f"load {cell.type}, ptr {cell.name}")
        return self.current[cell]

    def write(self, cell: Cell, name: str) -> None:
        """A cell gets a value."""
        self.shared.used[cell] = None
        self.current[cell] = name
        self.changed[cell] = None

    def flush(self) -> None:
        """Put what has changed where the next chain finds it."""
        for cell in self.changed:
            self.writer.do(f"store {cell.type} {self.current[cell]}, ptr {cell.name}")
        self.changed.clear()
        if self.bad:
            total = self.writer.line("load i32, ptr %bad")
            for name in self.bad:
                total = self.writer.line(f"or i32 {total}, {name}")
            self.writer.do(f"store i32 {total}, ptr %bad")
            self.bad.clear()

    def scalar(self, index: int) -> str:
        """A scalar register, as a literal where its number is known."""
        number = self.known.numbers.get(index)
        return str(number) if isinstance(number, int) else self.read(Cell("scalar", index))

    def vector(self, register: Register, bypassed: bool) -> str:
        """A vector register's bytes."""
        place = layout.vector_place(register)
        pieces = self.shared.cells_of[place]
        cells = [Cell(place[0], first, size, bypassed) for first, size in pieces]
        name, count = self.read(cells[0]), cells[0].size
        for cell in cells[1:]:
            name, count = self.writer.joined(name, count, self.read(cell), cell.size, 8)
        return name

    def land_scalar(self, index: int, sticky: bool, value: Symbol) -> None:
        """See `Domain`."""
        self.known.land_scalar(index, sticky, value.number)
        cell, name = Cell("scalar", index), value.name
        if sticky:
            name = self.writer.line(f"or {cell.type} {self.read(cell)}, {name}")
        self.write(cell, name)

    def land_vector(self, register: Register, bypassed: bool, value: Symbol) -> None:
        """See `Domain`."""
        place = layout.vector_place(register)
        pieces = self.shared.cells_of[place]
        for first, size in pieces:
            name = value.name
            if len(pieces) > 1:
                order = range(first - place[1], first - place[1] + size)
                name = self.writer.shuffled(name, vector_type(place[2], 8), order)
            self.write(Cell(place[0], first, size, bypassed), name)

    # computing

    def _modes(self, operation: Operation, kept: Sequence[Symbol], stage: int) -> tuple[int | None, ...]:
        carried = operation.stages.carried_into(stage)
        numbers = {value: symbol.number for value, symbol in zip(carried, kept, strict=True)}
        found = (self.known.number(operation, selector, numbers) for selector in operation.selectors)
        return tuple(number if isinstance(number, int) else None for number in found)

    def addresses(self, operation: Operation) -> list[Symbol]:
        """See `Domain`."""
        code = self.shared.functions.code(operation.shape, 1, True, self._modes(operation, (), 1))
        results = self._called(code, operation, (), ())
        return [Symbol(results[Output("address", k)]) for k in range(len(operation.effects.loads))]

    def outputs(
        self, operation: Operation, stage: int, kept: Sequence[Symbol], loaded: Sequence[Symbol]
    ) -> dict[Output, Symbol]:
        """See `Domain`."""
        code = self.shared.functions.code(operation.shape, stage, False, self._modes(operation, kept, stage))
        results = self._called(code, operation, kept, loaded)
        numbers = self.known.outputs(operation, stage, [symbol.number for symbol in kept], [])
        found = {}
        for output, name in results.items():
            number = numbers.get(output)
            found[output] = Symbol(str(number) if isinstance(number, int) else name, number)
        return found

    def _called(
        self, code: StageCode, operation: Operation, kept: Sequence[Symbol], loaded: Sequence[Symbol]
    ) -> dict[Output, str]:
        names: dict[Input, str] = {}

        def argument(what: Input) -> str:
            if what not in names:
                names[what] = self._argument(what, operation, kept, loaded)
            return names[what]

        results = {
            output: source if isinstance(source, str) else argument(source) for output, source in code.passed.items()
        }
        if code.outputs:
            arguments = ", ".join(f"{type_} {argument(what)}" for what, type_ in code.inputs.items())
            types = list(code.outputs.values())
            returned = types[0] if len(types) == 1 else f"{{{', '.join(types)}}}"
            name = self.writer.line(f"call fastcc {returned} @{code.name}({arguments})")
            for k, output in enumerate(code.outputs):
                single = len(types) == 1
                results[output] = name if single else self.writer.line(f"extractvalue {returned} {name}, {k}")
        return results

    def _argument(self, what: Input, operation: Operation, kept: Sequence[Symbol], loaded: Sequence[Symbol]) -> str:
        if what.what in ("kept", "loaded"):
            symbol: Symbol = (kept if what.what == "kept" else loaded)[what.key]
            return symbol.name
        if what.what == "immediate":
            return str(operation.immediate(what.key))
        if what.what == "return address":
            return str(self.known.follows.return_address(self.known.address))
        if what.what in ("state", "bad"):
            return f"%{what.what}"
        if what.what == "counter":
            return self.cycle()
        register, spot = operation.register(what.key), operation.stages.spots[what.key]
        if spot.kind == "scalar":
            return self.scalar(storage_index()[register.name])
        if spot.kind == "pair":
            return self.scalar(storage_index()[register.storage[what.piece].name])
        return self.vector(register.parts[what.piece] if spot.kind == "compound" else register, spot.bypassed)

    def cycle(self) -> str:
        """Cycles so far."""
        self.shared.counts_cycles = True
        before = self.writer.line("load i64, ptr %bundles")
        base = self.writer.line("load i64, ptr %base")
        stalls = self.writer.line("load i64, ptr %stalls")
        total = self.writer.line(f"add i64 {before}, {base}")
        total = self.writer.line(f"add i64 {total}, {stalls}")
        return self.writer.line(f"add i64 {total}, {self.position}")

    # memory: a whole address space lies behind %memory, so any access can be made first and judged later

    def _place(self, address: str) -> str:
        wide = self.writer.line(f"zext {ADDRESS} {address} to i64")
        return self.writer.line(f"getelementptr i8, ptr %memory, i64 {wide}")

    def _check(self, address: str, size: int) -> None:
        """Note whether an access is misaligned or outside of the regions."""
        low, line = ALIGNMENT[size] - 1, self.writer.line
        wide = line(f"zext {ADDRESS} {address} to i32")
        regions = self.shared.regions
        if len(regions) == 1 and regions[0].size == WINDOW and regions[0].base % WINDOW == 0:
            kept = line(f"and i32 {wide}, {(1 << ADDRESS_BITS) - WINDOW | low}")
            self.bad.append(line(f"xor i32 {kept}, {regions[0].base}"))
            return
        if low:
            self.bad.append(line(f"and i32 {wide}, {low}"))
        outside = ""
        for region in regions:
            distance = line(f"sub i32 {wide}, {region.base}")
            beyond = line(f"icmp ugt i32 {distance}, {region.size - size}") if region.size >= size else "true"
            outside = line(f"and i1 {outside}, {beyond}") if outside else beyond
        self.bad.append(line(f"zext i1 {outside or 'true'} to i32"))

    def load(self, size: int, address: Symbol) -> Symbol:
        """See `Domain`."""
        self._check(address.name, size)
        type_ = f"i{8 * size}" if size <= 8 else vector_type(size, 8)
        place = self._place(address.name)
        return Symbol(self.writer.line(f"load {type_}, ptr {place}, align 1"))

    def store(self, size: int, address: Symbol, value: Symbol) -> None:
        """See `Domain`."""
        self._check(address.name, size)
        type_ = f"i{8 * size}" if size <= 8 else vector_type(size, 8)
        self.writer.do(f"store {type_} {value.name}, ptr {self._place(address.name)}, align 1")

    def _word(self, address: str) -> str:
        return self._place(self.writer.line(f"and {ADDRESS} {address}, {(1 << ADDRESS_BITS) - 4}"))

    def read_word(self, address: Symbol) -> Symbol:
        """See `Domain`."""
        return Symbol(self.writer.line(f"load i32, ptr {self._word(address.name)}, align 4"))

    def store_part(self, size: int, address: Symbol, old: Symbol, value: Symbol) -> None:
        """See `Domain`."""
        line = self.writer.line
        self._check(address.name, size)
        part = line(f"and {ADDRESS} {address.name}, 3")
        shift = line(f"shl i32 {line(f'zext {ADDRESS} {part} to i32')}, 3")
        # two bytes at the last byte of a word are judged above; the shift must not be
        mask = line(f"shl i32 {(1 << 8 * size) - 1}, {shift}")
        new = line(f"shl i32 {line(f'zext i{8 * size} {value.name} to i32')}, {shift}")
        kept = line(f"and i32 {old.name}, {line(f'xor i32 {mask}, -1')}")
        word = line(f"or i32 {kept}, {new}")
        self.writer.do(f"store i32 {word}, ptr {self._word(address.name)}, align 4")

    # counting

    def arbitrate(self, accesses: Sequence[tuple[bool, Symbol]], address: int) -> None:
        """Count the cycles that are lost when these accesses want their banks at once (see `memory.arbitrate`)."""
        if len(accesses) < 2:
            return
        lost = self._rounds(accesses) if len(accesses) > 2 else self._count(self._meet(*accesses))
        self._add_to("stalls", self.shared.stalls, address, lost)

    def _count(self, condition: str) -> str:
        return self.writer.line(f"zext i1 {condition} to i64")

    def _meet(self, a: tuple[bool, Symbol], b: tuple[bool, Symbol]) -> str:
        """Whether two accesses want the same bank: the same 16 KB, and the same half unless one is wide."""
        mask = (1 << ADDRESS_BITS) - (1 << 14) | (0 if a[0] or b[0] else 16)
        different = self.writer.line(f"xor {ADDRESS} {a[1].name}, {b[1].name}")
        different = self.writer.line(f"and {ADDRESS} {different}, {mask}")
        return self.writer.line(f"icmp eq {ADDRESS} {different}, 0")

    def _rounds(self, accesses: Sequence[tuple[bool, Symbol]]) -> str:
        """Each access is served in the first round in which it meets none that was served before it."""
        line, rounds = self.writer.line, ["1"]  # one bit for the round of each access
        for k, access in enumerate(accesses[1:], 1):
            taken = "0"
            for other, round_ in zip(accesses[:k], rounds, strict=True):
                taken = line(f"or i64 {taken}, {line(f'select i1 {self._meet(other, access)}, i64 {round_}, i64 0')}")
            rounds.append(line(f"and i64 {line(f'xor i64 {taken}, -1')}, {line(f'add i64 {taken}, 1')}"))
        together = rounds[0]
        for round_ in rounds[1:]:
            together = line(f"or i64 {together}, {round_}")
        served = line(self.writer.intrinsic("llvm.ctpop.i64", "i64", [("i64", together)]))
        return line(f"add i64 {served}, -1")

    def _add_to(self, counters: str, addresses: list[int], address: int, amount: str) -> None:
        addresses.append(address)
        place = self.writer.line(f"getelementptr i64, ptr %{counters}.counts, i64 {len(addresses) - 1}")
        before = self.writer.line(f"load i64, ptr {place}")
        self.writer.do(f"store i64 {self.writer.line(f'add i64 {before}, {amount}')}, ptr {place}")
        total = self.writer.line("load i64, ptr %stalls")
        self.writer.do(f"store i64 {self.writer.line(f'add i64 {total}, {amount}')}, ptr %stalls")

    def lock(self, condition: Symbol | None) -> None:
        """See `Domain`: granted at once, which takes a cycle."""
        amount = "1" if condition is None else self._count(condition.name)
        self._add_to("locks", self.shared.locks, self.known.address, amount)

    def signal(self, value: Symbol) -> None:
        """See `Domain`: the list of events takes (cycle, number)."""
        line = self.writer.line
        count_place = line(f"getelementptr i8, ptr %state, i64 {layout.EVENTS}")
        count = line(f"load i64, ptr {count_place}")
        full = line(f"icmp uge i64 {count}, {layout.MOST_EVENTS}")
        self.bad.append(line(f"zext i1 {full} to i32"))
        at = line(f"select i1 {full}, i64 0, i64 {count}")
        place = line(f"getelementptr i8, ptr %state, i64 {layout.EVENT_LIST}")
        place = line(f"getelementptr {{i64, i64}}, ptr {place}, i64 {at}")
        self.writer.do(f"store i64 {self.cycle()}, ptr {place}")
        number = line(f"getelementptr i8, ptr {place}, i64 8")
        self.writer.do(f"store i64 {line(f'zext i32 {value.name} to i64')}, ptr {number}")
        self.writer.do(f"store i64 {line(f'add i64 {count}, 1')}, ptr {count_place}")


assert WIDE == 1 << ADDRESS_BITS
