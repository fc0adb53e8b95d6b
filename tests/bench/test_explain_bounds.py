"""Minima of loops: resources counted by hand, recurrences against the simulator and against all cycles of a graph."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from explain_cases import DATA, INT8_4X8X8, Traced, function, hardware_loop, traced
from hypothesis import given, settings
from hypothesis import strategies as st

from xattn.bench.explain.bounds import (
    Dependence,
    busiest,
    busy_slots,
    port_counts,
    recurrence_minimum,
    register_dependences,
    resource_minimum,
    single_path,
    slot_counts,
)
from xattn.bench.explain.flow import find_loops

PASSES = 12


def looped(body: str, registers: dict[str, Any] | None = None, memory: dict[int, bytes] | None = None) -> Traced:
    return traced(function("main", hardware_loop(body, PASSES)), registers, memory=memory)


def recurrence_of(seen: Traced) -> int:
    [loop] = find_loops(seen.run)
    path = single_path(seen.run, loop)
    assert path is not None
    return recurrence_minimum(*register_dependences(seen.run, path), longest=len(path))


# --- resources ------------------------------------------------------------------------------------------------------


def test_operations_are_counted_by_slot_as_often_as_they_ran() -> None:
    seen = looped("add r1, r1, r2; mov r3, r4\nadd r5, r5, r2; lda r6, [p0, #0]\nnop\nmovxm r7, #5", {"p0": DATA})
    [loop] = find_loops(seen.run)
    times = {address: seen.run.executed[address] for address in loop.body}
    assert slot_counts(seen.run.bundles, times) == {"alu": 24, "mv": 12, "lda": 12, "lng": 12}
    # movxm stands in lng, which lies over alu and mv
    assert busy_slots(slot_counts(seen.run.bundles, times)) == {
        "vec": 0,
        "mv": 24,
        "lda": 12,
        "ldb": 0,
        "st": 0,
        "alu": 36,
    }
    assert busiest(seen.run.bundles, times) == ("alu", 36)
    assert resource_minimum(seen.run, loop) == 3


def test_a_port_can_bound_what_no_slot_does() -> None:
    """srs in the mv slot and a vector load in the lda slot write vectors over one port; stalls of it are not hidden."""
    body = "vsrs.s8.s32 wl1, cm0, s0\nvlda wl2, [p0, #0]\nnop\nvsrs.s8.s32 wl3, cm0, s0\nvlda wl4, [p0, #0]\nnop"
    seen = looped(body, {"cm0": bytes(128), "s0": 0, "p0": DATA})
    [loop] = find_loops(seen.run)
    times = {address: seen.run.executed[address] for address in loop.body}
    assert port_counts(seen.run.bundles, times)["W_WA_PORT"] == 4 * PASSES
    assert busiest(seen.run.bundles, times) == ("W_WA_PORT", 4 * PASSES)
    assert resource_minimum(seen.run, loop) == 4


def test_a_port_that_a_slot_fills_alone_is_no_bound_of_its_own() -> None:
    """Every multiply reads its configuration over the port that stores of scalars use: one of them changes nothing."""
    macs = "\n".join(f"vmac cm{k % 8}, cm{k % 8}, x0, x2, r0" for k in range(60))
    registers = {**MAC, **{f"cm{k}": bytes(128) for k in range(8)}, "r1": 0, "p0": DATA}
    seen = looped(f"{macs}\nst r1, [p0, #0]", registers)
    [loop] = find_loops(seen.run)
    times = {address: seen.run.executed[address] for address in loop.body}
    assert port_counts(seen.run.bundles, times)["R_RV_PORT"] == 61 * PASSES
    assert busiest(seen.run.bundles, times) == ("vec", 61 * PASSES)
    assert resource_minimum(seen.run, loop) == 61


def test_an_outer_loop_counts_what_inner_ones_did() -> None:
    inner = hardware_loop("add r1, r1, r2\nnop", 5)
    text = function("main", f"mova r8, #3\n.align 16\nouter:\n{inner}\nadd r8, r8, #-1\njnz r8, #outer\nnop*5")
    outer, _ = find_loops(traced(text).run)
    # alu: five adds, the counter and its branch, and the two upper halves of movxm; rounded up
    assert resource_minimum(traced(text).run, outer) == 5 + 2 + 3


# --- recurrences ----------------------------------------------------------------------------------------------------

MAC = {
    "r0": INT8_4X8X8,
    "cm0": bytes(128),
    "x0": np.arange(64, dtype=np.int8).tobytes(),
    "x2": np.arange(64, dtype=np.int8).tobytes(),
}


@pytest.mark.parametrize(
    ("operation", "result", "registers"),
    [
        ("add r1, r1, r2", "r1", {"r1": 1, "r2": 3}),
        ("mul r1, r1, r2", "r1", {"r1": 1, "r2": 3}),
        ("vmac cm0, cm0, x0, x2, r0", "cm0", MAC),
        ("padda [p0], #32", "p0", {"p0": DATA}),
        ("vshuffle x0, x0, x0, r3", "x0", {"x0": bytes(range(64)), "r3": 35}),
    ],
)
def test_the_recurrence_of_a_chain_is_the_distance_that_it_needs(
    operation: str, result: str, registers: dict[str, Any]
) -> None:
    """Against the simulator: the least distance at which a second operation sees the first one's result."""

    def applied(distance: int) -> Any:
        text = function("main", f"{operation}\n" + "nop\n" * (distance - 1) + f"{operation}\nnop*8")
        return np.asarray(traced(text, registers).core.registers[result]).tolist()

    settled = applied(12)
    needed = next(distance for distance in range(1, 13) if applied(distance) == settled)
    assert recurrence_of(looped(operation + "\nnop" * 11, registers)) == needed


