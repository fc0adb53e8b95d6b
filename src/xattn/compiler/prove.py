"""Proves that a loop's initiation interval is minimal, or finds a better schedule.

Some intervals are too short by arithmetic alone (`interval_bounds`); for the others CP-SAT searches every schedule
(extra `tune`). All results are reproducible: one worker, a fixed seed, and time limits counted in the solver's
deterministic seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xattn.compiler.dependence import Graph
from xattn.compiler.interval_bounds import Bound, least_interval, least_span, sufficient_span
from xattn.compiler.lifetimes import Lifetimes, RegisterLimits, register_need
from xattn.compiler.modulo import ModuloSchedule
from xattn.compiler.modulo_check import broken_rule
from xattn.compiler.prove_model import Answer, ModuloModel, Outcome

_FEW_STAGES = 3  # stage counts from the smallest possible one on that are tried before all at once
_SHARE = 4  # of the time that is left, for one of several attempts

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Proof:
    """Whether a loop can run with one interval. `argument` is a clause that says how this is known."""

    interval: int
    outcome: Outcome
    schedule: ModuloSchedule | None
    argument: str
    effort: float = 0.0  # deterministic seconds of the solver

    def __post_init__(self) -> None:
        assert (self.schedule is not None) == (self.outcome == "feasible")


@dataclass(frozen=True)
class BestInterval:
    """The best schedule known of a loop, and whether there can be a better one."""

    schedule: ModuloSchedule
    known: ModuloSchedule
    bound: Bound
    proofs: tuple[Proof, ...]  # of the intervals that were tried

    @property
    def undecided(self) -> tuple[int, ...]:
        """Smaller intervals that may or may not have a schedule."""
        ruled_out = {proof.interval for proof in self.proofs if proof.outcome == "infeasible"}
        return tuple(i for i in range(self.bound.interval, self.schedule.interval) if i not in ruled_out)

    @property
    def is_minimal(self) -> bool:
        """Whether every smaller interval is impossible."""
        return not self.undecided

    @property
    def is_improved(self) -> bool:
        """Whether the schedule has a smaller interval than the known one."""
        return self.schedule.interval < self.known.interval

    @property
    def effort(self) -> float:
        """Deterministic seconds that the solver took."""
        return sum(proof.effort for proof in self.proofs)

    @property
    def verdict(self) -> str:
        """One of: proved minimal, improved and proved minimal, improved to II …, unknown …."""
        now = self.schedule.interval
        if self.is_minimal:
            return f"improved to {now}, proved minimal" if self.is_improved else "proved minimal"
        open_ones = _ranges(self.undecided)
        return f"improved to {now}, {open_ones} undecided" if self.is_improved else f"{open_ones} undecided"

    @property
    def argument(self) -> str:
        """Why there is no smaller interval, or what is not known."""
        now = self.schedule.interval
        if self.bound.interval >= now:
            return f"II {now} is the least possible: {self.bound.argument}"
        below = f"below II {self.bound.interval}: {self.bound.argument}" if self.bound.interval > 1 else ""
        searched = [proof for proof in self.proofs if proof.outcome == "infeasible"]
        ruled = f"II {_ranges(tuple(p.interval for p in searched))}: {searched[-1].argument}" if searched else ""
        unknown = f"II {_ranges(self.undecided)}: undecided within the time" if self.undecided else ""
        return "; ".join(part for part in (below, ruled, unknown) if part)


def prove_interval(
    graph: Graph,
    interval: int,
    *,
    limits: RegisterLimits | None = None,
    most_stages: int | None = None,
    time_limit_s: float = 60.0,
) -> Proof:
    """Decide whether a loop body has a schedule with this interval.

    `limits`: registers that the schedule must get along with. `most_stages`: iterations under way at once (a loop's
    trips at most). `time_limit_s`: the solver's deterministic seconds, about as long as real ones. InputError when
    OR-Tools is missing and needed.

    A schedule that is returned is legal, within the limits, has few stages, and short lifetimes among such.
    """
    bound = least_interval(graph)
    if interval < bound.interval:
        return Proof(interval, "infeasible", None, bound.argument)
    least_stages = least_span(graph, interval) // interval + 1
    enough = sufficient_span(graph, interval) // interval + 2  # one more: an iteration may start in mid-interval
    if most_stages is not None and least_stages > most_stages:
        argument = f"dependences alone need {least_stages} iterations under way at once, of {most_stages}"
        return Proof(interval, "infeasible", None, argument)
    whole = enough if most_stages is None else min(enough, most_stages)
    left = time_limit_s
    for stages in [*range(least_stages, min(least_stages + _FEW_STAGES, whole)), whole]:
        answer, is_exact = _search(graph, interval, stages, limits, left if stages == whole else left / _SHARE)
        left -= answer.effort
        if answer.schedule is not None:
            better, more = _shorten(graph, answer.schedule, limits, max(left, 0) / _SHARE)
            effort = time_limit_s - left + more
            return Proof(interval, "feasible", better, "CP-SAT found a schedule", effort)
    if answer.outcome == "infeasible" and is_exact:
        argument = "CP-SAT searched every schedule" + _conditions(graph, limits, most_stages)
        return Proof(interval, "infeasible", None, argument, time_limit_s - left)
    return Proof(interval, "unknown", None, "CP-SAT came to no end", time_limit_s - left)


def _search(
    graph: Graph, interval: int, stages: int, limits: RegisterLimits | None, time_limit_s: float
) -> tuple[Answer, bool]:
    """The answer for one stage count, and whether it holds when it is "infeasible"."""
    answer = ModuloModel(graph, interval, stages, limits, "most").solve(time_limit_s)
    if answer.schedule is not None:
        _require_legal(graph, answer.schedule, limits)
    if answer.outcome != "infeasible" or limits is None:
        return answer, True
    tight = [rivals for rivals in Lifetimes.of(graph).rivals(limits).values() if not rivals.always_fit]
    if all(rivals.is_exact for rivals in tight):
        return answer, True
    generous = ModuloModel(graph, interval, stages, limits, "least").solve(time_limit_s - answer.effort)
    effort = answer.effort + generous.effort
    if generous.schedule is not None and _fits(graph, generous.schedule, limits):
        _require_legal(graph, generous.schedule, limits)
        return Answer("feasible", generous.schedule, effort), True
    return Answer("infeasible", None, effort), generous.outcome == "infeasible"


def _shorten(
    graph: Graph, found: ModuloSchedule, limits: RegisterLimits | None, time_limit_s: float
) -> tuple[ModuloSchedule, float]:
    """The schedule with shorter lifetimes, in as many stages, and the time that this took."""
    model = ModuloModel(graph, found.interval, found.stages, limits)
    answer = model.shorten(found, time_limit_s)
    if answer.schedule is None:
        return found, answer.effort
    _require_legal(graph, answer.schedule, limits)
    return answer.schedule, answer.effort


def _require_legal(graph: Graph, schedule: ModuloSchedule, limits: RegisterLimits | None) -> None:
    broken = broken_rule(graph, schedule)
    assert broken is None, f"the solver's model lacks a rule: {broken}"
    assert limits is None or _fits(graph, schedule, limits), "the solver's model counts registers wrongly"


def _fits(graph: Graph, schedule: ModuloSchedule, limits: RegisterLimits) -> bool:
    need = register_need(graph, schedule, limits)
    return all(count <= limits.capacity[file] for file, count in need.items())


def _conditions(graph: Graph, limits: RegisterLimits | None, most_stages: int | None) -> str:
    """Under which conditions a search was made, for its argument."""
    parts = []
    if limits is not None:
        rivals = Lifetimes.of(graph).rivals(limits)
        tight = [f"{r.free} {file}" for file, r in rivals.items() if not r.always_fit]
        if tight:
            parts.append(f"with {', '.join(tight)} registers free")
    if most_stages is not None:
        parts.append(f"with at most {most_stages} iterations under way")
    return " " + " and ".join(parts) if parts else ""


def best_interval(
    graph: Graph,
    known: ModuloSchedule,
    *,
    limits: RegisterLimits | None = None,
    most_stages: int | None = None,
    time_limit_s: float = 60.0,
    progress: Progress = lambda _: None,
) -> BestInterval:
    """Prove that the interval of a known schedule is minimal, or improve it as far as the time allows.

    Intervals are tried from the lower bound upwards, since the first that has a schedule is then the smallest; after
    one that stays undecided, half-way between the bound and the best known one. Parameters as of `prove_interval`;
    the time is for all intervals together. Nothing is searched, and OR-Tools not needed, where the bound is reached.
    """
    bound = least_interval(graph)
    best, proofs, left = known, [], time_limit_s
    waiting = list(range(bound.interval, known.interval))
    stuck = False
    while waiting and left > 0:
        interval = waiting.pop(len(waiting) // 2 if stuck else 0)
        progress(f"II {interval}")
        share = left if len(waiting) == 0 else left / _SHARE
        proof = prove_interval(graph, interval, limits=limits, most_stages=most_stages, time_limit_s=share)
        proofs.append(proof)
        left -= proof.effort
        stuck = stuck or proof.outcome == "unknown"
        if proof.schedule is not None:
            best = proof.schedule
            waiting = [other for other in waiting if other < interval]
    return BestInterval(best, known, bound, tuple(proofs))


def _ranges(numbers: tuple[int, ...]) -> str:
    """As "16, 18–20"."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}–{r[-1]}" for r in runs)
