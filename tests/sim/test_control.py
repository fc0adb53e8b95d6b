"""Branches with their delay slots, calls, hardware loops, locks and the end of a program."""

from __future__ import annotations

import pytest
from programs import DATA, core_for, kinds, run

from xattn.isa import assemble_program
from xattn.sim.core import RETURN_ADDRESS, Core, Pointer, grant
from xattn.sim.findings import SimulationError

SLOTS = "\n".join(f"add r{k}, r{k}, #1" for k in range(1, 6))
ZEROS = {f"r{k}": 0 for k in range(32)}


def test_five_delay_slots_are_executed_and_the_sixth_bundle_is_not() -> None:
    core, _ = run(f"j #there\n{SLOTS}\nadd r6, r6, #1\n.align 16\nthere:\nadd r7, r7, #1", ZEROS)
    assert [core.registers[f"r{k}"] for k in range(1, 8)] == [1, 1, 1, 1, 1, 0, 1]


@pytest.mark.parametrize(
    ("branch", "value", "taken"),
    [
        ("jz r0, #there", 0, True),
        ("jz r0, #there", 5, False),
        ("jnz r0, #there", 0, False),
        ("jnz r0, #there", 5, True),
    ],
)
def test_conditional_branches_cost_six_bundles_either_way(branch: str, value: int, taken: bool) -> None:
    text = f"{branch}\nnop*5\nmova r1, #1\n.align 16\nthere:\nmova r2, #2"
    core, result = run(text, {**ZEROS, "r0": value})
    assert core.registers["r1"] == (0 if taken else 1) and core.registers["r2"] == 2
    program = assemble_program(text)
    skipped = sum(
        1 for b in program.bundles if b.address >= program.bundles[6].address and b.address < program.symbols["there"]
    )
    assert result.cycles == len(program.bundles) + 17 - (skipped if taken else 0)


def test_a_condition_is_read_when_the_branch_issues() -> None:
    core, _ = run("jz r0, #there\nmova r0, #1\nnop*4\nmova r1, #1\n.align 16\nthere:\nnop", ZEROS)
    assert core.registers["r1"] == 0


def test_a_call_writes_the_address_behind_its_delay_slots() -> None:
    text = f"""
        jl #function
        {SLOTS}
        back:
        mova r20, #9
        j #end
        nop*5
        .align 16
        function:
        mov r21, lr
        ret lr
        nop*5
        .align 16
        end:
    """
    core, symbols = core_for(text.replace("back:", ".align 16\nback:"), ZEROS)
    core.run(0)
    assert core.registers["r20"] == 9
    # the filler of .align lies between the delay slots and back, and is returned to
    assert symbols["back"] - 16 < core.registers["r21"] <= symbols["back"]


def test_the_link_register_lands_in_cycle_four() -> None:
    text = "jl #there\nnop*2\nmov r0, lr\nmov r1, lr\nnop\n.align 16\nthere:\nnop"
    core, _ = run(text, {**ZEROS, "lr": 0x123})
    assert core.registers["r0"] == 0x123 and core.registers["r1"] != 0x123


def test_indirect_branches() -> None:
    text = """
        movxm p0, #one
        jl p0
        nop*5
        .align 16
        one:
        mova r1, #1
        movxm p1, #two
        j p1
        nop*5
        mova r2, #1
        .align 16
        two:
        nop
    """
    core, _ = run(text, ZEROS)
    assert core.registers["r1"] == 1 and core.registers["r2"] == 0


def test_jnzd_tests_before_it_decrements() -> None:
    text = "movxm p0, #again\n.align 16\nagain:\njnzd r0, r0, p0\nadd r1, r1, #1\nnop*4"
    core, _ = run(text, {**ZEROS, "r0": 3})
    assert core.registers["r1"] == 4 and core.registers["r0"] == 0xFFFFFFFF


LOOP = """
    movxm ls, #first
    movxm le, #last
    mova lc, #{count}
    nop*{distance}
    .align 16
    first:
    add r0, r0, #1; nopa; nopb; nops; nopm; nopv
    .align 16
    last:
    add r1, r1, #1; nopa; nopb; nops; nopm; nopv
    mov r2, lc
"""


@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_hardware_loop_runs_its_count_without_cost(count: int) -> None:
    core, result = run(LOOP.format(count=count, distance=64), ZEROS, strict=True)
    assert core.registers["r0"] == core.registers["r1"] == count and core.registers["r2"] == 0
    once = run(LOOP.format(count=1, distance=64), ZEROS, strict=True)[1]
    assert result.cycles == once.cycles + 2 * (count - 1)


def test_a_loop_count_of_zero_runs_the_body_once() -> None:
    core, _ = run(LOOP.format(count=0, distance=64), ZEROS)
    assert core.registers["r0"] == 1


def test_nested_loops_with_a_branch_outside() -> None:
    text = f"""
        mova r10, #3
        .align 16
        outer:
        {LOOP.format(count=5, distance=64)}
        add r10, r10, #-1
        jnz r10, #outer
        nop*5
    """
    core, _ = run(text, ZEROS)
    assert core.registers["r0"] == 15


def test_done_stops_at_once() -> None:
    core, result = run("mova r0, #1\ndone\nmova r0, #2", ZEROS)
    assert core.registers["r0"] == 1 and result.stopped and result.cycles == 2


