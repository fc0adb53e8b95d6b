"""Modulo schedules obey every dependence and share no slot or port, in the wrapped time of their interval."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from modulo_oracle import recurrence_minimum, resource_minimum

from xattn.compiler.addresses import assign_addresses
from xattn.compiler.control import to_sections
from xattn.compiler.dependence import Graph, build_graph
from xattn.compiler.ir import Program
from xattn.compiler.language import Kernel, VectorType, int8, int32, maximum, product
from xattn.compiler.modulo import ModuloSchedule, modulo_schedule
from xattn.compiler.place import place_arrays
from xattn.isa.codec import formats_holding
from xattn.kernels.products import matmul_int8, qkt


def loops_of(program: Program) -> list[Graph]:
    """The dependence graph of each hardware loop of a recorded program."""
    place_arrays(program.arrays)
    assign_addresses(program)
    return [build_graph(s.operations, s.loop) for s in to_sections(program) if s.loop is not None]


def verify(graph: Graph, schedule: ModuloSchedule) -> None:
    """Independent of the scheduler's own tables: edges, slots, formats and ports, one by one."""
    for edge in graph.edges:
        ready = schedule.cycles[edge.source] + edge.latency - edge.distance * schedule.interval
        assert schedule.cycles[edge.target] >= ready, edge
    slots: dict[int, list[str]] = defaultdict(list)
    ports: dict[tuple[str, int], list[bool]] = defaultdict(list)
    for timings, cycle, choice in zip(graph.timings, schedule.cycles, schedule.choices, strict=True):
        slots[cycle % schedule.interval].append(timings[choice].slot)
        for port, offset, required in timings[choice].ports:
            ports[port, (cycle + offset) % schedule.interval].append(required)
    for used in slots.values():
        assert len(used) == len(set(used)) and formats_holding(frozenset(used)), used
    for place, uses in ports.items():
        assert len(uses) == 1 or not any(uses), place


@pytest.mark.parametrize("kernel", [qkt, matmul_int8])
@pytest.mark.parametrize(("tokens", "macs"), [(32, 32), (64, 64)])
def test_products_issue_a_block_product_every_cycle(kernel: object, tokens: int, macs: int) -> None:
    k = Kernel("products")
    kernel(k, tokens, tokens)  # type: ignore[operator]
    (graph,) = loops_of(k.program)
    schedule = modulo_schedule(graph, 2 * macs)
    assert schedule is not None and schedule.interval == macs
    verify(graph, schedule)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_random_loops(data: st.DataObject) -> None:
    k = Kernel("random")
    x, out = k.argument("x", int32, (64, 4)), k.argument("out", int32, (64, 4))
    carried = k.variable(0)
    steps = data.draw(st.lists(st.tuples(st.sampled_from("+*-m>c"), st.integers(0, 9), st.integers(0, 9)), max_size=18))
    for i in k.loop(64):
        values = [x[i, j] for j in range(data.draw(st.integers(1, 4)))]
        for operation, a, b in steps:
            left, right = values[a % len(values)], values[b % len(values)]
            if operation == "c":
                carried += left
                values.append(carried + 0)
            elif operation == "m":
                values.append(maximum(left, right))
            elif operation == ">":
                values.append(left >> (b % 7))
            else:
                values.append({"+": left + right, "*": left * right, "-": left - right}[operation])
        for j, value in enumerate(values[-2:]):
            out[i, j] = value
    (graph,) = loops_of(k.program)
    schedule = modulo_schedule(graph, 400)
    assert schedule is not None
    assert schedule.interval >= max(resource_minimum(graph), recurrence_minimum(graph))
    verify(graph, schedule)


def test_a_recurrence_bounds_the_interval() -> None:
    """acc = acc · x by the scalar multiplier takes two cycles a turn, however empty the slots are."""
    k = Kernel("recurrence")
    x, out = k.argument("x", int32, (64,)), k.argument("out", int32, (1,))
    total = k.variable(1)
    for i in k.loop(64):
        total.set(total * x[i])
    out[0] = total
    (graph,) = loops_of(k.program)
    assert recurrence_minimum(graph) >= 3 > resource_minimum(graph)  # multiply 2, copy 1


def test_no_schedule_below_what_is_asked() -> None:
    k = Kernel("products")
    x, y = k.argument("x", VectorType(int8, 32), (8,)), k.argument("y", VectorType(int8, 64), (8,))
    out = k.argument("out", VectorType(int8, 32), (8,))
    for i in k.loop(8):
        total = k.accumulator()
        total.set(product(x[i], y[i]))
        out[i] = k.narrow(total, k.shift_amount(3), int8)
    (graph,) = loops_of(k.program)
    least = max(resource_minimum(graph), recurrence_minimum(graph))
    assert modulo_schedule(graph, least) is None
    found = modulo_schedule(graph, 100, lambda schedule: schedule.interval >= least + 2)
    assert found is not None and found.interval >= least + 2
    assert np.all(np.array(found.cycles) >= 0)
    verify(graph, found)
