"""Live registers: against a replay of the run, cycle by cycle, that knows what was read before it was written again."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from functools import lru_cache
from typing import Any

import pytest
from explain_cases import DATA, INT8_4X8X8, Traced, function, hardware_loop, traced
from hypothesis import given, settings
from hypothesis import strategies as st

from xattn.bench import cut_tile, synthetic_activations
from xattn.bench.explain.execution import Tracer
from xattn.bench.explain.registers import _bits, live_registers, most_live, register_files
from xattn.devices import Simulator
from xattn.isa.codec import Bundle
from xattn.isa.timing import timing_of
from xattn.kernels.registry import kernel_spec

INT16_ELEMENTS = 824  # configuration word: 32 products of 16-bit numbers, every bit of both vectors counts


def replayed(steps: list[int], bundles: dict[int, Bundle]) -> list[set[str]]:
    """For every cycle the names of storage whose value is read in that cycle or later, before it is replaced.

    A value that lands in the next cycle is read over a bypass where both sides have one: it needs no register then.
    """
    landings, forwarded, reads = events(steps, bundles)
    live: list[set[str]] = [set() for _ in steps]
    for name, uses in reads.items():
        arrivals = sorted(landings[name])
        last_use: dict[int, int] = {}  # of the value that landed at
        for time, bypassed in uses:
            if not (bypassed and (name, time + 1) in forwarded):
                earlier = bisect_right(arrivals, time)
                landed = arrivals[earlier - 1] if earlier else 0
                last_use[landed] = max(time, last_use.get(landed, 0))
        for landed, last in last_use.items():
            for cycle in range(landed, min(last, len(steps) - 1) + 1):
                live[cycle].add(name)
    return live


def events(
    steps: list[int], bundles: dict[int, Bundle]
) -> tuple[dict[str, list[int]], set[tuple[str, int]], dict[str, list[tuple[int, bool]]]]:
    """By storage: when something lands; which landings a bypass hands on; when it is read, and if over a bypass."""
    landings: dict[str, list[int]] = defaultdict(list)
    forwarded: set[tuple[str, int]] = set()
    reads: dict[str, list[tuple[int, bool]]] = defaultdict(list)
    for time, address in enumerate(steps):
        for timing in map(timing_of, bundles[address].operations):
            for write in timing.writes:
                for leaf in write.register.storage:
                    landings[leaf.name].append(time + write.cycle)
                    if write.bypass:
                        forwarded.add((leaf.name, time + write.cycle))
            for read in timing.reads:
                for leaf in read.register.storage:
                    reads[leaf.name].append((time + read.cycle - 1, read.bypass is not None))
    return landings, forwarded, reads


def names_in(mask: int) -> set[str]:
    """The names of the storage in a mask."""
    return {register.name for register, bit in _bits().items() if bit & mask}


@lru_cache(maxsize=1)
def all_counted() -> frozenset[str]:
    """The storage that compilers allocate."""
    return frozenset(name for file in register_files() for member in file.members for name in names_in(member))


def counted(names: set[str]) -> set[str]:
    return names & all_counted()


def static_and_replayed(seen: Traced) -> tuple[dict[int, set[str]], dict[int, set[str]]]:
    static = {address: names_in(mask) for address, mask in live_registers(seen.run).items()}
    by_address: dict[int, set[str]] = defaultdict(set)
    for address, names in zip(seen.steps, replayed(seen.steps, seen.run.bundles), strict=True):
        by_address[address] |= counted(names)
    return static, by_address


REGISTERS: dict[str, Any] = {
    **{f"r{k}": 0 for k in range(8)},
    **{f"x{k}": bytes(64) for k in range(4)},
    **{f"cm{k}": bytes(128) for k in range(2)},
    "r7": INT16_ELEMENTS,
    "p0": DATA,
    "s0": 0,
}
OPERATIONS = st.one_of(
    st.just("nop"),
    st.builds("add r{}, r{}, r{}".format, st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)),
    st.builds("mul r{}, r{}, r{}".format, st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)),
    st.builds("lda r{}, [p0, #0]".format, st.integers(0, 5)),
    st.builds("vldb wl{}, [p0, #0]".format, st.integers(0, 3)),
    st.builds("vadd.8 x{}, x{}, x{}".format, st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)),
    st.builds("vmov x{}, x{}".format, st.integers(0, 3), st.integers(0, 3)),
    st.builds("vmul cm{}, x{}, x{}, r7".format, st.integers(0, 1), st.integers(0, 3), st.integers(0, 3)),
    st.builds("vadd cm{}, cm{}, cm{}, r6".format, st.integers(0, 1), st.integers(0, 1), st.integers(0, 1)),
    st.builds("vst wl{}, [p0, #0]".format, st.integers(0, 3)),
    st.builds("vsrs.s8.s32 wl{}, cm{}, s0".format, st.integers(0, 3), st.integers(0, 1)),
)


@given(st.lists(OPERATIONS, min_size=1, max_size=20))
@settings(max_examples=40, deadline=None)
def test_straight_code_is_as_the_replay_says(lines: list[str]) -> None:
    static, by_address = static_and_replayed(traced(function("main", "\n".join(lines) + "\nnop*12"), REGISTERS))
    assert static == dict(by_address)


@given(st.lists(OPERATIONS, min_size=1, max_size=10))
@settings(max_examples=60, deadline=None)
def test_loops_are_as_the_replay_says(lines: list[str]) -> None:
    """Nothing is missed; and nothing is too much, where no result is in flight when the loop goes round."""
    seen = traced(function("main", hardware_loop("\n".join(lines), 40) + "\nnop*12"), REGISTERS)
    static, by_address = static_and_replayed(seen)
    body = [a for a in sorted(seen.run.bundles) if seen.labels["body"] <= a <= seen.labels["body_last"]]
    crosses = any(
        place + write.cycle > len(body)
        for place, address in enumerate(body)
        for operation in seen.run.bundles[address].operations
        for write in timing_of(operation).writes
    )
    for address, names in by_address.items():
        assert names <= static[address]
        assert crosses or names == static[address]


def test_values_in_flight_take_no_register() -> None:
    """Seven cycles from load to use: two loads in flight share a register where their values follow each other."""
    text = function("main", "lda r1, [p0, #0]\nlda r1, [p0, #4]\nnop*5\nadd r2, r1, r1\nadd r3, r1, r2\nnop*8")
    seen = traced(text, {"p0": DATA})
    live = live_registers(seen.run)
    order = sorted(live)
    r1 = [("r1" in names_in(live[address])) for address in order[:10]]
    assert r1 == [False] * 7 + [True, True, False]  # each value stands for the one cycle in which it is read
    assert most_live(live, order)["r"] == 2  # r1 and r2, where r3 is computed
    assert most_live(live, order)["p"] == 1


@pytest.mark.parametrize(("word", "halves"), [(INT8_4X8X8, 1), (INT16_ELEMENTS, 2)])
def test_a_product_of_4x8_blocks_needs_half_a_vector(word: int, halves: int) -> None:
    text = function("main", "nop*3\nvmul cm0, x0, x2, r0\nnop*8")
    seen = traced(text, {"x0": bytes(64), "x2": bytes(64), "r0": word})
    first = names_in(live_registers(seen.run)[seen.steps[0]])
    assert {name for name in first if name.endswith("0") and name[0] == "w"} == {"wl0", "wh0"} - (
        {"wh0"} if halves == 1 else set()
    )


def test_the_files_are_those_of_the_core() -> None:
    sizes = {file.name: file.size for file in register_files()}
    assert sizes == dict(r=32, p=8, m=8, dj=8, dn=8, dc=8, s=4, x=12, cm=9)  # noqa: C408


def test_a_compiled_kernel_needs_what_its_run_needed() -> None:
    """Thousands of cycles, loops in loops: nothing is missed, and the most of each file is found exactly."""
    steps: list[int] = []
    tracer = Tracer()

    def trace(cycle: int, address: int, bundle: Bundle) -> None:
        steps.append(address)
        tracer.step(cycle, address, bundle)

    tile = cut_tile(synthetic_activations(0), 0, 16, 16)
    kernel = Simulator(trace=trace).load(kernel_spec("tiled"), 16, 16)
    tracer.watch(kernel.core)
    result = kernel.run(tile.q, tile.k, tile.v, 7)
    assert result.cycles is not None
    run = tracer.finish(result.cycles)
    live = live_registers(run)
    found = {address: names_in(mask) for address, mask in live.items()}
    members = {file.name: [names_in(member) for member in file.members] for file in register_files()}
    most: Counter[str] = Counter()
    for names, at in Counter(
        (frozenset(counted(names)), address) for address, names in zip(steps, replayed(steps, run.bundles), strict=True)
    ):
        assert names <= found[at]
        for file, registers in members.items():
            most[file] = max(most[file], sum(1 for register in registers if register & names))
    assert most_live(live, live) == dict(most)
