"""The end of a stream: the FIFO in front of an S2MM channel, filled by senders, emptied by the channel.

Words flow at one a cycle at most. Whoever takes words says at the start how many it is going to take; from then on its
sender may send as many without waiting, since a reader that has begun keeps pace with any sender. So a transfer takes a
few events, not one a word, and its cycles are those of a word-by-word simulation.
"""

from __future__ import annotations

from collections import deque

from xattn.sim.array.events import Scheduler, Wait
from xattn.sim.array.memory import Words


class Sink:
    """Words on their way to an S2MM channel. `name` is the channel's."""

    def __init__(self, name: str, scheduler: Scheduler):
        self.name, self._scheduler = name, scheduler
        self._pieces: deque[tuple[int, Words]] = deque()  # (cycle in which the first word can be taken, words)
        self._pushed = self._promised = 0
        self._reader: Wait | None = None
        self._senders: list[Wait] = []

    def room(self, capacity: int) -> int:
        """How many words may be sent now over a route that holds `capacity` words."""
        return capacity + self._promised - self._pushed

    def push(self, arrival: int, data: Words) -> None:
        """Send words: the first can be taken in cycle `arrival`, the others one a cycle."""
        self._pieces.append((arrival, data))
        self._pushed += len(data)
        if self._reader is not None:
            reader, self._reader = self._reader, None
            self._scheduler.fire(reader)

    def promise(self, count: int) -> None:
        """The reader is going to take `count` words more, from now on and without a pause."""
        self._promised += count
        senders, self._senders = self._senders, []
        for sender in senders:
            self._scheduler.fire(sender)

    def take(self, most: int) -> tuple[int, Words] | None:
        """Up to `most` words and the cycle in which the first can be taken; None when nothing was sent."""
        if not self._pieces:
            return None
        arrival, data = self._pieces.popleft()
        if len(data) > most:
            self._pieces.appendleft((arrival + most, data[most:]))
            data = data[:most]
        return arrival, data

    def when_sent(self, wait: Wait) -> None:
        """Fire this when words are sent."""
        self._reader = wait

    def when_room(self, wait: Wait) -> None:
        """Fire this when there may be room."""
        self._senders.append(wait)
