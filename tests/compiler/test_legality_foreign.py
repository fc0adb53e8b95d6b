"""Programs that we did not write: recorded on real hardware, and made by another compiler."""

import gzip
import json
import os
import re
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from legality_programs import ALL_REGISTERS

from xattn.compiler.legality import check_program, state_at_reset
from xattn.isa import assemble, instruction_table


@pytest.fixture(scope="module")
def silicon_points() -> list[dict]:  # type: ignore[type-arg]
    """Straight-line programs that ran on a Phoenix core, each with the registers whose entry value it observes."""
    named = os.environ.get("XATTN_FACTS")
    place = Path(named) if named else Path(__file__).parents[3] / "shared" / "aie2"
    file = place / "silicon_points.jsonl.gz"
    if not file.is_file():
        pytest.skip(f"NOT CHECKED against programs recorded on silicon: no {file} (set XATTN_FACTS)")
    with gzip.open(file, "rt") as lines:
        return [json.loads(line) for line in lines][1:]


def test_programs_recorded_on_silicon(silicon_points: list[dict]) -> None:  # type: ignore[type-arg]
    """They are legal but for early reads, and read before any write just the registers that the record names."""
    registers = instruction_table().registers
    hardware = {"tile_cntr", "CORE_ID"}  # the checker takes them as always defined
    early = 0
    for point in silicon_points:
        code = assemble("\n".join([*point["code"], "nop*14", "done"]))
        observed = ({*point.get("init", {})} | {*point.get("undef", ())}) - hardware
        always = {"p0", "p1", *state_at_reset()}
        found = {violation.rule for violation in check_program(code, defined_at_entry=always | observed)}
        assert found <= {"in-flight-read"}, point["id"]
        early += bool(found)
        missing = check_program(code, defined_at_entry=always - observed, allow_in_flight_reads=True)
        assert {v.rule for v in missing} <= {"undefined-read"}
        told = {name for v in missing for name in re.findall(r"[\w:]+", v.cause.partition(" is ")[0])}
        leaves = {leaf.text for name in observed for leaf in registers[name].storage}
        told = {leaf.text for leaf in registers.values() if leaf.text in told and not leaf.parts}
        told |= {n for v in missing for n in re.findall(r"value of (\w+)", v.cause)}
        assert told == leaves, point["id"]
    assert len(silicon_points) > 3000 and early == 161  # the programs that look at a register too early


def test_programs_of_another_compiler() -> None:
    """Compiled code has no port conflict and loses no value; the reported exceptions are known (see the assertions)."""
    named = os.environ.get("XATTN_FOREIGN")
    if not named:
        pytest.skip("NOT CHECKED against compiled programs: set XATTN_FOREIGN to a directory of AIE2 ELF files")
    checked = 0
    for file in sorted(Path(named).rglob("*.elf")):
        with file.open("rb") as stream:
            elf = ELFFile(stream)
            text = elf.get_section_by_name(".text")
            entry, code, base = elf["e_entry"], text.data() if text else b"", text["sh_addr"] if text else 0
        if code:
            violations = check_program(
                code, base=base, entries=(entry,), defined_at_entry=ALL_REGISTERS, allow_in_flight_reads=True
            )
            # start-up code calls main from an unaligned place and unoptimised code jumps to such; a byte store of a
            # function may reach memory after its caller has issued the release
            assert {v.rule for v in violations} <= {"alignment", "lock-order"}, (file, [str(v) for v in violations])
            checked += 1
    assert checked
