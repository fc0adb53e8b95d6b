"""One AIE2 core: load a program, set registers and memory, call a function, read results, cycles and findings."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING

from xattn.errors import InputError
from xattn.isa.codec import Bundle
from xattn.sim.engine import Engine, LockRequest, Trace
from xattn.sim.findings import LENIENT, STRICT, Finding, Findings, Kind, Severity
from xattn.sim.memory import OWN_MEMORY, Memory, Region
from xattn.sim.program import Program
from xattn.sim.state import Registers

if TYPE_CHECKING:
    from xattn.sim.segments import Effort, Segments
    from xattn.sim.translate.translator import Translator

RETURN_ADDRESS = 0xFFFF0  # behind all program memory: where a called function returns to

# C calling convention of llvm-aie: pointers and integers in registers of their own, counted separately.
POINTER_REGISTERS = tuple(f"p{k}" for k in range(6))
INTEGER_REGISTERS = tuple(f"r{k}" for k in range(8))


class Pointer(int):
    """An argument of `Core.call` that is an address in data memory, and goes to a pointer register."""


@dataclass(frozen=True)
class Counts:
    """How often a bundle was issued, and how many cycles were lost at it."""

    executed: int
    stalled: int


@dataclass(frozen=True)
class Result:
    """What a call took. Cycles are simulated: bundles issued plus stalls."""

    cycles: int
    bundles: int
    bank_stalls: int
    lock_stalls: int
    value: int
    stopped: bool
    engine: str = "interpreter"
    """Which engine did the run: "interpreter", or "translator" (see `LEFT_OUT` for what that one does not check)."""
    findings: list[Finding] = field(default_factory=list)


def grant(acquire: bool, number: int, value: int) -> int:
    """Locks that are always granted at once."""
    del acquire, number, value
    return 0


def _no_locks(acquire: bool, number: int, value: int) -> int:
    verb = "acquires" if acquire else "releases"
    raise InputError(
        f"the program {verb} lock {number} ({value:+d}), and nothing else runs that would hand it over: "
        "run with locks that always grant, or give the core a lock function"
    )


ENGINES = ("auto", "interpreter", "translator")
# What translated code has to get right to give the same numbers; everything else it does not look for.
LEFT_OUT = frozenset(Kind) - {Kind.MISALIGNED, Kind.OUT_OF_REGION, Kind.UNDEFINED_RESULT}
"""Kinds of findings that runs of the translator do not look for."""


class Core:
    """A core with its own 64 KB of data memory (or `memory_regions`, or `memory`) and 16 KB of program memory.

    `strict`: every finding is an error. `severity` sets single kinds. `stack`: (first, behind the last) address of the
    stack. `track_undefined`: follow which registers and bytes hold a value. `lock(acquire, number,
    value)` returns the cycles that a lock operation waits; `grant` always grants; without it a lock operation is an
    error. `trace(cycle, address, bundle)` is called before every bundle.

    `engine`: "interpreter" looks for all findings; "translator" runs native code made from the program (extra `jit`),
    with the same registers, memory, cycles and counts, but does not look for the findings in `LEFT_OUT`, and after it
    all registers and memory count as written; "auto" is the translator where llvmlite is installed. What cannot be
    translated (traced runs, locks that wait, accesses outside of memory …) the interpreter does.

        core = Core()
        core.load(code)
        core.write_memory(0x70000, data)
        result = core.call(0, [Pointer(0x70000), 64], sp=0x7F000)
        core.read_memory(0x71000, 64), result.cycles, result.findings
    """

    def __init__(
        self,
        memory_regions: Sequence[Region] = (OWN_MEMORY,),
        *,
        memory: Memory | None = None,
        strict: bool = False,
        severity: Mapping[Kind | str, Severity | str] | None = None,
        stack: tuple[int, int] | None = None,
        track_undefined: bool = True,
        lock: Callable[[bool, int, int], int] | None = None,
        trace: Trace | None = None,
        engine: str = "interpreter",
    ):
        chosen = {Kind(kind): Severity(level) for kind, level in (severity or {}).items()}
        self._findings = Findings({**(STRICT if strict else LENIENT), **chosen})
        self.registers = Registers()
        self.memory = Memory(memory_regions) if memory is None else memory
        self.program = Program()
        self._engine = Engine(
            self.registers, self.memory, self.program, self._findings, lock or _no_locks, track_undefined
        )
        self._engine.stack = stack
        self._engine.trace = trace
        self._translator: Translator | None = None
        self._segments: Segments | None = None
        self.engine = chosen_engine(engine)

    def load(self, code: bytes, base: int = 0) -> None:
        """Put code into program memory. InputError when it does not fit."""
        self.program.load(code, base)
        self._engine.entries.clear()
        if self._translator is not None:
            self._translator.forget()
        if self._segments is not None:
            self._segments.restart()

    def write_memory(self, address: int, data: bytes) -> None:
        """Put bytes into data memory. InputError outside of the regions."""
        self.memory.write(address, bytes(data))

    def read_memory(self, address: int, size: int) -> bytes:
        """Bytes of data memory; those never written are 0. InputError outside of the regions."""
        return self.memory.read(address, size)

    def call(
        self,
        address: int,
        args: Sequence[int] = (),
        *,
        sp: int | None = None,
        max_cycles: int = 100_000_000,
        engine: str | None = None,
    ) -> Result:
        """Call the function at `address` by the C convention and run until it returns (or DONE).

        `args`: `Pointer`s go to p0 … p5, other integers to r0 … r7. `sp`: where the stack starts (it grows upwards).
        `engine`: another engine for this run.
        SimulationError when a finding is an error, when execution leaves the code, or after `max_cycles`.
        """
        pointers = [int(arg) for arg in args if isinstance(arg, Pointer)]
        integers = [int(arg) for arg in args if not isinstance(arg, Pointer)]
        for values, names, what in ((pointers, POINTER_REGISTERS, "pointer"), (integers, INTEGER_REGISTERS, "integer")):
            if len(values) > len(names):
                raise InputError(
                    f"{len(values)} {what} arguments; the first {len(names)} have registers, put others on the stack"
                )
            for name, value in zip(names, values, strict=False):
                self.registers[name] = value
        if sp is not None:
            self.registers["SP"] = sp
        self.registers["lr"] = RETURN_ADDRESS
        return self.run(address, max_cycles=max_cycles, engine=engine)

    def run(self, address: int = 0, *, max_cycles: int = 100_000_000, engine: str | None = None) -> Result:
        """Run from `address`, with the registers as they are, until DONE or until it returns to `RETURN_ADDRESS`."""
        before = self._spent()
        wanted = self.engine if engine is None else chosen_engine(engine)
        translated = wanted == "translator" and self.translator.run(address, RETURN_ADDRESS, max_cycles)
        if not translated:
            self._engine.run(address, RETURN_ADDRESS, max_cycles)
        return self._result(before, "translator" if translated else "interpreter")

    @property
    def is_traced(self) -> bool:
        """Whether something is called before every bundle."""
        return self._engine.trace is not None

    @property
    def translator(self) -> Translator:
        """What runs programs as native code; its `why_not` says why the last run was left to the interpreter.

        InputError where llvmlite is not installed.
        """
        if self._translator is None:
            from xattn.sim.translate.translator import Translator

            self._translator = Translator(self._engine, (grant,))
        return self._translator

    def steps(self, address: int = 0, *, max_cycles: int = 100_000_000) -> Generator[LockRequest, int, Result]:
        """`run` for a core among others: yields every lock operation and goes on when sent the cycles that it waited.

        Cycles that it waits do not count towards `max_cycles`. By the interpreter, but for what it leaps over (`leap`).
        """
        before = self._spent()
        yield from self._engine.steps(address, RETURN_ADDRESS, max_cycles)
        return self._result(before, "interpreter")

    def leap(self, effort: Effort) -> Segments:
        """From now on let `steps` leap from lock operation to lock operation as native code, once that is worth it.

        InputError where llvmlite is not installed.
        """
        from xattn.sim.segments import Segments

        self._segments = Segments(self._engine, self.translator, effort)
        self._engine.leap = self._segments.leap
        return self._segments

    @property
    def stack(self) -> tuple[int, int] | None:
        """(first, behind the last) address of the stack; None: not watched."""
        return self._engine.stack

    @stack.setter
    def stack(self, bounds: tuple[int, int] | None) -> None:
        self._engine.stack = bounds

    @property
    def cycle(self) -> int:
        """Cycles spent since the core was made, waiting included."""
        return self._engine.cycle

    def _spent(self) -> tuple[int, int, int, int]:
        engine = self._engine
        return engine.cycle, engine.now, engine.bank_stalls, engine.lock_stalls

    def _result(self, before: tuple[int, int, int, int], engine: str) -> Result:
        cycles, bundles, banks, locks = (b - a for a, b in zip(before, self._spent(), strict=True))
        value = self.registers["r0"]
        assert isinstance(value, int)
        return Result(cycles, bundles, banks, locks, value, self._engine.stopped, engine, self.findings)

    @property
    def findings(self) -> list[Finding]:
        """Everything found since the core was made."""
        return self._findings.all()

    @property
    def counts(self) -> dict[int, Counts]:
        """For every bundle that was issued, by address: how often, and cycles lost."""
        counts = {e.address: (e.count, e.stalls) for e in self._engine.entries.values()}
        if self._translator is not None:
            for address, (executed, stalled) in self._translator.counts.items():
                before = counts.get(address, (0, 0))
                counts[address] = (before[0] + executed, before[1] + stalled)
        return {address: Counts(*counts[address]) for address in sorted(counts) if counts[address][0]}

    @property
    def events(self) -> list[tuple[int, int]]:
        """(cycle, number) of every EVENT operation."""
        return list(self._engine.events)

    def bundle(self, address: int) -> Bundle:
        """The bundle at an address of program memory."""
        return self.program.bundle(address)


def chosen_engine(name: str) -> str:
    """ "interpreter" or "translator"; "auto" is the translator where llvmlite is installed. InputError for others."""
    if name not in ENGINES:
        raise InputError(f"no engine is called {name!r}; there are {', '.join(ENGINES)}")
    if name == "auto":
        return "translator" if find_spec("llvmlite") is not None else "interpreter"
    return name
