"""The programs recorded on a Phoenix core on both engines: equal to each other, and as equal to the chip as before."""

from __future__ import annotations

from pathlib import Path

import pytest
import silicon
from engines import Shadow

from xattn.sim.core import Core

pytest.importorskip("llvmlite", reason="NOT CHECKED: the translator needs llvmlite (pip install 'xattn[jit]')")


@pytest.mark.slow
def test_every_recorded_program(facts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shadow = Shadow()
    monkeypatch.setattr(Core, "run", lambda core, address=0, **options: shadow(core, address, **options))
    counts = silicon.compare(facts / "silicon_points.jsonl.gz")
    print(counts, shadow.translated, shadow.left)
    assert not counts.different and counts.covered > 2300
    assert shadow.translated > 2300
