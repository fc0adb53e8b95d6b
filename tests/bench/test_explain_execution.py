"""What the tracer saw: cycles and stalls by bundle, who met in memory, calls, and the loops that follow from it."""

from __future__ import annotations

import pytest
from explain_cases import DATA, Pointer, function, hardware_loop, traced
from hypothesis import given, settings
from hypothesis import strategies as st

from xattn.bench.explain.execution import BANK, LOCK
from xattn.bench.explain.flow import Loop, find_loops

NESTED = function(
    "main",
    """
    mov r16, lr
    mova r8, #3
    .align 16
    outer:
    mova r9, #4
    .align 16
    inner:
    jl #helper
    nop*5
    add r9, r9, #-1
    jnz r9, #inner
    nop*5
    add r8, r8, #-1
    jnz r8, #outer
    nop*5
    mov lr, r16
    nop*5
    """,
) + function("helper", hardware_loop("add r0, r0, #1\nnop", 5, name="spin"))


def loop_at(loops: list[Loop], header: int) -> Loop:
    return next(loop for loop in loops if loop.header == header)


# --- cycles and stalls ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "call"),
    [
        (NESTED, "main"),
        (function("main", hardware_loop("vlda wl0, [p0, #0]; vldb wl1, [p1, #0]\nnop", 7)), "main"),
        (function("main", "nop"), "main"),
        ("main:\nret lr\nnop*4\nvlda wl0, [p0, #0]; vldb wl1, [p1, #0]", "main"),  # the last bundle stalls
    ],
)
def test_cycles_by_bundle_are_the_cores_own_counts(text: str, call: str) -> None:
    seen = traced(text, call=call, args=(Pointer(DATA), Pointer(DATA + 64)))
    counts = seen.core.counts
    assert seen.run.cycles_at == {a: c.executed + c.stalled for a, c in counts.items()}
    assert dict(seen.run.executed) == {a: c.executed for a, c in counts.items()}
    assert {a: n for a, n in seen.run.stalls.items() if n} == {a: c.stalled for a, c in counts.items() if c.stalled}
    assert sum(seen.run.cycles_at.values()) == seen.run.cycles == seen.result.cycles