def test_results_on_their_way_still_land_after_the_end() -> None:
    core = Core()
    core.load(assemble_program("lda r0, [p0, #0]\ndone").code)
    core.write_memory(DATA, (77).to_bytes(4, "little"))
    core.registers["p0"] = DATA
    core.run(0)
    assert core.registers["r0"] == 77


def test_call_by_the_c_convention() -> None:
    core = Core()
    core.load(assemble_program("st r1, [p1, #0]\nlda r2, [p0, #0]\nnop*6\nret lr\nadd r0, r0, r2\nnop*4").code)
    core.write_memory(DATA, (40).to_bytes(4, "little"))
    result = core.call(0, [Pointer(DATA), 2, Pointer(DATA + 4), 5], sp=0x72000)
    assert result.value == 42 and result.cycles == 14 and not result.stopped and not result.findings
    assert core.read_memory(DATA + 4, 4) == (5).to_bytes(4, "little")
    assert core.registers["lr"] == RETURN_ADDRESS


def test_locks_need_somebody_who_grants_them() -> None:
    text = "acq #49, r0\nnop*6\nrel #48, r1"
    with pytest.raises(SimulationError, match=r"acquires lock 49 \(-1\).*grant"):
        run(text, {"r0": -1, "r1": 1})
    _, result = run(text, {"r0": -1, "r1": 1}, lock=grant)
    plain = run("nop\nnop*6\nnop", {})[1]
    assert result.lock_stalls == 2 and result.cycles == plain.cycles + 2


def test_a_lock_function_sees_the_transactions_and_can_make_the_core_wait() -> None:
    seen = []

    def lock(acquire: bool, number: int, value: int) -> int:
        seen.append((acquire, number, value))
        return 10

    _, result = run("acq #3, r0\nrel r2, r1\nacq.cond #4, r0, r26", {"r0": -1, "r1": 1, "r2": 5, "r26": 0}, lock=lock)
    assert seen == [(True, 3, -1), (False, 5, 1)] and result.lock_stalls == 22


WITH_LOCKS = """
    mova r1, #1
    mova lc, #5
    movxm ls, #first
    movxm le, #last
    nop*64
    .align 16
    first:
    acq #49, r0
    mul r4, r1, r1
    mul r1, r4, r2
    rel #48, r3; nopa; nopb; nops; nopm; nopv
    .align 16
    last:
    add r5, r5, #1; nopa; nopb; nops; nopm; nopv
"""


def test_a_core_pauses_at_its_locks_and_goes_on_as_if_it_had_not() -> None:
    registers = {**ZEROS, "r0": -1, "r2": 3, "r3": 1}
    waits = [7, 0, 0, 0, 100, 0, 1, 2, 3, 4]
    by_function, given = list(waits), []

    def lock(acquire: bool, number: int, value: int) -> int:
        given.append((acquire, number, value))
        return by_function.pop(0)

    one, whole = run(WITH_LOCKS, registers, lock=lock)
    other, _ = core_for(WITH_LOCKS, registers)
    execution = other.steps()
    requests = [next(execution), *(execution.send(waited) for waited in waits[:-1])]
    with pytest.raises(StopIteration) as end:
        execution.send(waits[-1])
    result = end.value.value
    assert [(r.acquire, r.number, r.value) for r in requests] == given and len(requests) == 10
    assert result == whole and other.counts == one.counts
    assert all(one.registers[f"r{k}"] == other.registers[f"r{k}"] for k in range(8)) and one.registers["r5"] == 5
    assert (
        requests[1].cycle - requests[0].cycle == 3 + 1 + waits[0]
    )  # three bundles on, and each operation costs a cycle besides its waiting


def test_waiting_does_not_count_towards_the_cycles_that_a_run_may_take() -> None:
    core, _ = core_for("acq #49, r0", {"r0": -1})
    execution = core.steps(max_cycles=100)
    next(execution)
    with pytest.raises(StopIteration) as end:
        execution.send(1000)
    assert end.value.value.stopped and end.value.value.cycles > 1000


def test_events_are_recorded_with_their_cycle() -> None:
    core, _ = run("nop*2\nevent #1\nevent #3")
    assert core.events == [(3, 1), (4, 3)]


def test_an_endless_loop_is_stopped() -> None:
    core, _ = core_for("again:\nj #again\nnop*5")
    with pytest.raises(SimulationError, match="still running after 1000 cycles, at 0x"):
        core.run(0, max_cycles=1000)


def test_leaving_the_code_is_an_error() -> None:
    core = Core()
    core.load(assemble_program("nop*3").code)
    with pytest.raises(SimulationError, match="fetch from 0x6, where there is no code"):
        core.run(0)
    with pytest.raises(SimulationError, match="fetch from 0x100, where there is no code"):
        core.run(0x100)


def test_counts_and_trace_tell_where_the_time_went() -> None:
    seen: list[tuple[int, int]] = []
    core, symbols = core_for(LOOP.format(count=4, distance=64), ZEROS, trace=lambda c, a, _: seen.append((c, a)))
    result = core.run(0)
    assert core.counts[symbols["first"]].executed == 4
    assert sum(count.executed for count in core.counts.values()) == result.bundles == len(seen)
    assert [cycle for cycle, _ in seen] == list(range(1, result.cycles + 1))
    assert "loop-setup" not in kinds(result)
