"""A placed design as a module of mlir-aie's dialects: tiles, buffers, locks, flows, programs, host transfers.

The dialects' text changed twice in the last two years; `mlir_dialect.Dialect` says for which time to write. Everything
that the design says is in the module, so aiecc needs no ObjectFifo lowering; addresses and switches are left to it, for
it links the kernel's object itself. Sources of the syntax: tests and documents of mlir-aie (Apache-2.0 with LLVM
exceptions).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import lcm, prod

from xattn.array.buffer_descriptor import Dimension
from xattn.array.configuration import ChannelStart
from xattn.array.design import Core, Design, Fifo, TileId, Walk
from xattn.array.mlir_dialect import NEWEST, Dialect, descriptor
from xattn.array.mlir_host import runtime_sequence
from xattn.array.mlir_ir import Block, Operation, Value
from xattn.array.placement import PlacedFifo, Placement
from xattn.array.registers import TileKind
from xattn.array.words import WORD

_FOR_EVER = 4294967295
_STACK_BYTES = 1024


def mlir_module(placement: Placement, object_file: str, dialect: Dialect = NEWEST) -> Operation:
    """The module; `object_file` is the name of the kernel's object for the linker."""
    return _Writer(placement, object_file, dialect).module()


@dataclass
class _Writer:
    placement: Placement
    object_file: str
    dialect: Dialect
    tiles: dict[TileId, Value] = field(default_factory=dict)
    buffers: dict[tuple[str, int], Value] = field(default_factory=dict)
    locks: dict[tuple[TileId, int], Value] = field(default_factory=dict)
    constants: int = 0

    @property
    def design(self) -> Design:
        return self.placement.design

    def module(self) -> Operation:
        columns = self.design.columns
        device = "npu1" if columns == 4 else f"npu1_{columns}col"
        body = [
            *self._functions(),
            *self._tiles(),
            *self._memory(),
            *self._flows(),
            *(operation for core in self.design.cores for operation in self._core(core)),
            *self._dma_programs(),
            *self._allocations(),
            runtime_sequence(self.placement, self.dialect),
            Operation("aie.end", ""),
        ]
        inner = Operation("aie.device", f"aie.device({device})", attributes={"device": f'"{device}"'})
        inner.region = [Block(body)]
        return Operation("builtin.module", "module", region=[Block([inner])])

    # -- what there is ------------------------------------------------------------------------------------------------

    def _functions(self) -> Iterator[Operation]:
        for name in dict.fromkeys(core.kernel for core in self.design.cores):
            core = next(core for core in self.design.cores if core.kernel == name)
            types = [self._type(self.design.fifo(fifo)) for fifo in core.arguments] + ["i32"] * len(core.scalars)
            linked = "" if self.dialect is Dialect.late_2025 else f' attributes {{link_with = "{self.object_file}"}}'
            signature = f"({', '.join(types)}) -> ()"
            attributes = {"sym_name": f'"{name}"', "function_type": signature, "sym_visibility": '"private"'}
            operation = Operation("func.func", f"func.func private @{name}({', '.join(types)}){linked}")
            operation.attributes = attributes
            operation.region = []
            yield operation

    def _tiles(self) -> Iterator[Operation]:
        places = {fifo.tile for fifo in self.design.fifos} | {core.tile for core in self.design.cores}
        places |= {TileId(channel.column, 0) for channel in self.placement.shim.values()}
        for place in sorted(places):
            value = self.tiles[place] = Value(f"tile_{place.column}_{place.row}", "index")
            text = f"aie.tile({place.column}, {place.row})"
            attributes = {"col": f"{place.column} : i32", "row": f"{place.row} : i32"}
            yield Operation("aie.tile", text, results=(value,), attributes=attributes)

    def _memory(self) -> Iterator[Operation]:
        for placed in self.placement.fifos.values():
            fifo = placed.fifo
            for number in range(fifo.depth):
                value = Value(f"{fifo.name}_{number}", self._type(fifo))
                self.buffers[fifo.name, number] = value
                text = f'aie.buffer(%{self.tiles[fifo.tile].name}) {{sym_name = "{value.name}"}} : {value.type}'
                attributes = {"sym_name": f'"{value.name}"'}
                yield Operation("aie.buffer", text, (self.tiles[fifo.tile],), (value,), attributes)
            for (number, init), what in zip(placed.locks, ("free", "full", "done"), strict=False):
                yield self._lock(placed.fifo, number, init, what)

    def _lock(self, fifo: Fifo, number: int, init: int, what: str) -> Operation:
        value = Value(f"{fifo.name}_{what}", "index")
        self.locks[fifo.tile, number] = value
        shown = f'{{init = {init} : i32, sym_name = "{value.name}"}}'
        text = f"aie.lock(%{self.tiles[fifo.tile].name}, {number}) {shown}"
        attributes = {"lockID": f"{number} : i32", "init": f"{init} : i32", "sym_name": f'"{value.name}"'}
        return Operation("aie.lock", text, (self.tiles[fifo.tile],), (value,), attributes)

    @staticmethod
    def _type(fifo: Fifo) -> str:
        """Bytes in cores, whose kernels take them; words in mem tiles, whose channels change the order of words."""
        if fifo.tile.kind is TileKind.MEM:
            return f"memref<{fifo.bytes // WORD}xi32>"
        return f"memref<{fifo.bytes}xi8>"

    # -- streams ------------------------------------------------------------------------------------------------------

    def _flows(self) -> Iterator[Operation]:
        for stream in self.design.streams:
            source, *sinks = self.placement.ends[stream.name]
            for sink in sinks:
                (a, port), (b, other) = (self.tiles[source.tile], source.channel), (self.tiles[sink.tile], sink.channel)
                text = f"aie.flow(%{a.name}, DMA : {port}, %{b.name}, DMA : {other})"
                attributes = {
                    "source_bundle": '"DMA"',
                    "source_channel": f"{port} : i32",
                    "dest_bundle": '"DMA"',
                    "dest_channel": f"{other} : i32",
                }
                yield Operation("aie.flow", text, (a, b), attributes=attributes)

    def _allocations(self) -> Iterator[Operation]:
        for name, channel in self.placement.shim.items():
            direction = "MM2S" if channel.to_array else "S2MM"
            tile = self.tiles[TileId(channel.column, 0)]
            if self.dialect is Dialect.late_2025:
                text = f"aie.shim_dma_allocation @{name}({direction}, {channel.channel}, {channel.column})"
            else:
                text = f"aie.shim_dma_allocation @{name} (%{tile.name}, {direction}, {channel.channel})"
            attributes = {
                "sym_name": f'"{name}"',
                "channel_dir": f'"{direction}"',
                "channel_index": f"{channel.channel} : i64",
            }
            yield Operation("aie.shim_dma_allocation", text, (tile,), attributes=attributes)

    # -- programs of cores and of DMA ---------------------------------------------------------------------------------

    def _core(self, core: Core) -> Iterator[Operation]:
        """A loop without end, or `rounds` turns; each turn with its own buffers, written out until they repeat."""
        fifos = [self.placement.fifos[name] for name in core.arguments]
        period = lcm(*(placed.fifo.depth for placed in fifos))
        turns = [operation for turn in range(period) for operation in self._turn(core, fifos, turn)]
        count = _FOR_EVER if core.rounds is None else core.rounds // period
        body = [*self._loop(turns, count)]
        if core.rounds is not None:
            body += [operation for turn in range(core.rounds % period) for operation in self._turn(core, fifos, turn)]
        body.append(Operation("aie.end", "aie.end"))
        linked = f'link_with = "{self.object_file}", ' if self.dialect is Dialect.late_2025 else ""
        place = self.tiles[core.tile]
        yield Operation(
            "aie.core",
            f"aie.core(%{place.name})",
            (place,),
            (Value(f"core_{core.tile.column}_{core.tile.row}", "index"),),
            {"stack_size": f"{_STACK_BYTES} : i32"},
            [Block(body)],
            tail=f" {{{linked}stack_size = {_STACK_BYTES} : i32}}",
        )

    def _loop(self, body: list[Operation], count: int) -> Iterator[Operation]:
        bounds = []
        for number in (0, count, 1):
            value = self._fresh("index")
            bounds.append(value)
            yield Operation(
                "arith.constant",
                f"arith.constant {number} : index",
                results=(value,),
                attributes={"value": f"{number} : index"},
            )
        low, high, step = bounds
        counter = self._fresh("index")
        text = f"scf.for %{counter.name} = %{low.name} to %{high.name} step %{step.name}"
        block = Block([*body, Operation("scf.yield", "")], arguments=(counter,))
        yield Operation("scf.for", text, (low, high, step), region=[block])

    def _turn(self, core: Core, fifos: list[PlacedFifo], turn: int) -> Iterator[Operation]:
        for placed in fifos:
            yield from self._use(core.tile, placed.taken_by_core(placed.fifo.name in core.outputs), acquire=True)
        arguments = [self.buffers[placed.fifo.name, turn % placed.fifo.depth] for placed in fifos]
        for number in core.scalars:
            value = self._fresh("i32")
            arguments.append(value)
            attributes = {"value": f"{number} : i32"}
            yield Operation("arith.constant", f"arith.constant {number} : i32", results=(value,), attributes=attributes)
        names = ", ".join(f"%{value.name}" for value in arguments)
        types = ", ".join(value.type for value in arguments)
        call = f"func.call @{core.kernel}({names}) : ({types}) -> ()"
        # A checker that does not know the operations around a call cannot resolve it, so it gets an opaque one.
        yield Operation("xattn.call", call, tuple(arguments), attributes={"kernel": f'"{core.kernel}"'})
        for placed in fifos:
            yield from self._use(core.tile, placed.given_by_core(placed.fifo.name in core.outputs), acquire=False)

    def _use(self, place: TileId, lock: int, acquire: bool) -> Iterator[Operation]:
        value = self.locks[place, lock]
        action = "AcquireGreaterEqual" if acquire else "Release"
        amount, operands = "1", [value]
        if self.dialect is Dialect.late_2026:
            one = self._fresh("i32")
            amount, operands = f"%{one.name}", [value, one]
            attributes = {"value": "1 : i32"}
            yield Operation("arith.constant", "arith.constant 1 : i32", results=(one,), attributes=attributes)
        text = f"aie.use_lock(%{value.name}, {action}, {amount})"
        yield Operation("aie.use_lock", text, tuple(operands), attributes={"action": f'"{action}"'})

    def _dma_programs(self) -> Iterator[Operation]:
        for place in dict.fromkeys(start.tile for start in self.placement.starts):
            starts = [start for start in self.placement.starts if start.tile == place]
            blocks = [block for index, start in enumerate(starts) for block in self._channel(start, index, len(starts))]
            blocks.append(Block([Operation("aie.end", "aie.end")], "end"))
            blocks[0].label = None
            name = "aie.memtile_dma" if place.kind is TileKind.MEM else "aie.mem"
            tile = self.tiles[place]
            result = Value(f"dma_{place.column}_{place.row}", "index")
            yield Operation(name, f"{name}(%{tile.name})", (tile,), (result,), region=blocks)

    def _channel(self, start: ChannelStart, index: int, count: int) -> Iterator[Block]:
        """The block that starts a channel, and one for each of its BDs."""
        direction, _, number = start.channel.partition("_")
        turns = self.placement.turns[start.tile, start.channel]
        first, after = f"bd{index}_0", f"dma{index + 1}" if index + 1 < count else "end"
        text = f"aie.dma_start({direction}, {number}, ^{first}, ^{after})"
        attributes = {"channel_dir": f'"{direction}"', "channel_index": f"{number} : i32"}
        opening = Operation(
            "aie.dma_start", text, results=(self._fresh("i1"),), attributes=attributes, successors=(first, after)
        )
        yield Block([opening], f"dma{index}")
        for turn, (walk, buffer) in enumerate(turns):
            following = f"bd{index}_{(turn + 1) % len(turns)}"
            body = [*self._bd(start.tile, walk, buffer, outward=direction == "MM2S")]
            body.append(Operation("aie.next_bd", f"aie.next_bd ^{following}", successors=(following,)))
            yield Block(body, f"bd{index}_{turn}")

    def _bd(self, place: TileId, walk: Walk, buffer: int, outward: bool) -> Iterator[Operation]:
        placed = self.placement.fifos[walk.fifo]
        value = self.buffers[walk.fifo, buffer]
        take, give = placed.used_by_dma(outward)
        yield from self._use(place, take, acquire=True)
        elements = placed.fifo.bytes // (WORD if place.kind is TileKind.MEM else 1)
        sizes, strides = _loops(walk.dimensions, elements)
        yield descriptor(self.dialect, value, 0, elements, sizes, strides)
        yield from self._use(place, give, acquire=False)

    def _fresh(self, type: str) -> Value:
        self.constants += 1
        return Value(f"v{self.constants}", type)


def _loops(dimensions: tuple[Dimension, ...], elements: int) -> tuple[list[int], list[int]]:
    """A walk's sizes and strides, outermost first; the outermost loop gets the size that the length leaves."""
    if not dimensions:
        return [], []
    inner = [dimension.wrap for dimension in dimensions[:-1]]
    sizes = [*inner, elements // prod(inner)]
    return sizes[::-1], [dimension.step for dimension in dimensions][::-1]
