"""A function of an AIE2 program that a test calls: arguments into memory, results out, cycles and findings beside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from xattn.errors import InputError, XattnError
from xattn.isa.disassembly import bundle_text
from xattn.isa.elf import STACK_SYMBOL, ElfImage, load_elf
from xattn.isa.linker import link
from xattn.isa.timing import DATA_MEMORY_BASE, DATA_MEMORY_BYTES
from xattn.sim.core import Core, Counts, Pointer, grant
from xattn.sim.findings import SimulationError

ARGUMENT_ALIGNMENT = 64  # enough for every access of a core
SHOWN = 5  # bundles in the message about too many cycles
END = DATA_MEMORY_BASE + DATA_MEMORY_BYTES


class KernelError(XattnError):
    """The kernel could not go on, such as at an access outside of memory."""


@dataclass(frozen=True)
class Empty:
    """An argument that the kernel only writes: memory of this shape and type that nobody has written."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


def empty(shape: int | Sequence[int], dtype: DTypeLike) -> Empty:
    """Memory for a result. A kernel that reads it, or leaves some of it unwritten, gets a finding."""
    return Empty((shape,) if isinstance(shape, int) else tuple(shape), np.dtype(dtype))


Argument = NDArray[Any] | Empty | int


@dataclass(frozen=True)
class KernelRun:
    """What one call of a kernel did. Cycles are simulated: from the call to the return, on one core."""

    kernel: Kernel
    cycles: int
    stalls: int
    """Cycles of them that were lost at memory banks and locks."""
    value: int
    """What the function returned in r0, as an unsigned number."""
    arrays: tuple[NDArray[Any], ...]
    """What is in memory afterwards where the array arguments were, in their order."""
    findings: tuple[str, ...]
    """What is wrong with the program, one line each."""
    counts: Mapping[int, Counts]
    """How often each bundle was issued and how many cycles were lost at it, by address."""

    def assert_cycles(self, at_most: int) -> None:
        """AssertionError, with the bundles that cost most, where the call took more cycles."""
        if self.cycles > at_most:
            text = "\n".join(["where they went:", *self._costly()])
            raise AssertionError(
                f"{self.kernel.function} took {self.cycles:,} cycles, at most {at_most:,} allowed\n{text}"
            )

    def assert_no_findings(self) -> None:
        """AssertionError that lists what is wrong with the program, where something is."""
        if self.findings:
            text = "\n".join(f"  {finding}" for finding in self.findings)
            raise AssertionError(f"{self.kernel.function}: {len(self.findings)} findings\n{text}")

    def _costly(self) -> list[str]:
        spent = {a: c.executed + c.stalled for a, c in self.counts.items()}
        chosen = sorted(spent, key=lambda address: (-spent[address], address))[:SHOWN]
        return [f"  {spent[a]:>10,} at {self.kernel.place(a)}: {self.kernel.text(a)}" for a in chosen]


