"""Proofs of initiation intervals, against an exhaustive search and against judges that know nothing of the solver."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from modulo_oracle import exists, judge, recurrence_minimum, registers_taken, resource_minimum

from xattn.compiler import prove_model
from xattn.compiler.compile import CompiledKernel
from xattn.compiler.dependence import Edge, Graph, build_graph
from xattn.compiler.interval_bounds import (
    least_interval,
    least_span,
    port_bound,
    recurrence_bound,
    slot_bound,
    sufficient_span,
)
from xattn.compiler.ir import Choice, Loop, Operation, VirtualRegister
from xattn.compiler.language.recorder import constant_choices
from xattn.compiler.lifetimes import Lifetimes, RegisterLimits, register_need
from xattn.compiler.liveness import analyse, pressure
from xattn.compiler.machine import OperationTiming
from xattn.compiler.modulo import ModuloSchedule
from xattn.compiler.prove import best_interval, prove_interval
from xattn.compiler.prove_loops import prove_loops, schedule_of
from xattn.compiler.scheduled import PipelinedLoop
from xattn.errors import InputError
from xattn.isa.table import instruction_table
from xattn.kernels.registry import compiled

try:
    import ortools  # noqa: F401

    _MISSING = ""
except ImportError:
    _MISSING = 'NOT CHECKED: proofs need OR-Tools, pip install "xattn[tune]"'
needs_solver = pytest.mark.skipif(bool(_MISSING), reason=_MISSING)

NOP = Operation((Choice(instruction_table().opcodes["NOP"], {}),))
Ports = tuple[tuple[str, int, bool], ...]


def timing(slot: str, ports: Ports = ()) -> OperationTiming:
    return OperationTiming((), (), ports, (), slot)


def graph_of(timings: list[tuple[OperationTiming, ...]], edges: list[Edge] | None = None) -> Graph:
    """Operations that hold slots and ports only, and whatever order is asked of them."""
    return Graph([NOP] * len(timings), timings, edges or [])


# -- graphs for property tests ------------------------------------------------------------------------------------


@st.composite
def resource_graphs(draw: st.DrawFn) -> Graph:
    """Up to four operations with slots, ports (shared and not) and any dependences that some interval allows."""
    count = draw(st.integers(1, 4))
    ports = st.tuples(st.sampled_from("PQ"), st.integers(0, 5), st.booleans())
    one = st.builds(
        timing,
        st.sampled_from(("lda", "alu", "mv", "lng", "vec")),
        st.lists(ports, max_size=3).map(tuple),
    )
    timings = draw(st.lists(st.lists(one, min_size=1, max_size=2).map(tuple), min_size=count, max_size=count))
    edges = []
    for _ in range(draw(st.integers(0, 5))):
        source, target = draw(st.integers(0, count - 1)), draw(st.integers(0, count - 1))
        distance = draw(st.integers(0 if source < target else 1, 2))
        edges.append(Edge(source, target, draw(st.integers(-2, 5)), distance))
    return graph_of(timings, edges)


@st.composite
def register_graphs(draw: st.DrawFn) -> Graph:
    """Up to four scalar operations of the machine on up to four registers, some carried round the loop."""
    table = instruction_table().opcodes
    registers = [VirtualRegister("r", f"v{n}") for n in range(4)]
    pick = st.sampled_from(registers)
    operations = []
    for _ in range(draw(st.integers(2, 4))):
        out, a, b = draw(pick), draw(pick), draw(pick)
        kind = draw(st.sampled_from(("add", "multiply", "increment", "constant")))
        if kind == "constant":
            choices = constant_choices(out, draw(st.sampled_from((5, 70000))))
        elif kind == "increment":
            choices = (
                Choice(table["ADD_add_r_ri"], {"mRx": out, "mRx0": a, "c7s": 1}),
                Choice(table["ADD_NC"], {"dst": out, "s0": a, "imm": 1}),
            )
        else:
            name = {"add": "ADD", "multiply": "MUL_mul_r_rr"}[kind]
            choices = (Choice(table[name], {"mRx": out, "mRx0": a, "mRy": b}),)
        operations.append(Operation(choices))
    return build_graph(operations, Loop((8,)))


quick = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


# -- bounds --------------------------------------------------------------------------------------------------------


def test_a_long_constant_takes_the_slots_of_a_move_and_of_an_alu_operation() -> None:
    graph = graph_of([(timing("lng"),)] * 3 + [(timing("alu"), timing("mv"))] * 4)
    bound = slot_bound(graph)
    assert bound.interval == 5  # 3 · 2 + 4 halves of a bundle
    assert "7 operations" in bound.argument and "alu, lng, mv" in bound.argument
    assert exists(graph, 5, 1) and not exists(graph, 4, 2)


def test_a_port_bound_counts_what_no_choice_avoids() -> None:
    both = (timing("lda", (("bank", 2, True), ("bank", 3, True))), timing("ldb", (("bank", 2, True),)))
    free = (timing("lda", (("bank", 2, True),)), timing("alu"))
    shared = (timing("mv", (("bank", 2, False),)),)
    bound = port_bound(graph_of([both, both, both, free, shared]))
    assert bound.interval == 3 and bound.argument == "port bank is held for 3 cycles"


def test_a_recurrence_bound_names_its_cycle() -> None:
    graph = graph_of([(timing("alu"),)] * 3, [Edge(0, 1, 5, 0), Edge(1, 2, 1, 0), Edge(1, 0, 6, 2), Edge(2, 0, 1, 1)])
    bound = recurrence_bound(graph)
    assert bound.interval == 7  # 5 + 1 + 1 round one iteration; 5 + 6 round two is less
    assert "3 operations" in bound.argument and "7 cycles for every iteration" in bound.argument


def test_operations_that_wait_for_each_other_in_one_iteration_are_told() -> None:
    with pytest.raises(InputError, match="wait for each other within one iteration"):
        recurrence_bound(graph_of([(timing("alu"),)] * 2, [Edge(0, 1, 1, 0), Edge(1, 0, 1, 0)]))


@quick
@given(resource_graphs())
def test_bounds_never_exclude_a_schedule(graph: Graph) -> None:
    bound = least_interval(graph)
    assert recurrence_bound(graph).interval == recurrence_minimum(graph)  # by another algorithm
    assert slot_bound(graph).interval >= resource_minimum(graph)
    if 1 < bound.interval <= 6:
        assert exists(graph, bound.interval - 1, 3) is None, bound
    found = exists(graph, bound.interval, 2) if bound.interval <= 6 else None
    if found is not None:
        assert max(found.cycles) >= least_span(graph, bound.interval)


# -- the solver against exhaustive search --------------------------------------------------------------------------


@needs_solver
@quick
@given(resource_graphs(), st.integers(1, 4))
def test_outcomes_equal_those_of_trying_everything(graph: Graph, interval: int) -> None:
    proof = prove_interval(graph, interval, most_stages=2)
    assert proof.outcome == ("feasible" if exists(graph, interval, 2) else "infeasible"), proof.argument
    if proof.schedule is not None:
        judge(graph, proof.schedule)
        assert proof.schedule.interval == interval and proof.schedule.stages <= 2


@needs_solver
@quick
@given(resource_graphs(), st.integers(1, 3))
def test_the_span_that_is_searched_is_enough(graph: Graph, interval: int) -> None:
    proof = prove_interval(graph, interval)
    if proof.schedule is not None:
        judge(graph, proof.schedule)
        assert exists(graph, interval, proof.schedule.stages)
    else:
        assert proof.outcome == "infeasible" and exists(graph, interval, 5) is None
    wide = exists(graph, interval, 5)
    if wide is not None:  # one that spans no more than is said to suffice
        stages = sufficient_span(graph, interval) // interval + 1
        assert exists(graph, interval, min(stages, 5)) is not None


@needs_solver
@quick
@given(register_graphs(), st.integers(1, 5), st.integers(1, 3))
def test_register_limits_equal_those_of_trying_everything(graph: Graph, interval: int, free: int) -> None:
    held = Lifetimes.of(graph).carried
    limits = RegisterLimits({"r": free + len(held)}, held)

    def fits(schedule: ModuloSchedule) -> bool:
        return registers_taken(graph, schedule, held).get("r", 0) <= free + len(held)

    proof = prove_interval(graph, interval, limits=limits, most_stages=2)
    assert proof.outcome == ("feasible" if exists(graph, interval, 2, fits) else "infeasible"), proof.argument
    if proof.schedule is not None:
        judge(graph, proof.schedule)
        assert fits(proof.schedule)
        assert register_need(graph, proof.schedule, limits) == registers_taken(graph, proof.schedule, held)


# -- loops of kernels ----------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def small() -> CompiledKernel:
    return compiled("vectorized", 16, 16)


def loops(kernel: CompiledKernel) -> list[tuple[str, Graph, ModuloSchedule, RegisterLimits]]:
    live = analyse([s.section for s in kernel.sections])
    return [
        (
            s.section.loop.name,
            build_graph(s.section.operations, s.section.loop),
            schedule_of(s),
            RegisterLimits.of_section(s.section, live),
        )
        for s in kernel.sections
        if s.section.loop is not None
    ]


def test_register_need_is_that_of_the_compiler_and_of_the_judge() -> None:
    kernel = compiled("qkt", 32, 32)
    live = analyse([s.section for s in kernel.sections])
    pipelined = [s for s in kernel.sections if isinstance(s, PipelinedLoop)]
    assert pipelined
    for scheduled in pipelined:
        limits = RegisterLimits.of_section(scheduled.section, live)
        need = register_need(scheduled.graph, scheduled.schedule, limits)
        assert need == pressure(scheduled, live)
        judged = registers_taken(scheduled.graph, scheduled.schedule, limits.held)
        assert need == {file: judged[file] for file in need}


@needs_solver
def test_the_compilers_schedules_are_solutions_of_the_model() -> None:
    checked = 0
    for _, graph, schedule, limits in [*loops(small()), *loops(compiled("qkt", 32, 32))]:
        model = prove_model.ModuloModel(graph, schedule.interval, schedule.stages, limits, "least")
        for node, cycle in enumerate(schedule.cycles):
            model.model.add(model.residues[node] == cycle % schedule.interval)
            model.model.add(model.stages[node] == cycle // schedule.interval)
        assert model.solve(10).outcome == "feasible"
        checked += 1
    assert checked >= 5


@pytest.mark.slow
@needs_solver
def test_loops_of_a_kernel_are_proved_or_improved() -> None:
    proofs = {proof.name: proof for proof in prove_loops(small(), time_limit_s=2)}
    limits = {name: limits for name, _, _, limits in loops(small())}
    for name, proof in proofs.items():
        judge(proof.graph, proof.best.schedule)
        taken = registers_taken(proof.graph, proof.best.schedule, limits[name].held)
        if proof.best.is_improved:
            assert all(taken.get(file, 0) <= count for file, count in limits[name].capacity.items())
            assert proof.best.schedule.interval < proof.best.known.interval
    panels = proofs["row panels"].best  # eight loads of one bank, four stores to another
    assert panels.bound.kind == "ports" and panels.bound.interval == 8
    assert panels.schedule.interval == 9 and panels.is_minimal
    assert "every schedule" in panels.argument and "at most 2 iterations" in panels.argument
    assert needs_a_third_iteration(proofs["row panels"].graph)
    maximum = proofs["max"].best
    assert maximum.bound.kind == "recurrence" and maximum.schedule.interval == maximum.bound.interval == 24
    assert maximum.is_minimal and "24 cycles for every iteration" in maximum.argument


def needs_a_third_iteration(graph: Graph) -> bool:
    """Whether eight loads of one bank, a pointer step after them all, cannot end in two iterations of eight cycles.

    The step and the next iteration's loads keep them within one interval, so they take one cycle each; what the last
    one loads, seven cycles after the first or later, has still to be shuffled and stored.
    """
    edges = {(edge.source, edge.target, edge.latency, edge.distance) for edge in graph.edges}
    loads = [n for n, ts in enumerate(graph.timings) if all(("bank 1", 4, True) in timing.ports for timing in ts)]
    step = next(target for source, target, _, distance in edges if source == loads[0] and not distance and target > 9)
    assert len(loads) == 8
    assert all({(load, step, 0, 0), (step, load, 1, 1)} <= edges for load in loads)
    after = [
        load_to_shuffle + shuffle_to_store
        for load in loads
        for source, shuffle, load_to_shuffle, distance in edges
        if source == load and distance == 0 and shuffle != step
        for also, _, shuffle_to_store, no in edges
        if also == shuffle and no == 0
    ]
    return len(after) == 16 and 7 + min(after) >= 2 * 8


@needs_solver
def test_results_are_the_same_each_time() -> None:
    name, graph, known, limits = next(loop for loop in loops(small()) if loop[0] == "max")
    first, second = (
        best_interval(
            graph, ModuloSchedule(known.interval + 5, known.cycles, known.choices), limits=limits, time_limit_s=2
        )
        for _ in range(2)
    )
    assert first == second and first.schedule.interval == 24, name


# -- what is said --------------------------------------------------------------------------------------------------


def test_a_bound_that_is_reached_needs_no_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ortools", None)
    monkeypatch.setitem(sys.modules, "ortools.sat.python", None)
    graph = graph_of([(timing("alu"),)] * 3)
    known = ModuloSchedule(3, [0, 1, 2], [0, 0, 0])
    found = best_interval(graph, known)
    assert found.is_minimal and found.schedule is known and found.proofs == () and found.effort == 0
    assert found.verdict == "proved minimal"
    assert found.argument == "II 3 is the least possible: 3 operations share slot alu"
    with pytest.raises(InputError, match=r'pip install "xattn\[tune\]"'):
        best_interval(graph, ModuloSchedule(4, [0, 1, 2], [0, 0, 0]))


@needs_solver
def test_what_the_time_does_not_suffice_for_stays_undecided() -> None:
    name, graph, known, limits = next(loop for loop in loops(small()) if loop[0] == "exp")
    assert known.interval > least_interval(graph).interval, name
    found = best_interval(graph, known, limits=limits, most_stages=2, time_limit_s=1e-6)
    assert not found.is_minimal and not found.is_improved and found.schedule is known
    assert found.undecided == tuple(range(found.bound.interval, known.interval))
    assert found.verdict.endswith("undecided") and "undecided within the time" in found.argument


@needs_solver
def test_more_stages_than_a_loop_has_trips_do_not_count() -> None:
    chain = graph_of([(timing("lda"),), (timing("vec"),)], [Edge(0, 1, 7, 0)])
    assert prove_interval(chain, 1, most_stages=8).outcome == "feasible"
    proof = prove_interval(chain, 1, most_stages=7)
    assert proof.outcome == "infeasible" and proof.argument == (
        "dependences alone need 8 iterations under way at once, of 7"
    )


@needs_solver
def test_an_infeasible_interval_below_a_feasible_one_is_no_proof_for_those_between() -> None:
    """An operation holds a port in cycles 0 and 3: that meets itself at II 3 and II 1, not at II 2."""
    graph = graph_of([(timing("lda", (("P", 0, True), ("P", 3, True))),)])
    outcomes = {interval: prove_interval(graph, interval).outcome for interval in (2, 3, 4)}
    assert outcomes == {2: "feasible", 3: "infeasible", 4: "feasible"}
    found = best_interval(graph, ModuloSchedule(4, [0], [0]))
    assert found.schedule.interval == 2 and found.is_minimal


@needs_solver
def test_ctrl_c_stops_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    name, graph, known, limits = next(loop for loop in loops(small()) if loop[0] == "exp")
    stopped: list[str] = []

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    cp_model = prove_model._ortools()
    original: Callable[[object], None] = cp_model.CpSolver.stop_search

    def stop(solver: object) -> None:
        stopped.append(name)
        original(solver)

    monkeypatch.setattr(prove_model, "wait", interrupt)
    monkeypatch.setattr(cp_model.CpSolver, "stop_search", stop)
    with pytest.raises(KeyboardInterrupt):
        prove_interval(graph, known.interval - 1, limits=limits, time_limit_s=30)
    assert stopped == [name]
