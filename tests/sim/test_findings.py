"""Every kind of finding is found where it should be, and not where it should not."""

from __future__ import annotations

import pytest
from programs import DATA, core_for, kinds, run

from xattn.errors import XattnError
from xattn.isa import assemble_program
from xattn.sim.core import Core
from xattn.sim.findings import Kind, SimulationError

WORD = {DATA: bytes(64)}
WARN = dict.fromkeys(Kind, "warning")


def found(text: str, registers=None, memory=None, **options) -> set[str]:
    options.setdefault("severity", WARN)
    return kinds(run(text, registers, memory, **options)[1])


READ_EARLY = "lda r0, [p0, #0]\nnop*{nops}\nmov r1, r0\nnop*8"


def test_read_in_flight() -> None:
    registers = {"p0": DATA, "r0": 1}
    assert found(READ_EARLY.format(nops=5), registers, WORD) == {"read-in-flight"}
    assert found(READ_EARLY.format(nops=6), registers, WORD) == set()
    assert found(READ_EARLY.format(nops=5), registers, WORD, severity={}) == set()
    _, result = run(READ_EARLY.format(nops=5), registers, WORD, severity=WARN)
    (finding,) = result.findings
    assert "reads r0 1 bundle before the new r0 of 0x0 lands" in finding.cause
    assert finding.pc == 4 + 2 * 5 and finding.cycle == 7


def test_read_in_flight_knows_bypasses_and_late_reads() -> None:
    registers = {"x0": bytes(64), "x1": bytes(64), "x2": bytes(64), "r0": 776, "cm0": bytes(128), "p0": DATA}
    registers["s0"] = 0
    assert found("vadd.8 x0, x1, x2\nvadd.8 x1, x0, x2\nnop*4", registers) == set()
    assert found("vadd.8 x0, x1, x2\nvst wl0, [p0, #0]\nnop*4", registers) == {"read-in-flight"}
    mac = "vmac cm0, cm0, x0, x1, r0\n"
    assert found(mac + "nop\n" + mac + "nop*6", registers) == set()
    assert found(mac + mac + "nop*6", registers) == {"read-in-flight"}
    assert found(mac + "nop*4\nvsrs.s8.s32 wl4, cm0, s0\nnop*6", registers) == set()
    assert found(mac + "nop*3\nvsrs.s8.s32 wl4, cm0, s0\nnop*6", registers) == {"read-in-flight"}


def test_write_conflict() -> None:
    registers = {"p0": DATA, "r1": 1, "r0": 0}
    text = "lda r0, [p0, #0]\nnop*{nops}\nor r0, r1, r1\nnop*8"
    assert found(text.format(nops=5), registers, WORD) == {"write-conflict"}
    assert found(text.format(nops=4), registers, WORD) == set()
    assert found(text.format(nops=6), registers, WORD) == set()


def test_undefined_register() -> None:
    assert found("add r0, r1, r2", {"r1": 1}) == {"undefined-register"}
    assert found("add r0, r1, r2", {"r1": 1, "r2": 1}) == set()
    _, result = run("add r0, r1, r2\nadd r3, r0, r0", {"r1": 1}, severity=WARN)
    assert [f.cause for f in result.findings] == ["add: reads r2, which nothing has written"]


def test_undefined_register_of_a_late_read() -> None:
    registers = {"x0": bytes(64), "x1": bytes(64), "r0": 776, "p0": DATA}
    mac = "vmac cm0, cm0, x0, x1, r0\nnop*5"
    assert found(mac, registers) == {"undefined-register"}
    assert found("vclr cm0\nnop*5\n" + mac, registers) == set()
    # a load that lands just before the late read is in time, though it is on its way when the product issues
    load = "\n".join(f"vlda {part}0, [p0, #{32 * k}]" for k, part in enumerate(("amll", "amlh", "amhl", "amhh")))
    assert found(f"{load}\nnop*4\n{mac}", registers, {DATA: bytes(128)}, severity={}) == set()


def test_moving_undefined_bits_is_no_finding_but_using_them_is() -> None:
    spill = "mov r1, r20\nst r1, [p0, #0]\nnop*5\nlda r2, [p0, #0]\nnop*6\nmov r3, r2\nnop"
    assert found(spill, {"p0": DATA}) == set()
    assert found(spill + "\nadd r4, r3, r3", {"p0": DATA}) == {"undefined-register"}
    assert found(spill + "\nadd r4, r3, r3", {"p0": DATA, "r20": 5}) == set()


def test_half_a_vector_is_enough() -> None:
    text = "vmul cm0, x0, x1, r0\nnop*5"
    registers = {"x1": bytes(64), "r0": 776}
    assert found(text, {**registers, "wl0": bytes(32)}) == set()
    assert found(text, registers) == {"undefined-register"}


