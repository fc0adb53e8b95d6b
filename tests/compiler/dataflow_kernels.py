"""Small kernels, each with something in it that a schedule can get wrong, and what they really compute."""

import functools
from collections.abc import Callable

import numpy as np

from xattn.compiler.compile import CompiledKernel, compile_kernel
from xattn.compiler.language import Kernel, VectorType, clamp, int8, int32, product
from xattn.compiler.place import STACK_BYTES
from xattn.isa.timing import DATA_MEMORY_BASE, DATA_MEMORY_BYTES
from xattn.sim.core import Core, Pointer
from xattn.sim.findings import Kind, Severity, SimulationError

LEFT, RIGHT = VectorType(int8, 32), VectorType(int8, 64)


def products(k: Kernel) -> None:
    """Overlapping iterations with bypassed, late and long reads; a control register; stores of their own latency."""
    left, right = k.argument("left", LEFT, (8,)), k.argument("right", RIGHT, (8,))
    out = k.argument("out", LEFT, (8,))
    amount = k.shift_amount(k.scalar("shift"))
    k.set_control("crSat", 1)
    for i in k.loop(8):
        total = k.accumulator()
        total.set(product(left[i], right[i]))
        total += product(left[i], right[3])
        out[i] = k.narrow(total, amount, int8)
    k.set_control("crSat", 0)


def shuffles(k: Kernel) -> None:
    """Vector moves, which pass results to each other a cycle early, but not to stores and not from loads."""
    a, b = k.argument("a", RIGHT, (12,)), k.argument("b", RIGHT, (12,))
    out = k.argument("out", RIGHT, (12,))
    for i in k.loop(12):
        low = k.shuffle("T64_2x8_lo", a[i], b[i])
        high = k.shuffle("T64_2x8_hi", a[i], low)
        out[i] = k.shuffle("T8_8x8", k.shuffle("T128_2x4_lo", low, high))


def part_words(k: Kernel) -> None:
    """Byte stores, which read and write back the word around; a counted loop round a hardware loop."""
    a, b = k.argument("a", int8, (2, 12)), k.argument("b", int8, (2, 12))
    out = k.argument("out", int8, (2, 12))
    shift = k.scalar("shift")
    for i in k.loop(2):
        for j in k.loop(12):
            out[i, j] = clamp(a[i, j] * b[i, j] >> shift, -128, 127)


def neighbours(k: Kernel) -> None:
    """Byte stores into the same words, in straight code."""
    a, out = k.argument("a", int8, (8,)), k.argument("out", int8, (8,))
    for i in range(8):
        out[i] = a[7 - i]


def prefix_sums(k: Kernel) -> None:
    """A value that goes round the loop through memory."""
    a, b = k.argument("a", int32, (17,)), k.argument("b", int32, (16,))
    for i in k.loop(16):
        a[i + 1] = a[i] + b[i]


def in_place(k: Kernel) -> None:
    """Loads of what straight code has just stored, and stores over what it has just loaded."""
    a, out = k.argument("a", int32, (6,)), k.argument("out", int32, (6,))
    for i in range(6):
        a[i] = 7 + i
        out[i] = a[5 - i] * a[i]
        a[5 - i] = i


def lookup(k: Kernel) -> None:
    """Loads from addresses that depend on data, of what the kernel has stored."""
    a, out = k.argument("a", int8, (16,)), k.argument("out", int32, (16,))
    table = k.scratch("table", int32, (16,))
    for i in k.loop(16):
        table[i] = a[i] * 3
    for i in k.loop(16):
        out[i] = table.at(a[i] & 15)


def crowded(k: Kernel) -> None:
    """More values than the caller leaves free: registers are saved on the stack."""
    a, out = k.argument("a", int32, (30,)), k.argument("out", int32, (30,))
    values = [a[i] for i in range(30)]
    for i in range(30):
        out[i] = values[i] + values[29 - i] * values[(7 * i) % 30]


SMALL: dict[str, Callable[[Kernel], None]] = {
    function.__name__: function
    for function in (products, shuffles, part_words, neighbours, prefix_sums, in_place, lookup, crowded)
}


@functools.lru_cache(maxsize=16)
def small(name: str) -> CompiledKernel:
    """One of the kernels above, compiled."""
    return compile_kernel(SMALL[name], name)


Outcome = tuple[bytes, str]


def outcome(compiled: CompiledKernel, seed: int, code: bytes | None = None) -> Outcome | str:
    """What the simulated core makes of random memory, and what the caller relies on; or why it stops.

    All of data memory but the stack, so that a store that goes astray shows.
    """
    random = np.random.default_rng(seed)
    core = Core(severity=dict.fromkeys(Kind, Severity.IGNORE))
    core.load(compiled.code if code is None else code)
    core.write_memory(DATA_MEMORY_BASE, random.integers(0, 256, DATA_MEMORY_BYTES, np.uint8).tobytes())
    for array in compiled.arrays:
        if array.contents is not None:
            core.write_memory(compiled.addresses[array.name], array.contents)
    kept = ["p6", "p7", *(f"r{n}" for n in range(16, 24)), "crSat", "crRnd", "SP"]
    for name in (*(f"p{n}" for n in range(8)), *(f"r{n}" for n in range(32))):
        core.registers[name] = int(random.integers(1 << 20))
    arguments = [Pointer(compiled.addresses[name]) for name in compiled.arguments] + [3] * len(compiled.scalars)
    try:
        core.call(0, arguments, sp=DATA_MEMORY_BASE, max_cycles=200_000)
    except SimulationError as error:
        return str(error)
    memory = core.read_memory(DATA_MEMORY_BASE + STACK_BYTES, DATA_MEMORY_BYTES - STACK_BYTES)
    return memory, str([core.registers[name] for name in kept])
