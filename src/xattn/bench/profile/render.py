"""The profile as text: one row a stage, its parts below it, and what overlaps."""

from __future__ import annotations

from collections.abc import Iterator

from xattn.bench.profile.record import Profile
from xattn.bench.stages import StageRecord

_NAME_WIDTH = 30
_REST = "(rest)"
_NOTES = (
    "cycles: in which the stage issues something, or waits for what it issued; alone: in which only it does;",
    "waiting: in which nothing is issued. What stages have alone, what they have at once, and the cycles of no stage",
    "sum up to all cycles.",
)


def as_text(profile: Profile) -> str:
    """The whole profile."""
    return "\n".join([*_title(profile), "", *_table(profile), "", *_NOTES]) + "\n"


def _title(profile: Profile) -> Iterator[str]:
    yield f"{profile.name} {profile.tokens}×{profile.width}: cycles are {profile.cycles_are}"
    verdict = "the output equals the integer model's" if profile.exact else "THE OUTPUT IS WRONG"
    yield f"input: {profile.input}; {verdict}"
    yield from (f"finding: {finding}" for finding in profile.findings)
    yield (
        f"{profile.stages.cycles:,} cycles, {profile.seconds * 1e6:,.2f} µs at {profile.clock_hz / 1e9:g} GHz; "
        f"{profile.stall_cycles:,} of them stalls"
    )


def _table(profile: Profile) -> Iterator[str]:
    stages = profile.stages
    yield _row("stage", "cycles", "share", "alone", "waiting", "µs")
    for stage in stages.stages:
        yield _stage_row(profile, stage.name, stage)
        if len(stage.parts) > 1:
            yield from (_stage_row(profile, f"  {part.name or _REST}", part) for part in stage.parts)
    rows = [("at once: " + " + ".join(overlap.stages), overlap.cycles) for overlap in stages.overlaps]
    for name, cycles in (*rows, ("no stage", stages.outside)):
        yield _row(name, f"{cycles:,}", _percent(cycles / stages.cycles), "", "", _micros(profile, cycles))


def _stage_row(profile: Profile, name: str, stage: StageRecord) -> str:
    return _row(
        name,
        f"{stage.cycles:,}",
        _percent(stage.share),
        f"{stage.alone:,}",
        f"{stage.waiting:,}",
        _micros(profile, stage.cycles),
    )


def _row(name: str, *cells: str) -> str:
    return f"{name:<{_NAME_WIDTH}}" + "".join(f"{cell:>11}" for cell in cells)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.001 or not share else f"{100 * share:.2g} %"


def _micros(profile: Profile, cycles: int) -> str:
    return f"{cycles / profile.clock_hz * 1e6:,.2f}"