class Kernel:
    """A function of AIE2 machine code: an ELF executable, or relocatable objects, which are linked.

    `files`: one path or several. `function`: a symbol. `symbols`: addresses of names that no object defines. Every call
    has a fresh core, whose stack of `stack_bytes` starts where the program says or at the start of data memory, and
    whose arguments lie behind everything else, each at a multiple of 64 bytes. `locks`: "grant" hands over every lock
    at once; by default a lock operation is an error. `engine`: "interpreter" looks for all findings; "translator" is
    far faster and looks for few. InputError for files, symbols and arguments that do not fit.
    """

    def __init__(
        self,
        files: str | Path | Sequence[str | Path],
        function: str,
        *,
        symbols: Mapping[str, int] | None = None,
        stack_bytes: int = 1024,
        locks: str = "hold",
        engine: str = "interpreter",
        max_cycles: int = 100_000_000,
    ):
        paths = [files] if isinstance(files, (str, Path)) else list(files)
        self.image = _program([str(path) for path in paths], symbols or {})
        self.function, self.engine, self.max_cycles = function, engine, max_cycles
        self.address = self.image.symbol(function).value
        self.stack = self.image.addresses().get(STACK_SYMBOL, DATA_MEMORY_BASE)
        self.stack_bytes = stack_bytes
        if locks not in ("grant", "hold"):
            raise InputError(f'locks is {locks!r}: expected "grant" or "hold"')
        self.locks = locks
        self.on_run: Callable[[KernelRun], None] = lambda _: None
        """Called after every run."""

    def __call__(self, *arguments: Argument) -> KernelRun:
        """Call the function by the C convention: arrays are pointers (p0 …), integers go to r0 …, in their order.

        KernelError where the program cannot go on.
        """
        core = self._core()
        places = self._placed(core, arguments)
        passed = [Pointer(places[k]) if k in places else int(a) for k, a in enumerate(arguments)]  # type: ignore[arg-type]
        try:
            result = core.call(self.address, passed, sp=self.stack, max_cycles=self.max_cycles, engine=self.engine)
        except SimulationError as error:
            raise KernelError(f"{self.function}: {error}") from error
        findings = [f"{finding} [{self.place(finding.pc)}]" for finding in result.findings]
        if result.engine == "interpreter":
            findings += _unwritten(core, arguments, places)
        run = KernelRun(
            kernel=self,
            cycles=result.cycles,
            stalls=result.bank_stalls + result.lock_stalls,
            value=result.value,
            arrays=tuple(_read(core, places[k], arguments[k]) for k in places),  # type: ignore[arg-type]
            findings=tuple(findings),
            counts=core.counts,
        )
        self.on_run(run)
        return run

    def place(self, address: int) -> str:
        """An address of program memory as function+offset."""
        before = [s for s in self.image.symbols if s.kind == "func" and s.value <= address]
        if not before:
            return f"{address:#x}"
        nearest = max(before, key=lambda symbol: symbol.value)
        return f"{nearest.name}+{address - nearest.value:#x}"

    def text(self, address: int) -> str:
        """The bundle at an address, as assembly text."""
        core = Core()
        for base, code in self.image.code():
            core.load(code, base)
        return bundle_text(core.bundle(address))

    def _core(self) -> Core:
        stack = (self.stack, self.stack + self.stack_bytes)
        core = Core(stack=stack, lock=grant if self.locks == "grant" else None)
        for base, code in self.image.code():
            core.load(code, base)
        for base, data in self.image.data():
            core.write_memory(base, data)
        return core

    def _placed(self, core: Core, arguments: Sequence[Argument]) -> dict[int, int]:
        """Addresses of the array arguments, by their number; their contents are written."""
        named = (s.value + s.size for s in self.image.symbols if s.kind == "object" and s.value >= DATA_MEMORY_BASE)
        used = [self.stack + self.stack_bytes, *(base + len(data) for base, data in self.image.data()), *named]
        at, places = max(used), {}
        for number, argument in enumerate(arguments):
            if isinstance(argument, (int, np.integer)):
                continue
            if not isinstance(argument, (np.ndarray, Empty)):
                raise InputError(
                    f"argument {number} is {type(argument).__name__}: expected an array, empty() or an int"
                )
            at = -(-at // ARGUMENT_ALIGNMENT) * ARGUMENT_ALIGNMENT
            if at + argument.nbytes > END:
                raise InputError(
                    f"argument {number} would end at {at + argument.nbytes:#x}, data memory ends at {END:#x}"
                )
            places[number] = at
            if isinstance(argument, np.ndarray):
                core.write_memory(at, np.ascontiguousarray(argument).tobytes())
            at += argument.nbytes
        return places


def _program(paths: Sequence[str], symbols: Mapping[str, int]) -> ElfImage:
    if not paths:
        raise InputError("no file was given: expected an ELF executable or objects")
    images = [load_elf(path) for path in paths]
    if len(images) == 1 and not images[0].is_object:
        return images[0]
    return link(images, symbols=symbols)


def _unwritten(core: Core, arguments: Sequence[Argument], places: Mapping[int, int]) -> list[str]:
    found = []
    for number, place in places.items():
        argument = arguments[number]
        if isinstance(argument, Empty):
            missing = sum(not core.memory.is_defined(place + k, 1) for k in range(argument.nbytes))
            if missing:
                found.append(f"warning: unwritten: {missing} of {argument.nbytes} bytes of argument {number}")
    return found


def _read(core: Core, place: int, argument: NDArray[Any] | Empty) -> NDArray[Any]:
    found: NDArray[Any] = np.frombuffer(core.read_memory(place, argument.nbytes), argument.dtype).copy()
    return found.reshape(argument.shape)