@given(st.lists(st.tuples(st.sampled_from(["lda", "ldb", "st"]), st.integers(0, 40)), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_every_stall_is_put_down_to_something(accesses: list[tuple[str, int]]) -> None:
    """Any mix of accesses: the meetings add up to the core's stalls, and only bundles that touch memory meet."""
    forms = {"lda": "vlda wl1, [p{}, #0]", "ldb": "vldb wl2, [p{}, #0]", "st": "vst wl0, [p{}, #0]"}
    pointers = {f"p{k}": DATA + 32 * place for k, (_, place) in enumerate(accesses)}
    lines = [forms[slot].format(k) for k, (slot, _) in enumerate(accesses)]
    merged: list[list[str]] = [[]]
    for line, (slot, _) in zip(lines, accesses, strict=True):
        if any(forms[slot][:4] in other for other in merged[-1]):
            merged.append([])
        merged[-1].append(line)
    seen = traced(function("main", "\n".join("; ".join(bundle) for bundle in merged)), {"x0": bytes(64), **pointers})
    assert sum(lost for (cause, _), lost in seen.run.meetings.items() if cause == BANK) == seen.result.bank_stalls
    for _, places in seen.run.meetings:
        assert len(places) > 1 and {place.slot for place in places} <= {"lda", "ldb", "st"}


def met(text: str, pointers: dict[str, int]) -> set[tuple[int, str]]:
    """Bundle number and slot of all that met, where the program's bundles are all 16 bytes long."""
    seen = traced(text, {"x0": bytes(64), "cm0": bytes(128), "s0": 0, "crSat": 0, "crRnd": 0, "r1": 1, **pointers})
    assert seen.result.bank_stalls == 1
    [((cause, places), lost)] = seen.run.meetings.items()
    assert (cause, lost) == (BANK, 1)
    order = sorted(seen.run.bundles)
    return {(order.index(place.address), place.slot) for place in places}


def test_stores_that_reach_memory_late_meet_what_is_issued_then() -> None:
    """A store that narrows reaches memory two cycles after a plain access, a byte store for the second time six."""
    srs = "vst.srs.s8.s32 cm0, s0, [p0, #0]\nnop\nvlda wl1, [p1, #0]\nnop*8\n"
    assert met(function("main", srs), {"p0": DATA, "p1": DATA + 64}) == {(0, "st"), (2, "lda")}
    byte = "st.s8 r1, [p0, #0]\nnop*5\nvldb wl1, [p1, #0]\nnop*8\n"
    assert met(function("main", byte), {"p0": DATA, "p1": DATA + 64}) == {(0, "lda"), (6, "ldb")}  # issued in lda


def test_a_lock_that_waits_is_a_lock_stall() -> None:
    text = function("main", "nop\nacq #3, r1\nnop*8")
    seen = traced(text, {"r1": -1}, lock=lambda *_: 5)
    [((cause, (place,)), lost)] = seen.run.meetings.items()
    assert (cause, lost, place.slot) == (LOCK, seen.result.lock_stalls, "alu")
    assert any(o.opcode.mnemonic == "acq" for o in seen.run.bundles[place.address].operations)


# --- loops ----------------------------------------------------------------------------------------------------------


def test_a_hardware_loop_and_its_stalls() -> None:
    text = function("main", hardware_loop("vlda wl0, [p0, #0]; vldb wl1, [p1, #0]\nnop\nnop", 10))
    seen = traced(text, args=(Pointer(DATA), Pointer(DATA + 64)))
    [loop] = find_loops(seen.run)
    assert (loop.header, loop.iterations, loop.entries, len(loop.body)) == (seen.labels["body"], 10, 1, 3)
    assert (loop.cycles, loop.stalls, loop.interval) == (40, 10, 4.0)
    assert loop.hardware and loop.innermost and loop.depth == 0


def test_loops_around_loops_and_the_functions_they_call() -> None:
    seen = traced(NESTED, call="main")
    loops = find_loops(seen.run)
    outer, inner, spin = (loop_at(loops, seen.labels[name]) for name in ("outer", "inner", "spin"))
    assert loops == [outer, inner, spin]
    assert (outer.iterations, inner.iterations, spin.iterations) == (3, 12, 60)
    assert (outer.entries, inner.entries, spin.entries) == (1, 3, 12)
    assert (inner.parent, outer.inner, spin.parent, spin.depth, inner.depth) == (outer, [inner], None, 0, 1)
    assert spin.hardware and not outer.hardware and not inner.hardware
    assert (inner.calls, spin.calls) == (12, 0)
    # helper: 3 set-up bundles, 64 between, 5 × 2 in the loop, 6 to return, and the fillers of .align
    helper = [address for address in seen.run.bundles if address >= seen.labels["helper"]]
    in_helper = sum(seen.run.cycles_at[address] for address in helper)
    assert in_helper >= 12 * (3 + 64 + 10 + 6) and spin.cycles == 120
    # around the calls: jl and its 5, add, jnz and its 5, and a filler that returns end at
    assert inner.cycles - in_helper == sum(seen.run.cycles_at[a] for a in inner.body) >= 12 * 13
    assert outer.cycles == inner.cycles + sum(seen.run.cycles_at[a] for a in set(outer.body) - set(inner.body))


def test_a_loop_with_two_ways_through_it() -> None:
    text = function(
        "main",
        """
        mova r8, #10
        .align 16
        again:
        and r2, r8, r1
        jz r2, #join
        nop*5
        add r3, r3, #1
        .align 16
        join:
        add r8, r8, #-1
        jnz r8, #again
        nop*5
        """,
    )
    seen = traced(text, {"r1": 1, "r3": 0})
    [loop] = find_loops(seen.run)
    assert (loop.iterations, loop.entries, seen.core.registers["r3"]) == (10, 1, 5)
    skipped = [a for a in loop.body if seen.run.executed[a] == 5]
    assert skipped and loop.cycles == 10 * (len(loop.body) - len(skipped)) + 5 * len(skipped)


def test_a_jump_backwards_to_what_has_not_run_is_no_loop() -> None:
    text = ".func first\nadd r0, r0, #1\n" + "ret lr\nnop*5\n.align 16\n.func main\nj #first\nnop*5"
    seen = traced(text, call="main")
    assert seen.run.executed[seen.labels["first"]] == 1 and find_loops(seen.run) == []


def test_straight_code_has_no_loops() -> None:
    assert find_loops(traced(function("main", "nop*3\nj #on\nnop*5\n.align 16\non:\nnop")).run) == []
