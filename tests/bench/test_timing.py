"""Statistics of repeated timings, and the eye on what else the machine does."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest

from xattn.bench import timing
from xattn.bench.statistics import bootstrap_median, summarize
from xattn.bench.timing import OtherLoad, busy_seconds, time_calls
from xattn.errors import InputError

SAMPLES = np.random.default_rng(1).lognormal(0, 0.3, 60).tolist()


def test_a_summary_is_of_its_samples() -> None:
    found = summarize([3.0, 1.0, 2.0, 10.0, 4.0], 2, 0.5, True)
    assert (found.min, found.median, found.p95) == (1.0, 3.0, pytest.approx(8.8))
    assert found.low <= found.median <= found.high and found.samples == [3.0, 1.0, 2.0, 10.0, 4.0]
    assert (found.warmup, found.other_load, found.disturbed) == (2, 0.5, True)
    with pytest.raises(InputError, match="no samples"):
        summarize([], 1, None, False)


def test_the_interval_is_the_one_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats", reason="NOT CHECKED against scipy's bootstrap: scipy is not installed")
    wanted = stats.bootstrap((SAMPLES,), np.median, method="percentile", n_resamples=20_000, rng=3).confidence_interval
    assert bootstrap_median(SAMPLES) == pytest.approx((wanted.low, wanted.high), rel=0.03)
    assert bootstrap_median(SAMPLES) == bootstrap_median(SAMPLES)
    assert bootstrap_median([2.0]) == (2.0, 2.0)


def test_the_interval_covers_the_median_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    intervals = [bootstrap_median(rng.exponential(1.0, 40)) for _ in range(120)]
    covered = np.mean([low <= np.log(2) <= high for low, high in intervals])
    assert 0.88 <= covered <= 0.99


def test_a_sleep_takes_what_it_sleeps() -> None:
    found = time_calls(lambda: time.sleep(0.01), budget=0.2)
    assert 0.01 <= found.min <= found.median <= found.p95 and found.median < 0.1
    assert 5 <= len(found.samples) <= 20


def test_short_calls_are_timed_several_at_once() -> None:
    count = 0

    def call() -> None:
        nonlocal count
        count += 1

    found = time_calls(call, budget=0.05, max_samples=10)
    assert len(found.samples) <= 10 and count > 20 * len(found.samples)
    assert found.min < 1e-4


def test_there_are_samples_also_past_the_budget() -> None:
    assert len(time_calls(lambda: time.sleep(0.02), budget=1e-6, warmup=1).samples) == 5
    with pytest.raises(InputError, match="budget 0 s, warm-up 2, samples 200: expected"):
        time_calls(time.time, budget=0)


STAT = """cpu  1000 0 0 0 0 0 0 0 0 0
cpu0 100 20 30 9999 8888 4 5 6 77 88
cpu1 200 0 0 1 1 0 0 0 0 0
intr 1 2 3
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="NOT CHECKED: /proc/stat is Linux's")
def test_busy_time_is_that_of_the_usable_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    tick = os.sysconf("SC_CLK_TCK")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0})
    assert busy_seconds(STAT) == pytest.approx((100 + 20 + 30 + 4 + 5 + 6) / tick)  # neither idle nor guest time
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1})
    assert busy_seconds(STAT) == pytest.approx(365 / tick)


def test_own_work_is_not_other_load(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([(10.0, 100.0, 5.0), (12.0, 103.0, 6.0), (12.0, 103.0, 6.0)])
    monkeypatch.setattr(timing, "_now", lambda: next(moments))
    assert OtherLoad().processors() == pytest.approx((3 - 1) / 2)
    monkeypatch.setattr(timing, "_now", lambda: None)
    assert OtherLoad().processors() is None


@pytest.mark.parametrize(("load", "disturbed"), [(0.1, False), (0.3, True), (None, False)])
def test_a_busy_machine_is_said(load: float | None, disturbed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OtherLoad, "processors", lambda _self: load)
    found = time_calls(lambda: time.sleep(0.001), budget=0.01)
    assert (found.other_load, found.disturbed) == (load, disturbed)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="NOT CHECKED: /proc/stat is Linux's")
def test_another_busy_program_is_seen() -> None:
    watch = OtherLoad()
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.5: pass"], check=True)
    load = watch.processors()
    assert load is not None and load > 0.2
