"""The boxed result: as the published guide prints it, with our figures."""

from __future__ import annotations

import pytest
from result_cases import ladder

from xattn.bench.verdict import box, verdicts
from xattn.errors import InputError


def test_the_box_is_the_guides() -> None:
    record = ladder(baseline=4_019_400, vectorized=1_605_600)  # 2.233 and 0.892 ms at 1.8 GHz: the guide's example
    (_, verdict) = verdicts(record, "baseline", 2.0)
    assert verdict.speedup == pytest.approx(2.233 / 0.892) and verdict.achieved
    assert box(verdict).splitlines() == [
        "╔════════════════════════════════════╗",
        "║  VECTORIZED ATTENTION RESULTS      ║",
        "╚════════════════════════════════════╝",
        "Baseline:    2.233ms",
        "Vectorized:  0.892ms",
        "Speedup:     2.50x",
        "Target:      2x",
        "Status:      ✅ ACHIEVED",
        "Times:       simulated, at 1.8 GHz, without DMA and launch",
    ]


def test_a_missed_target_is_to_be_investigated() -> None:
    (tiled, vectorized) = verdicts(ladder(), "baseline", 2.0)
    assert (tiled.speedup, tiled.achieved, vectorized.speedup, vectorized.achieved) == (1.5, False, 3.0, True)
    assert "Status:      ⚠️ INVESTIGATE" in box(verdicts(ladder(vectorized=1501), "baseline", 2.0)[1])
    exactly = verdicts(ladder(vectorized=1500), "baseline", 2.0)[1]
    assert exactly.achieved


def test_without_a_target_there_is_no_status() -> None:
    text = box(verdicts(ladder(), "tiled", None)[0])
    assert "Status" not in text and "Target" not in text and "Tiled:" in text and "Speedup:   0.67x" in text


def test_nothing_to_stand_against() -> None:
    with pytest.raises(InputError, match="lut was not measured"):
        verdicts(ladder(), "lut", 2.0)
    with pytest.raises(InputError, match="recorded was not measured"):
        verdicts(ladder(), "recorded", 2.0)  # recorded is a 64×64 tile
