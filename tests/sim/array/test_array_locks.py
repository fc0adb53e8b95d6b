"""Semaphore locks: who gets them, and in which order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from xattn.sim.array.events import Scheduler
from xattn.sim.array.locks import Lock


def lock_with(value: int) -> tuple[Lock, Scheduler, list[str]]:
    scheduler, complaints = Scheduler(), []
    return Lock("lock 3", scheduler, complaints.append, value), scheduler, complaints


def taker(lock: Lock, wanted: int, who: str, log: list, delay: int = 0):
    wait = lock.acquire(wanted, who, delay)
    if wait is not None:
        yield wait
    log.append((who, lock.scheduler.now))


def giver(lock: Lock, amounts: list[tuple[int, int]], by_dma: bool = False):
    for cycle, amount in amounts:
        yield cycle
        lock.release(amount, "giver", by_dma)


def test_at_least_and_exactly() -> None:
    lock, _, _ = lock_with(2)
    assert lock.acquire(1, "a") is not None and lock.value == 2  # exactly 1
    lock, _, _ = lock_with(2)
    assert lock.acquire(-1, "a") is None and lock.value == 1  # at least 1
    assert lock.acquire(1, "b") is None and lock.value == 0
    assert lock.acquire(-1, "c") is not None


def test_those_in_line_are_served_first_come_first_and_dma_releases_reach_cores_later() -> None:
    lock, scheduler, _ = lock_with(0)
    log: list = []
    for number in range(3):
        scheduler.start(f"p{number}", taker(lock, -1, f"p{number}", log, delay=15 if number == 1 else 0))
    scheduler.start("giver", giver(lock, [(10, 1), (20, 2)], by_dma=True))
    scheduler.run(1000)
    assert log == [("p0", 10), ("p2", 20), ("p1", 35)] and lock.value == 0


def test_one_in_line_for_more_does_not_hold_up_the_others() -> None:
    lock, scheduler, _ = lock_with(0)
    log: list = []
    scheduler.start("big", taker(lock, -3, "big", log))
    scheduler.start("small", taker(lock, -1, "small", log))
    scheduler.start("giver", giver(lock, [(5, 1), (6, 3)]))
    scheduler.run(1000)
    assert log == [("small", 5), ("big", 6)]


def test_a_stopped_process_leaves_the_line() -> None:
    lock, scheduler, _ = lock_with(0)
    log: list = []
    gone = scheduler.start("gone", taker(lock, -1, "gone", log))
    scheduler.run(10)
    scheduler.stop(gone)
    scheduler.start("next", taker(lock, -1, "next", log))
    scheduler.start("giver", giver(lock, [(20, 1)]))
    scheduler.run(1000)
    assert log == [("next", 20)] and lock.value == 0 and not lock.waiters


def test_a_value_beyond_six_bits_is_complained_about() -> None:
    lock, _, complaints = lock_with(60)
    lock.release(3, "a")
    assert not complaints
    lock.release(1, "core (0,2)")
    assert "core (0,2) releases lock 3 by +1, which makes 64" in complaints[0] and lock.value == 63
    lock.release(-64, "a")
    assert len(complaints) == 2 and lock.value == 0


def test_the_text_says_who_used_it_last() -> None:
    lock, scheduler, _ = lock_with(1)
    assert lock.wanted_text(-2) == "lock 3 ≥ 2 (it is 1; nobody used it yet)"
    scheduler.now = 1234
    lock.acquire(-1, "core (2,3)")
    assert lock.wanted_text(1) == "lock 3 = 1 (it is 0; last taken by core (2,3) in cycle 1,234)"


@given(st.integers(0, 5), st.lists(st.integers(1, 3), max_size=8), st.lists(st.integers(1, 3), max_size=8))
def test_what_is_taken_was_there(value: int, takes: list[int], gives: list[int]) -> None:
    lock, scheduler, _ = lock_with(value)
    log: list = []
    for number, amount in enumerate(takes):
        scheduler.start(f"p{number}", taker(lock, -amount, f"{amount}", log))
    scheduler.start("giver", giver(lock, list(enumerate(gives, start=1))))
    scheduler.run(1000)
    taken = sum(int(who) for who, _ in log)
    assert lock.value == value + sum(gives) - taken >= 0
    assert all(waiter.value < -lock.value for waiter in lock.waiters)
