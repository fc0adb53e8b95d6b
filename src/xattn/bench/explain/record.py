"""The report as data, in the order in which it is read. Cycles are simulated; null stands for what is not known."""

from __future__ import annotations

import msgspec


class BoundRecord(msgspec.Struct, kw_only=True):
    """The MAC bound: how long the multiplier alone would take."""

    cycles: float
    """At 256 int8 multiply-accumulates a cycle."""
    macs: int
    fraction: float
    """Of the cycles taken, how much the bound is."""
    basis: str
    """Where the number of multiply-accumulates comes from."""


class SlotRecord(msgspec.Struct, kw_only=True):
    """One slot: operations issued, and their share of cycles over the run and in the hottest loop."""

    slot: str
    operations: int
    share: float
    share_in_hottest_loop: float | None


class PortRecord(msgspec.Struct, kw_only=True):
    """One port or unit: cycles in which an operation held it for itself."""

    port: str
    what: str
    cycles: int
    share: float


class LimitRecord(msgspec.Struct, kw_only=True):
    """What bounds the run as a whole: the slot or port that is taken most."""

    unit: str
    share: float
    empty_share: float
    """Of the cycles, those in which nothing is issued (latency, delay slots) or the core stalls."""


class LoopRecord(msgspec.Struct, kw_only=True):
    """One loop. Outer loops come before inner ones; `depth` counts the loops around it."""

    name: str
    where: str
    """Source line, or function and offset."""
    address: int
    depth: int
    innermost: bool
    hardware: bool
    """Closed by the loop registers, not by a branch."""
    interval: float
    """II: cycles from one iteration to the next, stalls and inner loops included."""
    stalls: float
    """Of those, stalls."""
    resource_minimum: int
    resource_unit: str
    """The slot or port that is taken most in the loop."""
    recurrence_minimum: int | None
    """From dependences round the loop; null where the iterations do not all go one way."""
    stages: int | None
    """Iterations under way at once; null where the compiler's schedule is not known."""
    trips: float
    """Iterations each time the loop is entered, those in prologue and epilogue included where known."""
    entries: int
    cycles: int
    """All that is spent in it: prologue, epilogue and stalls, inner loops and called functions included."""
    share: float
    fill_cycles: int | None
    """Of the cycles, those in prologue and epilogue; null where not known."""


class AccessRecord(msgspec.Struct, kw_only=True):
    """One of the operations whose meeting cost a stall."""

    where: str
    address: int
    slot: str
    operation: str
    array: str | None
    line: int | None


class StallRecord(msgspec.Struct, kw_only=True):
    """Cycles lost to one cause at one place: `bank` (accesses to the same bank in one cycle) or `lock`."""

    cause: str
    cycles: int
    share: float
    accesses: list[AccessRecord]


class RegisterRecord(msgspec.Struct, kw_only=True):
    """One register file: how many of its registers the code names, and how many are live at once at most."""

    file: str
    limit: int
    named: int
    live: int
    live_in_hottest_loop: int | None


class TimelineRecord(msgspec.Struct, kw_only=True):
    """The body of the hottest loop: for each slot the operation of each cycle, empty where there is none."""

    loop: str
    cycles: int
    slots: dict[str, list[str]]
    stalls: list[float]
    """Stalls at each cycle, per pass."""
    letters: dict[str, str]
    """The letter that stands for each mnemonic in the text."""


class MultiplyRecord(msgspec.Struct, kw_only=True):
    """What multiplied: operations of the vector multiplier with their multiply-accumulates, against scalar ones."""

    vector: int
    vector_macs: int
    """Multiply-accumulates of those whose shape is known."""
    by_shape: dict[str, int]
    scalar: int


class LeverRecord(msgspec.Struct, kw_only=True):
    """Something that would make the program faster, and the cycles that it could save at most."""

    kind: str
    cycles: int
    advice: str


class Explanation(msgspec.Struct, kw_only=True):
    """The whole report."""

    xattn: str
    """Version of xattn."""
    name: str
    kind: str
    """"kernel" or "elf"."""
    tokens: int | None
    width: int | None
    input: str
    cycles_are: str
    exact: bool | None
    """Whether the output equals the integer model's; null for ELF files."""
    cycles: int
    bundles: int
    stall_cycles: int
    bound: BoundRecord
    limit: LimitRecord
    slots: list[SlotRecord]
    ports: list[PortRecord]
    loops: list[LoopRecord]
    stalls: list[StallRecord]
    registers: list[RegisterRecord]
    timeline: TimelineRecord | None
    multiplies: MultiplyRecord
    advice: str
    levers: list[LeverRecord]
    """All that were found, the largest first; `advice` is the first."""
    findings: list[str]


def as_json(explanation: Explanation) -> bytes:
    """The report as indented JSON with a newline at its end."""
    return msgspec.json.format(msgspec.json.encode(explanation), indent=2) + b"\n"
