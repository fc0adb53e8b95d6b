"""How fast the simulator itself is: bundles a second of both engines, on the same machine code, in one run.

Two programs: scalar attention, the kernel `baseline` on a tile of 64 tokens; and a pipelined hardware loop that loads
64 bytes and does 256 multiply-accumulates in every bundle. Each engine runs each of them often enough to take a while;
what counts is bundles over processor time, with the copying of state, arguments and results. Both engines must agree on
a run of the same bytes.
"""

from __future__ import annotations

import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Protocol

import msgspec
import numpy as np

from xattn import __version__
from xattn.cache import CACHE_VARIABLE
from xattn.devices import Simulator
from xattn.errors import XattnError
from xattn.isa import assemble_program, decode_program
from xattn.isa.timing import DATA_MEMORY_BASE, DATA_MEMORY_BYTES
from xattn.kernels.registry import compiled, kernel_spec
from xattn.numerics.compat import DEFAULT_SHIFT
from xattn.sim.core import RETURN_ADDRESS, Core, Pointer, chosen_engine

FILL = "; nops; nopx; nopm"
MAC = f"""
    movxm ls, #first
    movxm le, #last
    movxm r8, #776
    .align 16
    outer:
    mova lc, #31
    mov p2, p0
    mov p3, p1
    nop*10
    .align 16
    first:
    vlda wl0, [p2], #32; vldb wl4, [p3], #32; vmac cm0, cm0, x0, x4, r8{FILL}
    vlda wl2, [p2], #32; vldb wh4, [p3], #32; vmac cm1, cm1, x2, x4, r8{FILL}
    vlda wl0, [p2], #32; vldb wl6, [p3], #32; vmac cm2, cm2, x0, x6, r8{FILL}
    vlda wl2, [p2], #32; vldb wh6, [p3], #32; vmac cm3, cm3, x2, x6, r8{FILL}
    vlda wl0, [p2], #32; vldb wl4, [p3], #32; vmac cm4, cm4, x0, x4, r8{FILL}
    vlda wl2, [p2], #32; vldb wh4, [p3], #32; vmac cm5, cm5, x2, x4, r8{FILL}
    vlda wl0, [p2], #32; vldb wl6, [p3], #32; vmac cm6, cm6, x0, x6, r8{FILL}
    last:
    vlda wl2, [p2], #32; vldb wh6, [p3], #32; vmac cm7, cm7, x2, x6, r8{FILL}
    add r0, r0, #-1
    jnz r0, #outer
    nop*5
    ret lr
    nop*5
"""
SCALAR_KERNEL = "baseline"  # also the one whose translation is timed
SECONDS = 0.5  # of processor time that a measurement takes at least


class Speed(msgspec.Struct, kw_only=True):
    """Bundles a second of one engine on one thread."""

    scalar: float
    mac: float


class Translation(msgspec.Struct, kw_only=True):
    """What it takes to have a kernel's native code: seconds of processor time without and with its entry on disk."""

    kernel: str
    bundles: int
    cold_seconds: float
    warm_seconds: float


class SimulatorRecord(msgspec.Struct, kw_only=True):
    """Both engines. What needs the translator is null where llvmlite is not installed."""

    interpreter: Speed
    translator: Speed | None
    translation: Translation | None
    two_threads: float | None
    """How many times as many bundles (of the mac program) two threads do in the same wall time as one."""


class SimulatorBench(msgspec.Struct, kw_only=True):
    """The simulator's own speed, as it is written to JSON."""

    xattn: str
    cpu: str
    simulator: SimulatorRecord


