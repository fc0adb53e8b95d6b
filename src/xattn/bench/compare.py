"""Two results side by side: what changed, and what of it is worse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from xattn.bench.figures import REL_L2, Figure, figures_of
from xattn.bench.record import BenchRecord, MeasuredRecord, Result, kind_of

Verdict = Literal["same", "better", "worse", "failed", "new", "gone", "not judged"]


@dataclass(frozen=True)
class Change:
    """A figure in two results."""

    subject: str
    metric: str
    origin: str
    before: float | None
    after: float | None
    verdict: Verdict

    @property
    def ratio(self) -> float | None:
        """After over before, minus 1; None where one is missing or the first is 0."""
        if self.before is None or self.after is None or self.before == 0:
            return None
        return self.after / self.before - 1


@dataclass(frozen=True)
class Comparison:
    """All changes from one result to another."""

    changes: tuple[Change, ...]
    notes: tuple[str, ...]
    """What stands in the way of a comparison: other inputs, another processor."""

    @property
    def worse(self) -> list[Change]:
        """What got worse by more than the threshold, or failed."""
        return [change for change in self.changes if change.verdict in ("worse", "failed")]


def compare(a: Result, b: Result, threshold: float = 0.0, measured_threshold: float = 10.0) -> Comparison:
    """The figures of `a` and of `b`.

    A simulated or computed figure is worse when it rose by more than `threshold` (percent). A measured one must have
    risen by more than `measured_threshold`, with intervals that do not overlap, on the same processor.
    """
    before, after = ({figure.key: figure for figure in figures_of(result)} for result in (a, b))
    same_cpu, same_input = a.provenance.cpu == b.provenance.cpu, _input(a) == _input(b)
    changes = []
    for key in dict.fromkeys([*before, *after]):
        old, new = before.get(key), after.get(key)
        verdict = _verdict(old, new, threshold, measured_threshold)
        comparable = same_input if key[1] == REL_L2 else same_cpu or key[2] != "measured"
        if verdict in ("better", "worse") and not comparable:
            verdict = "not judged"
        changes.append(Change(*key, None if old is None else old.value, None if new is None else new.value, verdict))
    return Comparison(tuple(changes), tuple(_notes(a, b, same_cpu, same_input)))


def _verdict(old: Figure | None, new: Figure | None, threshold: float, measured: float) -> Verdict:
    if old is None:
        return "new"
    if new is None:
        return "gone"
    if new.value is None:
        return "failed" if old.value is not None else "same"
    if old.value is None:
        return "better"
    if new.origin != "measured":
        return _judge(old.value, new.value, threshold)
    verdict = _judge(old.value, new.value, measured)
    return verdict if _apart(old, new) else "same"


def _judge(old: float, new: float, threshold: float) -> Verdict:
    if (new - old) * 100 > old * threshold:
        return "worse"
    return "better" if new < old else "same"


def _apart(old: Figure, new: Figure) -> bool:
    """Whether two measured figures' intervals do not overlap."""
    if old.low is None or old.high is None or new.low is None or new.high is None:
        return False
    return new.low > old.high or new.high < old.low


def _input(result: Result) -> object:
    """What makes errors comparable: the same tensors."""
    return result.input if isinstance(result, BenchRecord) else (result.description, result.tokens, result.width)


def _notes(a: Result, b: Result, same_cpu: bool, same_input: bool) -> list[str]:
    notes = []
    if kind_of(a) != kind_of(b):
        return [f"results of different kinds, {kind_of(a)} and {kind_of(b)}, have little in common"]
    if not same_input:
        notes.append("the inputs differ: errors are not judged, and cycles may depend on data")
    if isinstance(a, BenchRecord) and isinstance(b, BenchRecord) and a.device != b.device:
        notes.append(f"the devices differ: {a.device} and {b.device}")
    if not same_cpu and isinstance(a, MeasuredRecord):
        notes.append(f"measured on {a.provenance.cpu} and {b.provenance.cpu}: measured times are not judged")
    return notes
