"""Memory banks: who waits for whom, and for how long."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from programs import DATA, run

from xattn.sim.core import Core
from xattn.sim.memory import OWN_MEMORY, WIDE, Memory, Region, arbitrate, physical_bank

ZEROS = {DATA: bytes(65536)}


def test_banks_of_the_map() -> None:
    # 64 KB are four logical banks of 16 KB, each of two physical ones that alternate every 16 bytes
    assert [physical_bank(DATA + offset) for offset in (0, 15, 16, 31, 32, 0x3FFF, 0x4000, 0x4010, 0xC000, 0xFFFF)] == [
        *(0, 0, 1, 1, 0, 1),
        *(2, 3, 6, 7),
    ]


def test_arbitration_serves_each_bank_once_a_cycle() -> None:
    bank, other = DATA, DATA + 0x4000
    assert arbitrate([bank | WIDE]) == 0
    assert arbitrate([bank | WIDE, bank + 0x400 | WIDE]) == 1
    assert arbitrate([bank | WIDE, bank + 0x100 | WIDE, bank + 0x200 | WIDE]) == 2
    assert arbitrate([bank | WIDE, bank + 0x100 | WIDE, other | WIDE]) == 1
    assert arbitrate([bank | WIDE, bank + 16]) == arbitrate([bank | WIDE, bank]) == 1
    assert arbitrate([bank, bank + 16]) == 0 and arbitrate([bank, bank + 32]) == 1


def cases(facts: Path) -> list[dict[str, Any]]:
    found = json.loads((facts / "timing.json").read_text())["bank_conflict_cases"]
    assert len(found) == 9
    return list(found)


def test_every_recorded_case_of_arbitration(facts: Path) -> None:
    for case in cases(facts):
        accesses = [int(a["addr"], 16) | (WIDE if a["bytes"] == 32 else 0) for a in case["accesses"]]
        assert arbitrate(accesses) == case["extra_cycles"], case["name"]


def test_every_recorded_case_as_a_program(facts: Path) -> None:
    for case in cases(facts):
        slots = {"load": ["lda", "ldb"], "store": ["st"]}
        operations, registers = [], {"r9": 0, "x0": bytes(64)}
        for k, access in enumerate(case["accesses"]):
            slot = slots[access["kind"]].pop(0)
            registers[f"p{k}"] = int(access["addr"], 16)
            wide = {"lda": f"vlda wl{k + 1}", "ldb": f"vldb wl{k + 1}", "st": "vst wl0"}
            narrow = {"lda": "lda r9", "st": "st r9"}
            operations.append(f"{(wide if access['bytes'] == 32 else narrow)[slot]}, [p{k}, #0]")
        _, result = run("; ".join(operations), registers, ZEROS, strict=True)
        assert result.bank_stalls == case["extra_cycles"], case["name"]
        assert result.cycles == result.bundles + case["extra_cycles"]


LOOP = """
    movxm ls, #first
    movxm le, #last
    mova lc, #100
    nop*64
    .align 16
    first:
    {body}
    nop*{filler}
    .align 16
    last:
    nopb; nopa; nops; nopx; nopm; nopv
"""


@pytest.mark.parametrize(("second", "per_iteration"), [(DATA + 0x400, 12.0), (DATA + 0x4000, 11.0), (None, 11.0)])
def test_cycles_of_a_loop_with_paired_loads_as_measured_on_silicon(second: int | None, per_iteration: float) -> None:
    body = "vlda wl0, [p0, #0]" + ("; vldb wl1, [p1, #0]" if second else "")
    registers = {"p0": DATA, "p1": second or 0}
    counts = []
    for filler in (8, 9):  # the assembler fills up to the next 16 bytes: take what makes 11 bundles
        _, result = run(LOOP.format(body=body, filler=filler), registers, ZEROS)
        counts.append((result.bundles, result.cycles))
    _, once = run(LOOP.format(body=body, filler=8).replace("#100", "#1"), registers, ZEROS)
    bundles, cycles = counts[0]
    loop_bundles = (bundles - once.bundles) / 99
    assert (cycles - once.cycles) / 99 - loop_bundles == per_iteration - 11.0


def test_a_late_store_meets_the_loads_issued_two_bundles_later() -> None:
    registers = {"p0": DATA, "p1": DATA + 64, "s0": 0, "bml0": bytes(64)}
    stalls = []
    for distance in range(1, 5):
        nops = "nop\n" * (distance - 1)
        _, result = run(f"vst.srs.s16.s32 bml0, s0, [p0, #0]\n{nops}vlda wl0, [p1, #0]", registers, ZEROS)
        stalls.append(result.bank_stalls)
    assert stalls == [0, 1, 0, 0]


def test_a_part_word_store_takes_its_bank_twice() -> None:
    registers = {"p0": DATA, "p1": DATA + 32, "r0": 1}
    stalls = []
    for distance in range(1, 9):
        text = "st.s8 r0, [p0, #1]\n" + "nop\n" * (distance - 1) + "vldb wl0, [p1, #0]"
        _, result = run(text, registers, ZEROS, severity={"port-conflict": "ignore"})
        stalls.append(result.bank_stalls)
    assert stalls == [0, 0, 0, 0, 0, 1, 0, 0]


def test_stalls_are_counted_at_the_bundle_that_waits() -> None:
    core, result = run("nop\nvlda wl0, [p0, #0]; vldb wl1, [p0, #32]", {"p0": DATA}, ZEROS)
    assert result.bank_stalls == 1 and core.counts[2].stalled == 1


def test_neighbours_have_banks_of_their_own() -> None:
    west = Region("west", 0x50000, 65536)
    core = Core(memory_regions=(OWN_MEMORY, west))
    core.write_memory(west.base, bytes(64))
    assert core.read_memory(west.base, 64) == bytes(64)
    assert arbitrate([0x50000 | WIDE, 0x70000 | WIDE]) == 0


def test_memory_from_outside() -> None:
    memory = Memory((Region("a", 0x7FF00, 0x100), Region("b", 0x80000, 0x20)))
    memory.write(0x7FFF0, bytes(range(32)))
    assert memory.read(0x7FFF0, 32) == bytes(range(32))
    assert memory.is_defined(0x7FFF0, 32) and not memory.is_defined(0x7FFEF, 2)
    with pytest.raises(Exception, match=r"not in data memory; it has a 0x7ff00..0x7ffff, b 0x80000..0x8001f"):
        memory.read(0x80010, 32)