def measure_simulator(
    progress: Callable[[int, int, str], None] | None = None, seconds: float = SECONDS
) -> SimulatorBench:
    """Measure both engines. `progress` is called with (measurements done, in all, what comes next).

    XattnError when they do not agree, or the translator leaves a program to the interpreter.
    """
    steps = ["interpreter, scalar", "interpreter, mac"]
    fast = chosen_engine("auto") == "translator"
    programs: dict[str, Program] = {"scalar": ScalarProgram(), "mac": MacProgram()}
    if fast:
        steps += ["translator, scalar", "translator, mac", "translating a kernel", "two threads"]
    done = iter(range(len(steps)))

    def next_step() -> None:
        number = next(done)
        if progress is not None:
            progress(number, len(steps), steps[number])

    rates: dict[tuple[str, str], float] = {}
    outcomes: dict[str, Outcome] = {}
    for engine in ("interpreter", "translator")[: 1 + fast]:
        for name, program in programs.items():
            next_step()
            rates[engine, name], outcome = bundles_per_second(program, engine, seconds)
            if outcomes.setdefault(name, outcome) != outcome:
                raise XattnError(f"the engines disagree on the program {name} of the benchmark")
    speeds = [Speed(scalar=rates[e, "scalar"], mac=rates[e, "mac"]) for e in ("interpreter", "translator")[: 1 + fast]]
    translation, threads = None, None
    if fast:
        next_step()
        translation = time_translation(SCALAR_KERNEL)
        next_step()
        threads = scaling(MacProgram(), 2, seconds)
    record = SimulatorRecord(
        interpreter=speeds[0],
        translator=speeds[1] if fast else None,
        translation=translation,
        two_threads=threads,
    )
    return SimulatorBench(xattn=__version__, cpu=_cpu(), simulator=record)


