"""What an instruction stream does too early, too late or too often: queues, buffer descriptors, waits, columns.

All rules look at the replay of a stream, that is at tasks and what proves them done, not at how it was written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache

from xattn.array.instructions import InstructionStream
from xattn.array.stream_tasks import QUEUE_DEPTH, HostBytes, Replay, Task, replay
from xattn.array.transfers import ShimChannel
from xattn.lint.finding import Found
from xattn.lint.subject import Subject


@lru_cache(maxsize=8)
def tasks_of(stream: InstructionStream) -> Replay:
    """The replay of a stream."""
    return replay(stream)


def _replays(subject: Subject) -> Iterator[tuple[str, Replay]]:
    for named in subject.streams:
        yield named.name, tasks_of(named.content)


def _channel(channel: ShimChannel) -> str:
    return f"{channel.name} of column {channel.column}"


def deep_queues(subject: Subject) -> Iterator[Found]:
    """Channels on which more tasks are started than their queue holds, before any is known to be done."""
    for name, found in _replays(subject):
        for channel in found.channels:
            tasks = found.on(channel)
            counts = {task.started: sum(t.is_pending(task.started) for t in tasks) + 1 for task in tasks}
            worst = max(counts, key=lambda index: counts[index])
            if counts[worst] > QUEUE_DEPTH:
                first = next(index for index, count in counts.items() if count > QUEUE_DEPTH)
                yield Found(
                    f"{name}, operation {first}",
                    f"{_channel(channel)} has up to {counts[worst]} tasks started and not waited for, and its queue "
                    f"holds {QUEUE_DEPTH}: wait for an earlier one first, or let one task repeat",
                )


def rewritten_bds(subject: Subject) -> Iterator[Found]:
    """Shim BDs that are written again while a task that uses them may still run."""
    for name, found in _replays(subject):
        by_bd: dict[tuple[int, int], list[Task]] = defaultdict(list)
        for task in found.tasks:
            for bd in task.bds:
                by_bd[task.channel.column, bd].append(task)
        hit: dict[tuple[int, int], tuple[int, Task]] = {}
        for write in found.writes:
            for task in by_bd[write.column, write.bd]:
                if task.is_pending(write.index):
                    hit.setdefault((write.column, write.bd), (write.index, task))
        for (column, bd), (index, task) in hit.items():
            yield Found(
                f"{name}, operation {index}",
                f"BD {bd} of column {column} is written again, and nothing shows that the task of {task.channel.name} "
                f"that operation {task.started} started with it is done: wait for its token before, or take another BD",
            )


def waits_without_token(subject: Subject) -> Iterator[Found]:
    """Waits that no started task ends: the run hangs there."""
    for name, found in _replays(subject):
        for wait in found.waits:
            if wait.task is None:
                pending = [task for task in found.on(wait.channel) if task.is_pending(wait.index)]
                why = (
                    f"of its {len(pending)} tasks under way none issues a token"
                    if pending
                    else "no task is under way there"
                )
                yield Found(
                    f"{name}, operation {wait.index}",
                    f"the wait for a token of {_channel(wait.channel)} never ends: {why}; start the transfer before "
                    "it, with issue_token",
                )


def outputs_not_awaited(subject: Subject) -> Iterator[Found]:
    """Transfers to the host that may still run when the stream ends."""
    for name, found in _replays(subject):
        for channel in found.channels:
            late = [task for task in found.on(channel) if task.ended is None]
            if late and not channel.to_array:
                numbers = ", ".join(dict.fromkeys(str(m.argument) for task in late for m in task.moved)) or "unknown"
                yield Found(
                    f"{name}, operation {late[-1].started}",
                    f"{len(late)} transfers of {_channel(channel)} to host buffer {numbers} are not waited for: the "
                    "host may read before they are complete; end the stream with a wait for the last one's token",
                )


def serial_columns(subject: Subject) -> Iterator[Found]:
    """Columns that stand idle while others work from start to end, though they need nothing of those."""
    for name, found in _replays(subject):
        late: dict[int, tuple[int, int]] = {}  # column: (operation that starts it, column that it waits for)
        spans = {column: list(_spans(found, column)) for column in sorted({t.channel.column for t in found.tasks})}
        for column, own in spans.items():
            for other, theirs in spans.items():
                if other != column:
                    gap = _wasted_gap(found, column, own, other, theirs)
                    if gap is not None and (column not in late or gap < late[column][0]):
                        late[column] = gap, other
        if late:
            columns = ", ".join(map(str, late))
            first, other = min(late.values())
            yield Found(
                f"{name}, operation {first}",
                f"column{'s' if len(late) > 1 else ''} {columns} start{'' if len(late) > 1 else 's'} only after "
                f"another column (here {other}) was started and waited for, whose results they do not use: they work "
                "one after another; start the transfers of all columns first, then wait",
            )


def _spans(found: Replay, column: int) -> Iterator[tuple[int, int | None]]:
    """From a column's start to the operation that proves it idle again (None: nothing does), in order."""
    tasks = [task for task in found.tasks if task.channel.column == column]
    begin, end, is_open = -1, -1, False
    for task in tasks:
        if begin >= 0 and (is_open or task.started < end):
            is_open = is_open or task.ended is None
            end = max(end, task.ended or 0)
            continue
        if begin >= 0:
            yield begin, end
        begin, end, is_open = task.started, task.ended or 0, task.ended is None
    if begin >= 0:
        yield begin, None if is_open else end


def _wasted_gap(
    found: Replay, column: int, own: list[tuple[int, int | None]], other: int, theirs: list[tuple[int, int | None]]
) -> int | None:
    """The start of a span of `column` before which it stood idle during a whole span of `other`, needlessly."""
    idle_from = -1
    for begin, end in own:
        for start, stop in theirs:
            if stop is None or start <= idle_from or stop >= begin:
                continue
            if not _needs(found, column, (begin, end), other, (start, stop)):
                return begin
        if end is None:
            return None
        idle_from = end
    return None


def _needs(found: Replay, column: int, own: tuple[int, int | None], other: int, theirs: tuple[int, int]) -> bool:
    """Whether the column reads from host memory what the other one has written there."""
    written: list[HostBytes] = [
        moved
        for task in found.tasks
        if task.channel.column == other and not task.channel.to_array and theirs[0] <= task.started <= theirs[1]
        for moved in task.moved
    ]
    return any(
        moved.overlaps(output)
        for task in found.tasks
        if task.channel.column == column
        and task.channel.to_array
        and own[0] <= task.started
        and (own[1] is None or task.started <= own[1])
        for moved in task.moved
        for output in written
    )
