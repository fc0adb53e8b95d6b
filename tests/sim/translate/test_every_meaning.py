"""Every opcode that has a meaning, vectors too, with random operands, modes and contents: both engines do the same."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
from engines import Shadow
from programs import DATA
from sequential import STORAGE, TABLE
from test_every_opcode import MEMORY_BYTES, POINTER, REST, an_instruction

pytest.importorskip("llvmlite", reason="NOT CHECKED: the translator needs llvmlite (pip install 'xattn[jit]')")

from xattn.isa.codec import Bundle
from xattn.isa.semantics.meaning import implemented
from xattn.isa.semantics.vector_configuration import PRODUCTS
from xattn.isa.semantics.vector_srs import ROUNDING_MODES
from xattn.sim.core import Core, grant
from xattn.sim.findings import SimulationError

NAMES = sorted(implemented())
EVERY = frozenset(TABLE.registers)
SHADOW = Shadow()


def configuration(pick: random.Random) -> int:
    """A configuration word of a product that is established, with signs at random."""
    amode, bmode, variant = pick.choice(sorted(PRODUCTS))
    return amode << 1 | bmode << 3 | variant << 5 | pick.getrandbits(1) | pick.getrandbits(6) << 8


def a_core(pick: random.Random) -> Core:
    """A core with random contents, whose registers hold pointers, modes and counts that are of use."""
    core = Core(severity=dict.fromkeys(("undefined-register", "undefined-memory", "stack"), "ignore"), lock=grant)
    for name in STORAGE:
        core.registers[name] = pick.getrandbits(TABLE.register(name).bits)
    for k in range(32):
        core.registers[f"r{k}"] = pick.choice(
            [configuration(pick), pick.randint(0, 47), pick.getrandbits(32), -pick.randint(0, 40) & 0xFFFFFFFF]
        )
    for k in range(8):
        core.registers[f"p{k}"] = POINTER + 64 * pick.randint(-8, 8)
        for file in ("m", "dj"):
            core.registers[f"{file}{k}"] = 64 * pick.randint(-8, 8)
        core.registers[f"dn{k}"] = pick.randint(0, 3)
        core.registers[f"dc{k}"] = pick.choice([core.registers[f"dn{k}"], pick.randint(0, 3)])
    core.registers["crSat"], core.registers["crRnd"] = pick.choice([0, 1, 3]), pick.choice(ROUNDING_MODES)
    core.registers["SP"], core.registers["LC"], core.registers["lr"] = POINTER, 0, 0x40
    core.write_memory(DATA, pick.randbytes(MEMORY_BYTES))
    return core


def check(name: str, times: int) -> None:
    opcode, pick = TABLE.opcode(name), random.Random(name)
    for _ in range(times):
        core = a_core(pick)
        core.load(Bundle.of([an_instruction(opcode, pick, EVERY)]).encode() + REST)
        with suppress(SimulationError):  # raised by both: an unknown mode, a jump out of the code …
            SHADOW(core, 0, max_cycles=1000)


@pytest.mark.parametrize("name", NAMES[::16])
def test_some_meanings(name: str) -> None:
    check(name, 2)


@pytest.mark.slow
def test_every_meaning() -> None:
    before = SHADOW.translated, SHADOW.left
    for name in NAMES:
        check(name, 4)
    translated, left = SHADOW.translated - before[0], SHADOW.left - before[1]
    print(f"{len(NAMES)} opcodes: {translated} runs translated, {left} left to the interpreter")
    assert len(NAMES) > 500 and translated > 8 * left