def as_json(record: SimulatorBench) -> bytes:
    """The record as indented JSON with a newline at its end."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def lines(record: SimulatorBench) -> Iterator[str]:
    """The record as a person reads it."""
    simulator = record.simulator
    yield f"bundles simulated in a second of processor time, one thread, {record.cpu}"
    yield ""
    yield f"{'engine':<12}  {'scalar':>12}  {'mac':>12}"
    for name, speed in (("interpreter", simulator.interpreter), ("translator", simulator.translator)):
        if speed is not None:
            yield f"{name:<12}  {_millions(speed.scalar):>12}  {_millions(speed.mac):>12}"
    if simulator.translator is None:
        yield "translator: llvmlite is not installed (pip install 'xattn[jit]')"
        return
    yield ""
    yield "scalar: the kernel baseline, attention 64×64; mac: two loads and 256 multiply-accumulates in every bundle"
    if (t := simulator.translation) is not None:
        yield (
            f"translating {t.kernel} ({t.bundles} bundles): {t.cold_seconds:.2f} s; "
            f"loading it again from disk: {1000 * t.warm_seconds:.1f} ms"
        )
    if simulator.two_threads is not None:
        yield f"two threads, a core each: {simulator.two_threads:.2f} times the bundles of one"


def _millions(rate: float) -> str:
    return f"{rate / 1e6:,.2f} M/s" if rate < 10e6 else f"{rate / 1e6:,.0f} M/s"


Outcome = tuple[int, object]
"""Bundles, and what must be equal on both engines."""


class Program(Protocol):
    """Something that both engines can run for as long as one likes."""

    def prepared(self, engine: str) -> Callable[[int], Outcome]:
        """A core with the program. Calling it runs `rounds` rounds: (bundles, what must be equal on both engines)."""


@dataclass(frozen=True)
class ScalarProgram:
    """Scalar attention; a round is a tile."""

    kernel: str = SCALAR_KERNEL
    side: int = 64

    def prepared(self, engine: str) -> Callable[[int], Outcome]:
        """See `Program`."""
        kernel = Simulator(engine=engine).load(kernel_spec(self.kernel), self.side, self.side)
        q, k, v = np.random.default_rng(1).integers(-127, 128, (3, self.side, self.side)).astype(np.int8)

        def run(rounds: int) -> Outcome:
            bundles = 0
            for _ in range(rounds):
                result = kernel.run(q, k, v, DEFAULT_SHIFT)
                _require(engine, result.engine, result.note)
                bundles += (result.cycles or 0) - (result.stalls or 0)
            return bundles, (result.output.tolist(), result.cycles_at)

        return run


@dataclass(frozen=True)
class MacProgram:
    """The hardware loop, over 8 KB of each operand in a round."""

    def prepared(self, engine: str) -> Callable[[int], Outcome]:
        """See `Program`."""
        core = Core(engine=engine)
        core.load(assemble_program(MAC).code)
        data = np.random.default_rng(1).integers(0, 256, DATA_MEMORY_BYTES).astype(np.uint8)
        core.write_memory(DATA_MEMORY_BASE, data.tobytes())
        for k in range(8):
            core.registers[f"cm{k}"], core.registers[f"x{k}"] = bytes(128), bytes(64)
        operands = [Pointer(DATA_MEMORY_BASE), Pointer(DATA_MEMORY_BASE + DATA_MEMORY_BYTES // 2)]

        def run(rounds: int) -> Outcome:
            result = core.call(0, [*operands, rounds], max_cycles=1 << 40)
            _require(engine, result.engine, core.translator.why_not if engine == "translator" else "")
            return result.bundles, (core.registers.buffer("am", False).tobytes(), core.counts)

        return run


def _require(wanted: str, used: str | None, why: str) -> None:
    if used != wanted:
        raise XattnError(f"the translator left a program of the benchmark to the interpreter: {why}")


def bundles_per_second(program: Program, engine: str, seconds: float) -> tuple[float, Outcome]:
    """Bundles a second of processor time over at least `seconds`, and the outcome of the first round."""
    run = program.prepared(engine)
    start = time.process_time()
    first = run(1)
    spent = time.process_time() - start
    if engine == "translator" or spent < seconds:
        # the first round of the translator translates, or loads the translation
        return _rate(run, seconds), first
    return first[0] / spent, first


def _rate(run: Callable[[int], Outcome], seconds: float) -> float:
    rounds = 1
    while True:
        start = time.process_time()
        bundles, _ = run(rounds)
        spent = time.process_time() - start
        if spent >= seconds:
            return bundles / spent
        rounds = max(2 * rounds, min(100 * rounds, round(1.2 * rounds * seconds / max(spent, 1e-4))))


def time_translation(kernel: str) -> Translation:
    """Translate a kernel with an empty cache, then load it from the cache by a core that has not seen it."""
    program = compiled(kernel)
    times = []
    with TemporaryDirectory() as folder, _cache_in(folder):
        for _ in range(4):
            core = Core(engine="translator")
            core.load(program.code)
            core.registers["lr"] = RETURN_ADDRESS
            start = time.process_time()
            core.translator.translation(0, RETURN_ADDRESS)
            times.append(time.process_time() - start)
    bundles = sum(1 for _ in decode_program(program.code))
    return Translation(kernel=kernel, bundles=bundles, cold_seconds=times[0], warm_seconds=min(times[1:]))


def scaling(program: Program, threads: int, seconds: float) -> float:
    """Bundles that several threads do together in some wall time, each on a core of its own, over those of one."""
    return _together(program, threads, seconds) / _together(program, 1, seconds)


def _together(program: Program, threads: int, seconds: float) -> float:
    runs = [program.prepared("translator") for _ in range(threads)]
    for run in runs:
        run(1)
    rounds = 1000
    while True:
        workers = [threading.Thread(target=run, args=(rounds,)) for run in runs]
        start = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        spent = time.perf_counter() - start
        if spent >= seconds:
            return threads * rounds / spent
        rounds *= 4


@contextmanager
def _cache_in(folder: str) -> Iterator[None]:
    before = os.environ.get(CACHE_VARIABLE)
    os.environ[CACHE_VARIABLE] = folder
    try:
        yield
    finally:
        if before is None:
            del os.environ[CACHE_VARIABLE]
        else:
            os.environ[CACHE_VARIABLE] = before


def _cpu() -> str:
    """What the machine calls its processor."""
    if sys.platform == "linux":
        with open("/proc/cpuinfo", encoding="utf-8") as lines_:
            for line in lines_:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
