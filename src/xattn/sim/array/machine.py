"""The simulated array: loads a configuration as the NPU does, and runs instruction streams over host buffers.

    array = Array()
    array.load(read_pdi(data).cdo())
    result = array.run(read_instructions(insts), [q_and_k, bytes(4096)])
    result.buffers[1], result.cycles

Everything is executed from its encoded form: register writes, memory blocks, machine code, instruction words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from xattn.array.cdo import Cdo, Delay, DmaWrite, End, MaskWrite, Nop, Write
from xattn.array.instructions import InstructionStream
from xattn.array.registers import FIRST_CORE_ROW, TileKind, kind_of_row, split_address
from xattn.array.registers import tile as tile_table
from xattn.array.words import U32_MAX, WORD
from xattn.errors import InputError, XattnError
from xattn.isa.timing import DATA_MEMORY_BYTES
from xattn.sim.array.addressing import Offsets
from xattn.sim.array.context import Context
from xattn.sim.array.controller import Controller
from xattn.sim.array.cores import CORE_CYCLES, TileCore
from xattn.sim.array.dma import Channel, Surroundings, Target
from xattn.sim.array.findings import ArrayError, ArrayFindings, ArrayKind
from xattn.sim.array.locks import Lock
from xattn.sim.array.memory import HostMemory, MemoryChannel, SharedView, TileMemory
from xattn.sim.array.report import ArrayResult, collect, deadlock_text
from xattn.sim.array.switch import CONTROLLER_PORT, Leg, Network
from xattn.sim.array.tile import Part, Tile, count_of
from xattn.sim.array.timing import ArrayTiming, published
from xattn.sim.core import chosen_engine
from xattn.sim.findings import Severity

if TYPE_CHECKING:
    from xattn.sim.segments import Effort

MAX_CYCLES = 1_000_000_000
COLUMNS = 4
ROWS = 6
MEM_TILE_BYTES = 0x80000
CORE_LOCKS = 16
_SIDES = ((0, -1), (-1, 0), (0, 1), (0, 0))  # whose locks and memory a core sees: south, west, north, its own
_SIDE_NAMES = ("memory to the south", "memory to the west", "memory to the north", "data memory")
_FIRST_WINDOW = 4  # of 64 KB, in the core's addresses: the south's from 0x40000 on
_MEM_LOCKS = 64


class Array:
    """An XDNA1 array of `columns` columns: shim, mem tile, four cores. What a run leaves behind, the next one finds.

    `strict`: every finding is an error; `severity` sets single kinds. `timing`: other figures than the published ones.
    `core_cycles`: how long each core may execute before that is an error (it is executed from lock to lock in one go).
    `engine` is that of the cores: "interpreter"; "translator" (extra `jit`) runs natively what a core does between lock
    operations from the second time on, in the same cycles, but without a look for findings; "auto" does so where the
    translator is installed and a translation is worth its time.
    """

    def __init__(
        self,
        columns: int = COLUMNS,
        *,
        timing: ArrayTiming | None = None,
        strict: bool = False,
        severity: Mapping[ArrayKind, Severity] | None = None,
        core_cycles: int = CORE_CYCLES,
        engine: str = "interpreter",
    ):
        self.context = Context(timing or published(), ArrayFindings(strict, severity))
        self.network = Network(self._registers_of, self.context.timing)
        self.tiles: dict[tuple[int, int], Tile] = {}
        self.cores: dict[tuple[int, int], TileCore] = {}
        self.channels: dict[tuple[int, int], dict[tuple[bool, int], Channel]] = {}
        self.host = HostMemory(())
        self.ddr = {reads: MemoryChannel(self.context.timing.ddr_bytes) for reads in (True, False)}
        self.controller = Controller(self.context, self._tile_at, self._channel_at, self._token_leaves)
        self._arbiters: dict[tuple[tuple[int, int], int], Lock] = {}
        self._strict, self._effort, self._core_cycles = strict, _effort(engine), core_cycles
        for column in range(columns):
            for row in range(ROWS):
                self._build(column, row)

    # what a user does

    def load(self, cdo: Cdo) -> None:
        """Execute a configuration. It takes no simulated time. ArrayError for what cannot be simulated."""
        for command in cdo.commands:
            match command:
                case Write(address, value):
                    self._at(address).write(split_address(address).offset, (value,))
                case MaskWrite(address, mask, value):
                    self._at(address).mask_write(split_address(address).offset, mask, value)
                case DmaWrite(address, _):
                    self._at(address).write(split_address(address).offset, command.words())
                case Nop() | Delay():
                    pass
                case End():
                    break
                case _:
                    raise ArrayError(f"the configuration has a {type(command).__name__}, which is not simulated")

    def run(self, stream: InstructionStream, buffers: Sequence[bytes], *, max_cycles: int = MAX_CYCLES) -> ArrayResult:
        """Run an instruction stream over host buffers (whole words each), by the number of the kernel's argument.

        Cycles count from the first instruction to the last one's end. ArrayError at an error, at a deadlock (the
        message says who waits for what), and after `max_cycles`.
        """
        context = self.context
        self.host = HostMemory(buffers)
        self._begin()
        self.controller.run(stream, self.host)
        try:
            context.scheduler.run(context.begin + max_cycles)
        except ArrayError:
            raise
        except XattnError as error:
            raise ArrayError(str(error)) from None
        if not self.controller.done:
            raise ArrayError(deadlock_text(context))
        channels = [channel for found in self.channels.values() for channel in found.values()]
        moved = (self.ddr[True].moved, self.ddr[False].moved)
        locks = [lock for tile in self.tiles.values() for lock in tile.locks if len(lock.changes) > 1]
        return collect(context, self.controller, self.cores.values(), channels, locks, self.host, moved)

    def tile_memory(self, column: int, row: int) -> bytes:
        """The data memory of a core or mem tile."""
        return self._tile_at(column, row).memory.words.tobytes()

    # how the parts find each other

    def _build(self, column: int, row: int) -> None:
        place, kind = (column, row), kind_of_row(row)
        memories: dict[TileKind, Callable[[], TileMemory]] = {
            TileKind.CORE: lambda: TileMemory(DATA_MEMORY_BYTES),
            TileKind.MEM: lambda: TileMemory(MEM_TILE_BYTES),
        }
        tile = self.tiles[place] = Tile(column, row, self.context, memories.get(kind))
        around = Surroundings(
            route=partial(self.network.from_channel, place),
            sink=lambda leg: self.channels[leg.place][False, leg.channel or 0].sink,
            lock=partial(self._bd_lock, tile),
            target=partial(self._target, tile),
            arbiter=self._arbiter,
            ddr=self.ddr.__getitem__,
            token=self.controller.token,
        )
        self.channels[place] = {
            (sends, index): Channel(tile, sends, index, around, self.context)
            for sends in (False, True)
            for index in range(count_of(kind, "queue"))
        }
        tile.on_write |= {
            "queue": lambda part, _: self._channel_at(tile, part.sends, part.number).push(_word(tile, part)),
            "control": lambda part, _: self._channel_at(tile, part.sends, part.number).control(_word(tile, part)),
            "bd": partial(self._bd_written, tile),
            "switch": lambda *_: self.network.changed(),
        }
        if kind is TileKind.CORE:
            tile.on_write["core"] = lambda *_: self._core(place).control(tile)
            tile.on_program = lambda offset, data: self._core(place).load_program(offset, data)

    def _core(self, place: tuple[int, int]) -> TileCore:
        """The core of a tile, made when something is first put into its memory or it is switched on."""
        if place not in self.cores:
            tiles = {}
            for side, name in enumerate(_SIDE_NAMES):
                tile = self._beside(place, side)
                if tile is not None:
                    tiles[_FIRST_WINDOW + side] = (name, tile.memory)
            lock_of = partial(self._core_lock, place)
            self.cores[place] = TileCore(
                place,
                self.context,
                SharedView(tiles),
                lock_of,
                self.tiles[place].used_memory,
                self._strict,
                self._core_cycles,
                self._effort,
            )
        return self.cores[place]

    def _beside(self, place: tuple[int, int], side: int) -> Tile | None:
        """The core tile whose locks and memory the core at `place` sees on this side."""
        column, row = (a + b for a, b in zip(place, _SIDES[side], strict=True))
        return self.tiles.get((column, row)) if row >= FIRST_CORE_ROW else None

    def _begin(self) -> None:
        context = self.context
        context.begin, context.end = context.now, None
        context.spans.clear()
        for core in self.cores.values():
            core.activity = type(core.activity)()
        for channels in self.channels.values():
            for channel in channels.values():
                channel.activity = type(channel.activity)()
        for way in self.ddr.values():
            way.moved = 0
        for tile in self.tiles.values():
            for lock in tile.locks:
                lock.changes = [(context.begin, lock.value)]

    def _registers_of(self, column: int, row: int) -> Mapping[int, int] | None:
        tile = self.tiles.get((column, row))
        return None if tile is None else tile.registers

    def _at(self, address: int) -> Tile:
        if address > U32_MAX:
            raise ArrayError(f"the configuration writes to {address:#x}, outside of the array")
        place = split_address(address)
        return self._tile_at(place.column, place.row)

    def _tile_at(self, column: int, row: int) -> Tile:
        tile = self.tiles.get((column, row))
        if tile is None:
            columns = 1 + max(place[0] for place in self.tiles)
            raise ArrayError(f"there is no tile ({column},{row}); the array has {columns} columns and {ROWS} rows")
        return tile

    def _channel_at(self, tile: Tile, sends: bool, index: int) -> Channel:
        channel = self.channels[tile.place].get((sends, index))
        if channel is None:
            raise ArrayError(f"{tile.name} has no DMA channel {'MM2S' if sends else 'S2MM'} {index}")
        return channel

    def _core_lock(self, place: tuple[int, int], number: int) -> Lock:
        side, inside = divmod(number, CORE_LOCKS)
        tile = self._beside(place, side)
        if tile is None:
            owner = _SIDE_NAMES[side].removeprefix("memory to ")
            cause = f"that is lock {inside} of {owner}, where no core tile is"
            raise ArrayError(f"core ({place[0]},{place[1]}) uses lock {number}: {cause}")
        return tile.locks[inside]

    def _bd_lock(self, tile: Tile, number: int) -> Lock:
        if tile.kind is TileKind.MEM:
            tile, number = self._mem_window(tile, number // _MEM_LOCKS), number % _MEM_LOCKS
        return tile.locks[number]

    def _mem_window(self, tile: Tile, window: int) -> Tile:
        """The mem tile that a window of a mem tile's DMA shows: 0 west, 1 its own, 2 east."""
        column, row = tile.place
        return self._tile_at(column + window - 1, row)

    def _target(self, tile: Tile, address: int, offsets: Offsets, who: str) -> Target:
        last = int(offsets.max(initial=0))
        argument = None
        if tile.kind is TileKind.SHIM:
            buffer = self.host.at(address)
            if buffer is None:
                self._refuse(ArrayKind.HOST_OUTSIDE, who, f"address {address:#x} is in no host buffer")
            memory, first, name = buffer.memory, (address - buffer.address) // WORD, f"host buffer {buffer.argument}"
            kind, argument = ArrayKind.HOST_OUTSIDE, buffer.argument
        else:
            window = address
            if tile.kind is TileKind.MEM:
                tile, window = self._mem_window(tile, address // MEM_TILE_BYTES), address % MEM_TILE_BYTES
            memory, first, name, kind = tile.memory, window // WORD, f"the memory of {tile.name}", ArrayKind.DMA_OUTSIDE
        if len(offsets) and first + last >= len(memory):
            self._refuse(kind, who, f"it moves words {first} to {first + last} of {name}, which has {len(memory)}")
        return Target(memory, first, name, argument)

    def _refuse(self, kind: ArrayKind, who: str, cause: str) -> NoReturn:
        """Report what cannot be done however severe it is taken to be."""
        self.context.report(kind, who, cause)
        raise ArrayError(f"{kind.value} at {who}: {cause}")

    def _bd_written(self, tile: Tile, part: Part, before: int) -> None:
        del before
        for channel in self.channels[tile.place].values():
            if not channel.idle and part.number in channel.uses():
                cause = f"BD {part.number} is written while the channel's tasks use it"
                self.context.report(ArrayKind.BD_REWRITTEN, channel.name, cause)

    def _arbiter(self, key: tuple[tuple[int, int], int]) -> Lock:
        if key not in self._arbiters:
            name = f"arbiter {key[1]} of the switch of tile ({key[0][0]},{key[0][1]})"
            self._arbiters[key] = Lock(name, self.context.scheduler, _no_complaint, value=1)
        return self._arbiters[key]

    def _token_leaves(self, tile: Tile, packet: int) -> bool:
        """Whether a token of this packet id gets from a shim tile's control port to the controller."""
        legs: Sequence[Leg] = self.network.from_port(tile.place, "Tile_Ctrl", packet).legs
        return any(leg.end == CONTROLLER_PORT for leg in legs)


def _word(tile: Tile, part: Part) -> int:
    """What now stands in the register of a DMA channel's queue or control."""
    side = "MM2S" if part.sends else "S2MM"
    last = "Ctrl" if part.kind == "control" else ("Task_Queue" if tile.kind is TileKind.SHIM else "Start_Queue")
    return tile.registers[tile_table(tile.kind).by_name[f"DMA_{side}_{part.number}_{last}"].offset]


def _effort(engine: str) -> Effort | None:
    """How much cores interpret before they run natively; None for ever. InputError for an unknown engine."""
    if chosen_engine(engine) == "interpreter":
        return None
    from xattn.sim.segments import Effort

    return Effort() if engine == "auto" else Effort(0)


def _no_complaint(cause: str) -> None:
    raise InputError(cause)
