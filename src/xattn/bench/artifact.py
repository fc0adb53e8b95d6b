"""Timing one thing by name: a kernel of the ladder, or the attention function of a built ELF file."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xattn.bench.activations import Activations, cut_tile
from xattn.bench.array_artifact import array_times
from xattn.bench.ladder import DEFAULT_CLOCK_HZ, measure_ladder
from xattn.devices import KernelFaultError
from xattn.errors import FileFormatError, InputError
from xattn.isa.elf import ElfImage, is_elf, load_elf
from xattn.isa.timing import DATA_MEMORY_BASE, DATA_MEMORY_BYTES
from xattn.kernels.registry import kernels
from xattn.numerics.compat import DEFAULT_SHIFT, pack_qkv
from xattn.sim.core import Core, Pointer
from xattn.sim.findings import SimulationError

TOKENS = WIDTH = 64
FUNCTION = "attention_64x64"
_STACK_SYMBOL = "_sp_start_value_DM_stack"
_INPUT, _OUTPUT = re.compile(r"(of_)?qkv(\w*_buff_0)?", re.IGNORECASE), re.compile(r"(of_)?out(\w*_buff_0)?")
_PLACES = {"in": 0x74000, "out": 0x78000}  # in banks of their own, where the file names no buffers
_WHOLE_ARRAY = "the whole array, data movement included"
_NOT_CHECKED = "random bytes as input, so the output is not checked"
_ENDINGS = (".elf", ".o", ".out")

# What the published scripts call the kernels of the ladder.
PUBLISHED_NAMES = {"64x64": "baseline"}


@dataclass(frozen=True)
class Timed:
    """Simulated cycles of one tile."""

    name: str
    cycles: int
    clock_hz: float
    runs: int
    """How many runs there were; the last two took equal cycles where there was more than one."""
    notes: tuple[str, ...] = ()
    without: str = "DMA and launch"
    """What the cycles leave out."""

    @property
    def seconds(self) -> float:
        """The cycles at the clock."""
        return self.cycles / self.clock_hz


def time_one(what: str, activations: Activations, iterations: int = 20, clock_hz: float = DEFAULT_CLOCK_HZ) -> Timed:
    """Cycles of a kernel's name or of a built file, on one 64×64 tile of the activations, on the simulated core.

    A file must be an ELF executable with a function `attention_64x64(qkv, out, shift)` as in the published kernels, or
    an xclbin or PDI with its instruction stream beside it, which runs on the simulated array: of a build, with its
    manifest beside it, the cycles are those of a run over its blocks, and each block is checked.
    The simulated core is deterministic: as soon as two runs in a row take the same cycles, they stand for the rest of
    the `iterations`. InputError for an unknown name, FileFormatError for a file that cannot be run, KernelFaultError
    when it fails or, for a kernel of the ladder, is not exact.
    """
    if iterations < 1:
        raise InputError(f"{iterations} iterations; expected at least 1")
    path = Path(what)
    if path.suffix in (".xclbin", ".pdi"):
        return _time_array(path, activations, iterations, clock_hz)
    if path.suffix in _ENDINGS or path.is_file():
        return _time_file(path, activations, iterations, clock_hz)
    return _time_kernel(ladder_name(what), activations, iterations, clock_hz)


def ladder_name(name: str) -> str:
    """The ladder's name for a kernel, also for "attention_vectorized" and the like. InputError lists the names."""
    plain = name.removeprefix("attention_int8_").removeprefix("attention_").removeprefix("64x64_")
    plain = PUBLISHED_NAMES.get(plain, plain)
    if plain not in kernels():
        raise InputError(f"no kernel is called {name!r}; there are {', '.join(kernels())}")
    return plain


def _time_array(path: Path, activations: Activations, iterations: int, clock_hz: float) -> Timed:
    times = array_times(path, activations, iterations)
    last, blocks = times.cycles[-1], times.blocks
    notes = [_WHOLE_ARRAY]
    if blocks is None:
        notes.append(_NOT_CHECKED)
    else:
        notes.append(f"{blocks:,} block{'' if blocks == 1 else 's'} in {last:,} cycles a run, every one exact")
    cycles = round(last / (blocks or 1))
    return Timed(str(path), cycles, clock_hz, len(times.cycles), ("; ".join(notes),), without="launch")


def _time_kernel(name: str, activations: Activations, iterations: int, clock_hz: float) -> Timed:
    runs = min(iterations, 2)  # on one and the same tile
    record = measure_ladder(activations, [name], clock_hz=clock_hz, runs=runs, compared=False).kernels[0]
    if not record.passed or record.cycles is None:
        raise KernelFaultError(f"{name}: {'; '.join(record.faults)}")
    return Timed(name, record.cycles, clock_hz, record.runs, tuple(record.warnings))


def _time_file(path: Path, activations: Activations, iterations: int, clock_hz: float) -> Timed:
    if not path.is_file():
        raise FileFormatError(f"{path}: no such file")
    if not is_elf(path.read_bytes()[:64]):
        raise FileFormatError(f"{path}: not an ELF file")
    image = load_elf(str(path))
    if image.is_object:
        raise InputError(f"{path}: a relocatable object; make an executable of it first (xattn link)")
    run = _runner(image, activations)
    cycles: list[int] = []
    try:
        while len(cycles) < iterations and (len(cycles) < 2 or cycles[-1] != cycles[-2]):
            cycles.append(run.call())
    except SimulationError as error:
        raise KernelFaultError(f"{path}: {error}") from error
    notes = tuple(str(finding) for finding in run.core.findings[:3])
    return Timed(str(path), round(float(np.mean(cycles))), clock_hz, len(cycles), notes)


@dataclass(frozen=True)
class Runner:
    """A program that stands ready; a call gives the cycles of one run."""

    core: Core
    call: Callable[[], int]


def _runner(image: ElfImage, activations: Activations) -> Runner:
    """The program in a core of its own, its inputs written anew before each call."""
    symbols = image.addresses()
    stack = symbols.get(_STACK_SYMBOL, DATA_MEMORY_BASE)
    function = image.symbol(FUNCTION).value
    source, target = _buffer(image, _INPUT, "in"), _buffer(image, _OUTPUT, "out")
    end = min(address for address in (*_taken(image, stack), source, target) if address > stack)
    core = Core(stack=(stack, end))
    for address, code in image.code():
        core.load(code, address)
    for address, data in image.data():
        core.write_memory(address, data)
    tile = cut_tile(activations, 0, TOKENS, WIDTH)
    packed = pack_qkv(tile.q, tile.k, tile.v).tobytes()

    def call() -> int:
        core.write_memory(source, packed)
        return core.call(function, [Pointer(source), Pointer(target), DEFAULT_SHIFT], sp=stack).cycles

    return Runner(core, call)


def _buffer(image: ElfImage, pattern: re.Pattern[str], what: str) -> int:
    named = [s.value for s in image.symbols if s.kind in ("object", "notype") and pattern.fullmatch(s.name)]
    return min(named, default=_PLACES[what])


def _taken(image: ElfImage, stack: int) -> list[int]:
    """Addresses of data memory where something is, and its end."""
    end = DATA_MEMORY_BASE + DATA_MEMORY_BYTES
    known = [symbol.value for symbol in image.symbols if symbol.kind in ("object", "notype")]
    return [end, *(address for address in known if stack < address < end), *(address for address, _ in image.data())]
