"""Semaphore locks: a number that acquiring lowers and releasing raises; who cannot have it waits in line.

An acquire of -n waits for a value of at least n, one of +n for exactly n; both take n. A value has 6 bits, 0 to 63.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from xattn.sim.array.events import Scheduler, Wait

MOST = 63


@dataclass(frozen=True, slots=True)
class Use:
    """Who last acquired or released a lock, and in which cycle."""

    who: str
    cycle: int

    def __str__(self) -> str:
        return f"by {self.who} in cycle {self.cycle:,}"


@dataclass(slots=True)
class _Waiter:
    who: str
    value: int
    wait: Wait
    delay: int


@dataclass
class Lock:
    """One lock: `name` as reports call it, its value, who waits for it, and who used it last."""

    name: str
    scheduler: Scheduler
    complain: Callable[[str], None]
    value: int = 0
    waiters: list[_Waiter] = field(default_factory=list)
    acquired: Use | None = None
    released: Use | None = None
    changes: list[tuple[int, int]] = field(default_factory=list)  # (cycle, value from then on), for the record

    def grants(self, wanted: int) -> bool:
        """Whether an acquire of `wanted` would be granted now."""
        return self.value == wanted if wanted > 0 else self.value >= -wanted

    def acquire(self, wanted: int, who: str, delay: int = 0) -> Wait | None:
        """Take the lock if it is free for `wanted`; otherwise stand in line for it: wait for what this returns.

        The wait ends with the lock taken, and `delay` cycles after the release when a DMA channel released it.
        """
        if self.grants(wanted):
            self._take(wanted, who)
            return None
        wait = Wait(self.name, lambda: self.wanted_text(wanted))
        self.waiters.append(_Waiter(who, wanted, wait, delay))
        return wait

    def release(self, amount: int, who: str, by_dma: bool = False) -> None:
        """Raise the value and serve those in line, the first come first."""
        self.value += amount
        self.released = Use(who, self.scheduler.now)
        if not 0 <= self.value <= MOST:
            self.complain(
                f"{who} releases {self.name} by {amount:+d}, which makes {self.value}; a lock holds 0 to {MOST}"
            )
            self.value = min(max(self.value, 0), MOST)
        self.changes.append((self.scheduler.now, self.value))
        self.serve(by_dma)

    def serve(self, by_dma: bool = False) -> None:
        """Grant the lock to those in line who can have it."""
        for waiter in list(self.waiters):
            if waiter.wait.process is None:  # stopped while it waited
                self.waiters.remove(waiter)
            elif self.grants(waiter.value):
                self.waiters.remove(waiter)
                self._take(waiter.value, waiter.who)
                self.scheduler.fire(waiter.wait, self.scheduler.now + (waiter.delay if by_dma else 0))

    def _take(self, wanted: int, who: str) -> None:
        self.value -= abs(wanted)
        self.changes.append((self.scheduler.now, self.value))
        self.acquired = Use(who, self.scheduler.now)

    def wanted_text(self, wanted: int) -> str:
        """What an acquire waits for, in words."""
        condition = f"= {wanted}" if wanted > 0 else f"≥ {-wanted}"
        uses = [f"last {verb} {use}" for verb, use in (("released", self.released), ("taken", self.acquired)) if use]
        return f"{self.name} {condition} (it is {self.value}; {', '.join(uses) or 'nobody used it yet'})"
