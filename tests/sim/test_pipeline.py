"""Results land at their latency, late operands are read late, and bypasses are one cycle shorter."""

from __future__ import annotations

import numpy as np
import pytest
from programs import DATA, core_for, run

WORD = (0x11223344).to_bytes(4, "little")


@pytest.mark.parametrize(("distance", "seen"), [(6, 7), (7, 0x11223344)])
def test_a_scalar_load_lands_seven_bundles_later(distance: int, seen: int) -> None:
    text = f"lda r0, [p0, #0]\nnop*{distance - 1}\nmov r1, r0"
    core, _ = run(text, {"p0": DATA, "r0": 7}, {DATA: WORD})
    assert core.registers["r1"] == seen


@pytest.mark.parametrize(("distance", "seen"), [(1, 7), (2, 30)])
def test_a_product_lands_two_bundles_later(distance: int, seen: int) -> None:
    text = "mul r0, r2, r3\n" + "nop\n" * (distance - 1) + "mov r1, r0"
    core, _ = run(text, {"r0": 7, "r2": 5, "r3": 6})
    assert core.registers["r1"] == seen


@pytest.mark.parametrize("delay", range(1, 7))
def test_a_delayed_move_lands_late(delay: int) -> None:
    reads = "\n".join(f"or r{k}, r20, r20" for k in range(8))
    core, _ = run(f"mov.d{delay} r20, r21\n{reads}", {"r20": 1, "r21": 2})
    assert [core.registers[f"r{k}"] for k in range(8)] == [1] * delay + [2] * (8 - delay)


def test_operations_of_a_bundle_read_before_any_writes() -> None:
    core, _ = run("mov r0, r1; or r1, r0, r0; mova r2, #3", {"r0": 10, "r1": 20, "r2": 0})
    assert (core.registers["r0"], core.registers["r1"], core.registers["r2"]) == (20, 10, 3)


def test_a_pointer_that_a_load_steps_is_old_for_the_rest_of_its_bundle() -> None:
    text = "lda r0, [p0], #4; mov p1, p0; st r9, [p0, #8]\nnop*7"
    core, _ = run(text, {"p0": DATA, "r9": 5}, {DATA: WORD})
    assert core.registers["p0"] == DATA + 4 and core.registers["p1"] == DATA
    assert core.read_memory(DATA + 8, 4) == (5).to_bytes(4, "little")


def test_a_load_comes_before_a_store_of_the_same_cycle() -> None:
    core, _ = run("lda r0, [p0, #0]; st r1, [p0, #0]\nnop*7", {"p0": DATA, "r1": 9}, {DATA: WORD})
    assert core.registers["r0"] == 0x11223344
    core, _ = run("st r1, [p0, #0]\nlda r0, [p0, #0]\nnop*7", {"p0": DATA, "r1": 9}, {DATA: WORD})
    assert core.registers["r0"] == 9


def test_also_when_the_load_steps_the_pointer_that_the_store_uses() -> None:
    core, _ = run("lda r0, [p0], #4; st r1, [p0, #0]\nnop*7", {"p0": DATA, "r1": 9}, {DATA: WORD})
    assert core.registers["r0"] == 0x11223344 and core.registers["p0"] == DATA + 4
    assert core.read_memory(DATA, 4) == (9).to_bytes(4, "little")


@pytest.mark.parametrize(("distance", "seen"), [(2, False), (3, True)])
def test_a_converting_store_reaches_memory_two_cycles_after_a_plain_one(distance: int, seen: bool) -> None:
    text = "vst.srs.s16.s32 bml0, s0, [p0, #0]\n" + "nop\n" * (distance - 1) + "vlda wl0, [p0, #0]\nnop*7"
    registers = {"p0": DATA, "s0": 0, "bml0": np.full(16, 5, np.int32)}
    core, _ = run(text, registers, {DATA: bytes(32)})
    assert bool(np.any(core.registers["wl0"])) is seen
    assert core.read_memory(DATA, 4) == b"\5\0\5\0"


@pytest.mark.parametrize(("written", "expected"), [(5, 0xAA), (6, 0xBB)])
def test_a_part_word_store_reads_its_data_in_cycle_seven(written: int, expected: int) -> None:
    # the store issues at 0 and reads at 6; a move issued at k is seen from k + 1 on
    text = "st.s8 r0, [p0, #1]\n" + "nop\n" * (written - 1) + "mov r0, r1\nnop*12"
    core, _ = run(text, {"p0": DATA, "r0": 0xBB, "r1": 0xAA}, {DATA: WORD})
    assert core.read_memory(DATA, 4) == bytes([0x44, expected, 0x22, 0x11])


def test_a_part_word_store_writes_back_the_word_that_it_read() -> None:
    # the machine loses a store between the two; the port check tells of it, here it is asked to be silent
    text = "st.s8 r0, [p0, #1]\nnop*2\nst r1, [p0, #0]\nnop*12"
    registers = {"p0": DATA, "r0": 0xBB, "r1": 0}
    core, _ = run(text, registers, {DATA: WORD}, severity={"port-conflict": "ignore"})
    assert core.read_memory(DATA, 4) == bytes([0x44, 0xBB, 0x22, 0x11])


