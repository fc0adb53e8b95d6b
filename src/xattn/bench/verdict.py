"""The boxed result: one kernel against another, and whether a target is reached."""

from __future__ import annotations

from dataclasses import dataclass

from xattn.bench.record import BenchRecord
from xattn.errors import InputError

RECORDED = "recorded"
_WIDTH = 36


@dataclass(frozen=True)
class Verdict:
    """What a kernel takes beside another one: simulated seconds of one tile at the clock."""

    kernel: str
    against: str
    clock_hz: float
    seconds: float
    against_seconds: float
    target: float | None

    @property
    def speedup(self) -> float:
        """How many times the kernel is as fast."""
        return self.against_seconds / self.seconds

    @property
    def achieved(self) -> bool:
        """Whether the target is reached; True without one."""
        return self.target is None or self.speedup >= self.target


def verdicts(record: BenchRecord, against: str, target: float | None) -> list[Verdict]:
    """One for each kernel of the record that attends and passed, but for the one that the others stand against.

    `against` is a kernel's name, or "recorded" for the published kernel's recorded cycles. InputError when it is not in
    the record or failed.
    """
    seconds = {k.name: k.seconds for k in record.kernels if k.computes == "attention" and k.passed and k.seconds}
    base = record.recorded[0].seconds if against == RECORDED and record.recorded else seconds.get(against)
    if base is None:
        raise InputError(f"nothing to stand against: {against} was not measured, or is not exact")
    return [
        Verdict(name, against, record.clock_hz, taken, base, target)
        for name, taken in seconds.items()
        if name != against
    ]


def box(verdict: Verdict) -> str:
    """The result as the published guide prints it; the times say that they are simulated."""
    title = f"  {verdict.kernel.upper()} ATTENTION RESULTS".ljust(_WIDTH)
    rows = [
        (verdict.against.capitalize(), f"{verdict.against_seconds * 1e3:.3f}ms"),
        (verdict.kernel.capitalize(), f"{verdict.seconds * 1e3:.3f}ms"),
        ("Speedup", f"{verdict.speedup:.2f}x"),
    ]
    if verdict.target is not None:
        rows.append(("Target", f"{verdict.target:g}x"))
        rows.append(("Status", "✅ ACHIEVED" if verdict.achieved else "⚠️ INVESTIGATE"))
    rows.append(("Times", f"simulated, at {verdict.clock_hz / 1e9:g} GHz, without DMA and launch"))
    width = max(len(name) for name, _ in rows) + 2
    frame = "═" * len(title)
    return "\n".join(
        [f"╔{frame}╗", f"║{title}║", f"╚{frame}╝", *(f"{name}:".ljust(width) + f" {text}" for name, text in rows)]
    )
