"""What a run on the array gave: contents, cycles by tile and channel and what they waited for, or why it is stuck."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from xattn.array.registers import TileKind
from xattn.sim.array.context import Activity, Context, Span
from xattn.sim.array.controller import Controller
from xattn.sim.array.cores import TileCore
from xattn.sim.array.dma import Channel, Transfer
from xattn.sim.array.events import Process
from xattn.sim.array.findings import ArrayFinding, ArrayKind
from xattn.sim.array.locks import Lock
from xattn.sim.array.memory import HostMemory
from xattn.sim.findings import Finding


@dataclass(frozen=True)
class CoreReport:
    """A core's cycles in a run: executing (`busy`) and waiting, by lock. `state`: what it was doing at the end."""

    column: int
    row: int
    busy: int
    waits: dict[str, int]
    lock_operations: int
    state: str
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True)
class ChannelReport:
    """A DMA channel's cycles in a run: at work (`busy`) and waiting, by what for; what it moved. `name`: "S2MM 0"."""

    name: str
    column: int
    row: int
    busy: int
    waits: dict[str, int]
    words: int
    bds: int
    tasks: int


@dataclass(frozen=True)
class ArrayResult:
    """What a run took. Cycles are simulated; `cycles` counts from the first instruction to the end of the last one.

    `cores`: exact for what a core executes; `channels` and `cycles` rest on published figures for data movement.
    `transfers`: tasks of the shim's DMA channels. `read`, `written`: bytes from and to host memory. `spans`: who did
    what when, in the array's cycles from `begin` on; `locks`: (cycle, value from then on) of those that changed.
    """

    buffers: list[bytes]
    begin: int
    cycles: int
    operations: int
    cores: list[CoreReport]
    channels: list[ChannelReport]
    transfers: list[Transfer]
    read: int
    written: int
    findings: list[ArrayFinding]
    spans: list[Span]
    locks: dict[str, list[tuple[int, int]]]


def collect(
    context: Context,
    controller: Controller,
    cores: Iterable[TileCore],
    channels: Sequence[Channel],
    locks: Iterable[Lock],
    host: HostMemory,
    moved: tuple[int, int],
) -> ArrayResult:
    """The result of the run that has just ended. `moved`: bytes read from and written to host memory."""
    end = context.now if context.end is None else context.end
    for channel in channels:
        if channel.tile.kind is TileKind.SHIM and not channel.sends and not channel.idle:
            cause = "it still waits for words at the end of the run: what it should write is not complete"
            context.report(ArrayKind.UNFINISHED, channel.name, cause)
    return ArrayResult(
        buffers=host.contents(),
        begin=context.begin,
        cycles=end - context.begin,
        operations=controller.operations,
        cores=[_core(core, context, end) for core in cores if core.process is not None],
        channels=[_channel(channel, context, end) for channel in channels if channel.activity.bds],
        transfers=sorted((t for channel in channels for t in channel.activity.transfers), key=lambda t: t.pushed),
        read=moved[0],
        written=moved[1],
        findings=context.findings.all(),
        spans=list(context.spans),
        locks={lock.name: list(lock.changes) for lock in locks},
    )


def _core(core: TileCore, context: Context, end: int) -> CoreReport:
    process = core.process
    state = "ended" if process is None or process.waiting is None else f"waits for {process.waiting.text()}"
    did = core.activity
    waits = _with_last(did, process, context, end)
    return CoreReport(*core.place, did.busy, waits, did.lock_operations, state, core.core.findings)


def _channel(channel: Channel, context: Context, end: int) -> ChannelReport:
    did = channel.activity
    waits = _with_last(did, channel.process, context, end)
    return ChannelReport(channel.label, *channel.tile.place, did.busy, waits, did.words, did.bds, did.tasks)


def _with_last(did: Activity, process: Process | None, context: Context, end: int) -> dict[str, int]:
    """What was waited for, with what is still waited for at the end of the run."""
    whole = Activity(waits=dict(did.waits))
    if process is not None and process.waiting is not None and not process.waiting.idle:
        whole.wait(process.waiting.what, end - max(process.since, context.begin))
    return whole.waits


def deadlock_text(context: Context) -> str:
    """Who waits for what, when nothing moves any more and the instruction stream has not ended."""
    where = f"cycle {context.now - context.begin:,}"
    lines = [f"deadlock in {where}: nothing moves, and the instruction stream has not ended"]
    for process in context.scheduler.processes:
        if process.waiting is not None and not process.waiting.idle:
            since = max(process.since - context.begin, 0)
            lines.append(f"  {process.name} waits since cycle {since:,} for {process.waiting.text()}")
    return "\n".join(lines)
