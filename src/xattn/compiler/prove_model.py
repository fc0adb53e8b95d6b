"""The modulo scheduling problem as constraints: OR-Tools CP-SAT decides whether an interval has a schedule.

An operation is issued in cycle residue + interval · stage. Two operations meet in a slot or on a port when their
residues do; dependences compare whole cycles; a value takes its register in its own iteration and in the same place of
every other one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from xattn.compiler.dependence import Graph
from xattn.compiler.interval_bounds import slot_units
from xattn.compiler.lifetimes import Event, Lifetimes, RegisterLimits, RivalRegisters, Value
from xattn.compiler.modulo import ModuloSchedule
from xattn.compiler.port_holds import Hold, is_settled_by_slots, port_holds
from xattn.errors import InputError

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

Outcome = Literal["feasible", "infeasible", "unknown"]
_SEED = 1
_CONFLICTS_PER_S = 2000  # some propagation goes uncounted in the solver's seconds; conflicts tell of it
_GLANCE_S = 0.2  # how often a waiting main thread looks for Ctrl-C


@dataclass(frozen=True)
class Answer:
    """What the solver found. `effort` is in its deterministic seconds, the same on every machine."""

    outcome: Outcome
    schedule: ModuloSchedule | None
    effort: float


def _ortools() -> Any:
    try:
        from ortools.sat.python import cp_model
    except ImportError:
        raise InputError('proofs need OR-Tools, which is not installed: pip install "xattn[tune]"') from None
    return cp_model


class ModuloModel:
    """Schedules of a loop with one interval, within so many stages and, when `limits` are given, registers.

    `need` says how registers with parts of their own are counted where limits are given: "least" allows too much
    (what it excludes is impossible), "most" too little (what it finds is possible). Without such registers both are
    exact.
    """

    def __init__(
        self,
        graph: Graph,
        interval: int,
        stages: int,
        limits: RegisterLimits | None = None,
        need: Literal["least", "most"] = "most",
    ) -> None:
        self.graph, self.interval = graph, interval
        self.cp = _ortools()
        self.model = self.cp.CpModel()
        self.residues = [self.model.new_int_var(0, interval - 1, f"residue {n}") for n in range(len(graph.operations))]
        self.stages = [self.model.new_int_var(0, stages - 1, f"stage {n}") for n in range(len(graph.operations))]
        self.last_cycle = interval * stages + max((t.drained for ts in graph.timings for t in ts), default=0)
        self.units = slot_units(sorted({timing.slot for timings in graph.timings for timing in timings}))
        self.chosen = [self._choices(node) for node in range(len(graph.operations))]
        self._slots()
        self._ports()
        self._dependences()
        if limits is not None:
            for rivals in Lifetimes.of(graph).rivals(limits).values():
                if not rivals.always_fit:
                    self._registers(rivals, need)

    def _choices(self, node: int) -> list[cp_model.IntVar]:
        """A truth value for every choice, of which exactly one is true; of equal choices the first will do."""
        timings = self.graph.timings[node]
        kinds = [(timing.slot, frozenset(timing.ports)) for timing in timings]
        found = [self.model.new_bool_var(f"choice {node}.{n}") for n in range(len(kinds))]
        self.model.add_exactly_one(found)
        for n, kind in enumerate(kinds):
            if kind in kinds[:n] or timings[n].meets_itself(self.interval):
                self.model.add(found[n] == 0)
        return found

    def _issue(self, node: int) -> cp_model.LinearExpr:
        return self.residues[node] + self.interval * self.stages[node]

    def _slots(self) -> None:
        """A bundle holds one operation of a slot, and none of two slots that fit no format together."""
        taken: dict[str, list[cp_model.IntervalVar]] = defaultdict(list)
        for node, timings in enumerate(self.graph.timings):
            for choice, timing in enumerate(timings):
                taken[timing.slot].append(self._cells(Hold(node, choice, 0, 1, True)))
        for unit in self.units:
            self.model.add_no_overlap([cell for slot in sorted(unit) for cell in taken[slot]])

    def _cells(self, hold: Hold, shift: int = 0) -> cp_model.IntervalVar:
        """The cycles of a hold, from the operation's residue on."""
        start, chosen = self.residues[hold.node] + hold.offset + shift, self.chosen[hold.node]
        if len(chosen) == 1:
            return self.model.new_fixed_size_interval_var(start, hold.length, "")
        return self.model.new_optional_fixed_size_interval_var(start, hold.length, chosen[hold.choice], "")

    def _ports(self) -> None:
        """Who needs a port alone shares it with nobody; the others may share it."""
        for holds in port_holds(self.graph, self.interval).values():
            if is_settled_by_slots(self.graph, holds, self.units):
                continue
            sharing = sum(not hold.alone for hold in holds)
            capacity = max(1, sharing)
            cells, demands = [], []
            for hold in holds:
                # what passes the interval's end shows at its start too
                passes = hold.offset + hold.length > 1
                for shift in (0, -self.interval) if passes else (0,):
                    cells.append(self._cells(hold, shift))
                    demands.append(capacity if hold.alone else 1)
            if sharing:
                self.model.add_cumulative(cells, demands, capacity)
            else:
                self.model.add_no_overlap(cells)

    def _dependences(self) -> None:
        strongest: dict[tuple[int, int], int] = {}
        for edge in self.graph.edges:
            wait = edge.latency - self.interval * edge.distance
            key = (edge.source, edge.target)
            strongest[key] = max(wait, strongest.get(key, wait))
        for (source, target), wait in strongest.items():
            if source != target:
                self.model.add(self._issue(target) - self._issue(source) >= wait)
            elif wait > 0:
                self.model.add_bool_or([])

    # -- registers ------------------------------------------------------------------------------------------------

    def _registers(self, rivals: RivalRegisters, need: Literal["least", "most"]) -> None:
        """At no time more values than registers."""
        if rivals.free <= 0:
            self.model.add_bool_or([])
            return
        intervals: list[cp_model.IntervalVar] = []
        total: cp_model.LinearExprT = 0
        for values in rivals.least if need == "least" else rivals.most:
            start, end = self._lifetime(values)
            rounds = len({value.start for value in values})  # one value lives for an interval at most
            length = self.model.new_int_var(1, rounds * self.interval, "")
            self.model.add(length == end - start)
            total = total + length
            place = self._place(values, start)
            end_place = self.model.new_int_var(1, (rounds + 2) * self.interval, "")
            self.model.add(end_place == place + length)
            # places lie in [0, 2 II): so many copies show the second of these intervals as it is in the steady state
            for copy in range(-1, rounds + 1):
                shift = -copy * self.interval
                intervals.append(self.model.new_interval_var(place + shift, length, end_place + shift, ""))
        self.model.add_cumulative(intervals, [1] * len(intervals), rivals.free)
        self.model.add(total <= rivals.free * self.interval)

    def _lifetime(self, values: Sequence[Value]) -> tuple[cp_model.LinearExpr, cp_model.LinearExpr]:
        """First cycle in which one of the values takes its register, and the first in which none needs it any more."""
        starts = [self._time(event) for event in dict.fromkeys(value.start for value in values)]
        start = starts[0]
        if len(starts) > 1:
            start = self.model.new_int_var(0, self.last_cycle, "")
            self.model.add_min_equality(start, starts)
        end = self.model.new_int_var(0, self.last_cycle + 1, "")
        for event in dict.fromkeys(event for value in values for event in value.needed):
            self.model.add(end >= self._time(event) + 1)
        return start, end

    def _time(self, event: Event) -> cp_model.LinearExpr:
        node, after = event
        return self._issue(node) + after

    def _place(self, values: Sequence[Value], start: cp_model.LinearExpr) -> cp_model.LinearExpr:
        """Where in the interval a lifetime starts; at most one interval further than that."""
        nodes = {value.start for value in values}
        if len(nodes) == 1:
            ((node, after),) = nodes
            return self.residues[node] + after % self.interval
        place = self.model.new_int_var(0, self.interval - 1, "")
        rounds = self.model.new_int_var(0, self.last_cycle // self.interval, "")
        self.model.add(start == place + self.interval * rounds)
        return place

    # -- answers --------------------------------------------------------------------------------------------------

    def solve(self, time_limit_s: float) -> Answer:
        """Any schedule. `time_limit_s` is counted in deterministic seconds (about as long as real ones)."""
        solver = self.cp.CpSolver()
        solver.parameters.random_seed = _SEED
        solver.parameters.num_workers = 1
        solver.parameters.linearization_level = 0
        solver.parameters.max_deterministic_time = max(0.0, time_limit_s)
        solver.parameters.max_number_of_conflicts = max(0, int(time_limit_s * _CONFLICTS_PER_S))
        solver.parameters.catch_sigint_signal = False
        status = _interruptible(solver, self.model)
        effort = max(float(solver.response_proto.deterministic_time), solver.num_conflicts / _CONFLICTS_PER_S)
        if status in (self.cp.OPTIMAL, self.cp.FEASIBLE):
            return Answer("feasible", self._schedule(solver), effort)
        return Answer("infeasible" if status == self.cp.INFEASIBLE else "unknown", None, effort)

    def shorten(self, known: ModuloSchedule, time_limit_s: float) -> Answer:
        """A schedule whose values live for fewer cycles in all, starting from a known one of this model."""
        total: cp_model.LinearExprT = 0
        for leaves in Lifetimes.of(self.graph).values.values():
            for value in next(iter(leaves.values())):
                start, end = self._lifetime((value,))
                total = total + end - start
        self.model.minimize(total)
        self.model.clear_hints()
        for node, cycle in enumerate(known.cycles):
            self.model.add_hint(self.residues[node], cycle % self.interval)
            self.model.add_hint(self.stages[node], cycle // self.interval)
            for choice, chosen in enumerate(self.chosen[node]):
                self.model.add_hint(chosen, choice == known.choices[node])
        return self.solve(time_limit_s)

    def _schedule(self, solver: cp_model.CpSolver) -> ModuloSchedule:
        cycles = [
            solver.value(residue) + self.interval * solver.value(stage)
            for residue, stage in zip(self.residues, self.stages, strict=True)
        ]
        choices = [[solver.boolean_value(chosen) for chosen in found].index(True) for found in self.chosen]
        return ModuloSchedule(self.interval, [cycle - min(cycles) for cycle in cycles], choices)


def _interruptible(solver: cp_model.CpSolver, model: cp_model.CpModel) -> cp_model.CpSolverStatus:
    """Solve in another thread, so that Ctrl-C reaches this one."""
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(solver.solve, model)
        try:
            while not wait([work], _GLANCE_S).done:
                pass
        except BaseException:
            solver.stop_search()
            raise
        return work.result()
