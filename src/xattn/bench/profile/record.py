"""The profile as data. Cycles are simulated."""

from __future__ import annotations

import msgspec

from xattn.bench.stages import StagesRecord


class Profile(msgspec.Struct, kw_only=True):
    """Where the cycles of one run of a kernel went, by stage of the computation."""

    xattn: str
    """Version of xattn."""
    name: str
    tokens: int
    width: int
    input: str
    cycles_are: str
    exact: bool
    """Whether the output equals the integer model's."""
    clock_hz: float
    seconds: float
    stall_cycles: int
    stages: StagesRecord
    findings: list[str]


def as_json(profile: Profile) -> bytes:
    """The profile as indented JSON with a newline at its end."""
    return msgspec.json.format(msgspec.json.encode(profile), indent=2) + b"\n"