VECTOR = {"x0": np.arange(64, dtype=np.uint8), "x1": np.full(64, 7, np.uint8), "p0": DATA}


@pytest.mark.parametrize(("distance", "seen"), [(1, 0), (2, 7)])
def test_a_vector_result_lands_two_bundles_later_for_a_store(distance: int, seen: int) -> None:
    text = "vadd.8 x2, x0, x1\n" + "nop\n" * (distance - 1) + "vst wl2, [p0, #0]"
    core, _ = run(text, {**VECTOR, "x2": bytes(64)})
    assert core.read_memory(DATA, 1)[0] == seen


def test_a_vector_result_is_bypassed_to_the_next_vector_operation() -> None:
    core, _ = run("vadd.8 x2, x0, x1\nvadd.8 x3, x2, x1", {**VECTOR, "x2": bytes(64)})
    assert np.array_equal(core.registers["x3"], (np.arange(64) + 14).astype(np.uint8))


def test_a_load_that_lands_with_a_bypassed_result_is_older_than_it() -> None:
    # vlda at 0 lands at 7; vadd at 6 lands at 8, so the read of bundle 7 takes the sum by the bypass
    text = "vlda wl2, [p0, #0]\nnop*5\nvadd.8 x2, x0, x1\nvadd.8 x3, x2, x1\nnop\nvmov x4, x2"
    core, _ = run(text, {**VECTOR, "x2": bytes(64)}, {DATA: bytes([99]) * 32})
    assert core.registers["x3"][1] == 15 and core.registers["x4"][1] == 8


MAC = {"x0": np.ones(64, np.int8), "x1": np.ones(64, np.int8), "r0": 776, "cm0": np.zeros(32, np.int32)}


@pytest.mark.parametrize(("distance", "total"), [(1, 8), (2, 16)])
def test_accumulators_pass_from_one_product_to_the_next_in_two_bundles(distance: int, total: int) -> None:
    text = "vmac cm0, cm0, x0, x1, r0\n" + "nop\n" * (distance - 1) + "vmac cm0, cm0, x0, x1, r0"
    core, _ = run(text, MAC)
    assert np.array_equal(core.registers["cm0"].view(np.int32), np.full(32, total))


@pytest.mark.parametrize(("distance", "value"), [(4, 0), (5, 8)])
def test_a_product_reaches_srs_in_five_bundles(distance: int, value: int) -> None:
    text = f"vmac cm0, cm0, x0, x1, r0\nnop*{distance - 1}\nvsrs.s8.s32 wl2, cm0, s0"
    core, _ = run(text, {**MAC, "s0": 0})
    assert core.registers["wl2"][0] == value


def test_the_accumulator_is_read_two_cycles_after_the_factors() -> None:
    # a move into cm0 issued in the same bundle lands at 2, just when the product reads its accumulator
    core, _ = run("vmov cm0, cm1; vmac cm0, cm0, x0, x1, r0", {**MAC, "cm1": np.full(32, 100, np.int32)})
    assert np.array_equal(core.registers["cm0"].view(np.int32), np.full(32, 108))


def test_a_late_read_keeps_what_was_read_early() -> None:
    text = "vmac cm0, cm0, x0, x1, r0\nvadd.8 x0, x0, x0\nmova r0, #0"
    core, _ = run(text, MAC)
    assert np.array_equal(core.registers["cm0"].view(np.int32), np.full(32, 8))


def test_loads_of_both_ports_and_all_files() -> None:
    data = bytes(range(256))
    text = """
        vlda wl0, [p0, #0]; vldb wh0, [p0, #32]
        vlda amll3, [p0, #64]
        lda q1, [p0, #96]
        lda dj3, [p0, #4]
        lda p5, [p0, #8]
        lda lr, [p0, #12]
        nop*7
        vst.128 wl0, [p0, #128]
    """
    core, _ = run(text, {"p0": DATA}, {DATA: data})
    assert core.registers["x0"].tobytes() == data[:64]
    assert core.registers["amll3"].tobytes() == data[64:96]
    assert core.registers["q1"].tobytes() == data[96:112]
    assert core.registers["dj3"] == 0x60504 and core.registers["p5"] == 0xA0908 and core.registers["lr"] == 0xE0D0C
    assert core.read_memory(DATA + 128, 20) == data[:16] + data[144:148]


def test_two_runs_on_one_core_are_independent_in_time() -> None:
    core, _ = core_for("lda r0, [p0, #0]\nnop*2", {"p0": DATA}, {DATA: WORD})
    first = core.run(0)
    core.registers["r0"] = 0
    second = core.run(0)
    assert first.cycles == second.cycles == 20 and core.registers["r0"] == 0x11223344
