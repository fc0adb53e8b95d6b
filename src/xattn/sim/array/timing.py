"""What data movement costs. The figures, with their sources and errors, stand in tables/array_timing.json."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import msgspec


class Constant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One published figure: value and unit, where it is from, how far off it may be, and what it is."""

    name: str
    value: int
    unit: str
    source: str
    error: str
    what: str


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    about: list[str]
    constants: list[Constant]


@dataclass(frozen=True)
class ArrayTiming:
    """The figures by name; `published()` gives those of the table, `dataclasses.replace` other ones."""

    channel_start: int
    bd_load: int
    bd_chain: int
    memory_latency: int
    lock_operation: int
    core_wakes: int
    switch_local: int
    switch_external: int
    hop: int
    slave_fifo: int
    master_fifo_local: int
    master_fifo_external: int
    s2mm_fifo: int
    mm2s_fifo: int
    queue_depth: int
    shim_mm2s_cold: int
    shim_mm2s_task: int
    shim_s2mm_cold: int
    shim_s2mm_task: int
    shim_mm2s_percent: int
    shim_s2mm_percent: int
    ddr_bytes: int
    ddr_burst: int
    operation: int
    push_idle: int
    push_busy: int
    token: int


@cache
def constants() -> tuple[Constant, ...]:
    """Every figure with its source."""
    data = files("xattn.sim.array").joinpath("tables/array_timing.json").read_bytes()
    return tuple(msgspec.json.decode(data, type=_Table).constants)


@cache
def published() -> ArrayTiming:
    """The figures of the table."""
    return ArrayTiming(**{constant.name: constant.value for constant in constants()})