def test_undefined_memory() -> None:
    text = "lda.s8 r0, [p0, #1]\nnop*7"
    assert found(text, {"p0": DATA}) == {"undefined-memory"}
    assert found(text, {"p0": DATA}, WORD) == set()
    assert found(text, {"p0": DATA}, track_undefined=False) == set()
    assert found("vlda.ups.s32.s8 cm0, s0, [p0, #0]\nnop*9", {"p0": DATA, "s0": 0}) == {"undefined-memory"}
    # whole registers are carried on; what uses them is told
    assert found("lda r0, [p0, #0]\nnop*7\nadd r0, r0, #1", {"p0": DATA}) == {"undefined-register"}


def test_undefined_tracking_can_be_switched_off() -> None:
    registers = {"x0": bytes(64), "x1": bytes(64), "r0": 776}
    assert found("vmac cm0, cm0, x0, x1, r0\nnop*5\nadd r5, r6, r7", registers, track_undefined=False) == set()


@pytest.mark.parametrize(
    ("operation", "good", "bad"),
    [
        ("lda r0, [p0, #0]", 4, 2),
        ("lda.s16 r0, [p0, #0]", 2, 1),
        ("st r9, [p0, #0]", 4, 1),
        ("vlda wl0, [p0, #0]", 32, 16),
        ("vldb wl0, [p0, #0]", 32, 8),
        ("vldb.128 wl0, [p0, dj0]", 16, 8),
        ("vst wl1, [p0, #0]", 32, 16),
        ("st.s16 r9, [p0, #0]", 2, 1),
        ("vst.srs.s8.s32 cm0, s0, [p0, #0]", 32, 16),
    ],
)
def test_misaligned(operation: str, good: int, bad: int) -> None:
    registers = {"r9": 1, "wl1": bytes(32), "cm0": bytes(128), "s0": 0, "dj0": 0}
    memory = {DATA: bytes(256)}
    assert found(operation, {**registers, "p0": DATA + good}, memory) == set()
    assert found(operation, {**registers, "p0": DATA + bad}, memory) == {"misaligned"}
    with pytest.raises(SimulationError, match="misaligned at 0x0000"):
        run(operation, {**registers, "p0": DATA + bad}, memory)


@pytest.mark.parametrize(
    "operation", ["lda r0, [p0, #0]", "st r9, [p0, #0]", "st.s8 r9, [p0, #0]", "vldb wl0, [p0, #0]"]
)
def test_out_of_region(operation: str) -> None:
    for address, expected in ((DATA, set()), (0x6FFE0, {"out-of-region"}), (0x80000, {"out-of-region"})):
        assert found(operation, {"p0": address, "r9": 0}, WORD) == expected
    with pytest.raises(SimulationError, match=r"at 0x6ffe0; the memory is data memory 0x70000..0x7ffff"):
        run(operation, {"p0": 0x6FFE0, "r9": 0})


STACK = {"stack": (DATA, DATA + 1024)}


def test_stack() -> None:
    assert found("padda [sp], #1024\npadda [sp], #-1024", {"sp": DATA}, **STACK) == set()
    assert found("padda [sp], #1056", {"sp": DATA}, **STACK) == {"stack"}
    assert found("paddb [sp], #-32", {"sp": DATA}, **STACK) == {"stack"}
    assert found("padda [sp], #1056", {"sp": DATA}) == set()
    _, result = run("padda [sp], #2656", {"sp": DATA}, **STACK)
    assert "becomes 0x70a60; the stack is 0x70000..0x703ff, 1024 bytes" in str(result.findings[0])


LOOP = """
    movxm ls, #first
    movxm le, #last
    mova lc, #{count}
    nop*{distance}
    .align 16
    first:
    nopb; nopa; nops; nopx; nopm; nopv
    .align 16
    last:
    nopb; {last}; nops; nopx; nopm; nopv
"""
STORE = "st.s8 r0, [p0, #0]"
POINTER = {"p0": DATA, "r0": 1}


def test_part_word_at_loop_end() -> None:
    silent = {**WARN, "port-conflict": "ignore"}
    bad = LOOP.format(count=3, distance=64, last=STORE)
    assert found(bad, POINTER, severity=silent) == {"part-word-at-loop-end"}
    assert found(LOOP.format(count=1, distance=64, last=STORE), POINTER, severity=silent) == set()
    assert found(LOOP.format(count=3, distance=64, last="st.s8 r0, [p0, #0]").replace(STORE, "nopa"), POINTER) == set()


@pytest.mark.parametrize(("distance", "expected"), [(40, {"loop-setup"}), (48, set())])
def test_loop_setup(distance: int, expected: set[str]) -> None:
    # mova lc ends at 24; behind 40 nops the loop starts at 112 and ends in the bundle at 128
    text = LOOP.format(count=3, distance=distance, last="nopa")
    program = assemble_program(text)
    setup_end = program.bundles[3].address
    assert (program.symbols["last"] - setup_end >= 112) is (not expected)
    assert found(text) == expected