def test_two_chains_halve_the_recurrence_of_a_loop_that_is_unrolled() -> None:
    one = looped("vmac cm0, cm0, x0, x2, r0\nnop\nvmac cm0, cm0, x0, x2, r0\nnop", MAC)
    two = looped("vmac cm0, cm0, x0, x2, r0\nnop\nvmac cm1, cm1, x0, x2, r0\nnop", {**MAC, "cm1": bytes(128)})
    assert recurrence_of(one) == 2 * recurrence_of(two)


def test_a_value_may_go_round_several_times_before_it_is_read() -> None:
    """A load takes seven cycles, so in a loop of four its reader is served by the iteration before the last."""
    seen = looped("lda r1, [p0, #0]\nnop\nmov p0, p0\nadd r2, r1, r3", {"p0": DATA})
    [loop] = find_loops(seen.run)
    nodes, found = register_dependences(seen.run, single_path(seen.run, loop) or ())
    assert nodes == 3
    assert Dependence(0, 2, 7, 1) in found  # issued at 0, landed at 7, read at 3 + 4: one iteration later
    chased = looped(
        "mov p0, r1\nlda r1, [p0, #0]" + "\nnop" * 10, {"p0": DATA, "r1": DATA}, {DATA: DATA.to_bytes(4, "little")}
    )
    assert recurrence_of(chased) == 1 + 7  # move to the pointer, load through it


def test_an_accumulator_that_counts_as_zero_is_no_recurrence() -> None:
    body = "vmac cm0, cm0, x0, x2, r0" + "\nnop" * 7
    assert recurrence_of(looped(body, MAC)) > 1
    assert recurrence_of(looped(body, {**MAC, "r0": INT8_4X8X8 | 1})) == 1


EDGES = st.lists(
    st.builds(Dependence, st.integers(0, 4), st.integers(0, 4), st.integers(-3, 9), st.integers(0, 2)), max_size=12
)


@given(EDGES)
@settings(max_examples=300, deadline=None)
def test_the_recurrence_minimum_is_that_of_the_worst_cycle(edges: list[Dependence]) -> None:
    """Against a walk over all simple cycles of the graph: the largest latency over distance, rounded up."""
    worst = 1
    for length in range(1, 6):
        for nodes in itertools.permutations(range(5), length):
            if nodes[0] != min(nodes):
                continue  # each cycle once
            steps = list(zip(nodes, (*nodes[1:], nodes[0]), strict=True))
            choices = [[e for e in edges if (e.source, e.target) == step] for step in steps]
            for cycle in itertools.product(*choices):
                latency, distance = sum(e.latency for e in cycle), sum(e.distance for e in cycle)
                if distance == 0 and latency > 0:
                    return  # no interval is long enough: no program has such a cycle
                if distance:
                    worst = max(worst, -(-latency // distance))
    assert recurrence_minimum(5, edges, longest=64) == worst


def test_a_loop_with_two_ways_through_it_has_no_one_recurrence() -> None:
    text = """
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
    """
    seen = traced(function("main", text), {"r1": 1, "r3": 0})
    [loop] = find_loops(seen.run)
    assert single_path(seen.run, loop) is None