def test_port_conflict_across_bundles() -> None:
    registers = {"p0": DATA, "r0": 1, "r2": 1}
    # a product lands at 2, an addition of the next bundle at 1 after it: both use the write port of the alu slot
    assert found("mul r1, r0, r2\nadd r3, r0, r2", registers) == {"port-conflict"}
    assert found("mul r1, r0, r2\nnop\nadd r3, r0, r2", registers) == set()
    # a load lands at 7 and holds the port that mova to r uses
    text = "lda r5, [p0, #0]\nnop*{nops}\nmova r6, #1\nnop*2"
    assert found(text.format(nops=5), registers, WORD) == {"port-conflict"}
    assert found(text.format(nops=4), registers, WORD) == set()
    _, result = run("mul r1, r0, r2\nadd r3, r0, r2", registers)
    assert "R_WX_PORT in cycle 1" in result.findings[0].cause


def test_port_conflict_inside_a_bundle() -> None:
    # both store units' users: a part-word store and a plain load share load unit A; st and vmac share a read port
    registers = {"p0": DATA, "r0": 776, "x0": bytes(64), "x1": bytes(64)}
    assert found("st r0, [p0, #0]; vmul cm0, x0, x1, r0\nnop*6", registers) == {"port-conflict"}
    assert found("vst wl0, [p0, #0]; vmul cm0, x0, x1, r0\nnop*6", registers) == set()


def test_part_word_stores_keep_others_away() -> None:
    registers = {"p0": DATA, "r0": 1, "r1": 2}
    text = STORE + "\nnop*{nops}\nst r1, [p0, #4]\nnop*12"
    assert "port-conflict" in found(text.format(nops=5), registers, WORD)
    assert found(text.format(nops=6), registers, WORD) == set()


def test_branch_in_delay_slot() -> None:
    zero = {"r0": 0}
    text = "j #there\nnop*{nops}\njz r0, #there\nnop*6\n.align 16\nthere:\nnop"
    assert found(text.format(nops=4), zero) == {"branch-in-delay-slot"}
    assert found("jz r0, #there\nnop*5\njz r0, #there\nnop*6\n.align 16\nthere:\nnop", {"r0": 1}) == set()


def test_unaligned_target() -> None:
    core, symbols = core_for(
        "movxm p0, #{target}\nj p0\nnop*8\n.align 16\nthere:\nnop\nnop".replace("{target}", "there")
    )
    assert kinds(core.run(0)) == set()
    text = f"movxm p0, #{symbols['there'] + 2}\nj p0\nnop*8\n.align 16\nthere:\nnop\nnop"
    assert found(text) == {"unaligned-target"}


def test_undefined_result() -> None:
    registers = {"x0": bytes(64), "x1": bytes(64)}
    assert found("vshuffle x2, x0, x1, r0\nnop*2", {**registers, "r0": 50}) == {"undefined-result"}
    assert found("vshuffle x2, x0, x1, r0\nnop*2", {**registers, "r0": 35}) == set()


def test_unimplemented_opcodes_and_configurations_are_named() -> None:
    with pytest.raises(SimulationError, match=r"vmul\.f.*not implemented \(in the bundle at 0x0\)"):
        run("vmul.f bml0, x0, x1, r0", {})
    registers = {"x0": bytes(64), "x1": bytes(64), "r0": 3 << 1, "cm0": bytes(128)}
    with pytest.raises(SimulationError, match="configuration word"):
        run("vmac cm0, cm0, x0, x1, r0", registers)


def test_warnings_are_recorded_once_with_a_count() -> None:
    text = LOOP.format(count=5, distance=64, last="nopa").replace(
        "first:\n    nopb; nopa; nops; nopx; nopm; nopv", "first:\n    nopb; nopa; nops; add r1, r20, r20; nopm; nopv"
    )
    _, result = run(text, {}, severity=WARN)
    (finding,) = result.findings
    assert finding.count == 5 and str(finding).endswith("nothing has written (5 times)")
    assert finding.bundle is not None and finding.bundle.operations[0].opcode.name == "ADD"


def test_errors_stop_and_say_where() -> None:
    with pytest.raises(SimulationError) as caught:
        run("nop*3\nadd r0, r1, r2", {"r1": 1}, strict=True)
    finding = caught.value.finding
    assert finding is not None and (finding.kind, finding.pc, finding.cycle) == (Kind.UNDEFINED_REGISTER, 6, 4)
    assert isinstance(caught.value, XattnError)


def test_a_core_can_be_used_again_after_an_error() -> None:
    core, _ = core_for("lda r0, [p0, #0]\nlda r1, [p1, #0]\nnop*7", {"p0": DATA, "p1": 0, "r0": 5}, WORD)
    with pytest.raises(SimulationError):
        core.run(0)
    core.registers["p1"] = DATA
    core.registers["r0"] = 9
    assert core.run(0).cycles == 26 and core.registers["r0"] == 0


def test_unknown_kinds_and_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="no-such-kind"):
        Core(severity={"no-such-kind": "error"})
