"""History: the stored figures in order, bars, and plots."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from result_cases import ladder

from xattn.bench.history import bars, history, plot
from xattn.bench.store import Store
from xattn.errors import InputError


def test_figures_come_in_the_order_of_time(tmp_path: Path) -> None:
    def spoil(name: str, _run: int, output: np.ndarray) -> np.ndarray:
        return output ^ 1 if name == "tiled" else output

    store = Store(tmp_path)
    store.save(ladder(3, commit="c" * 40, tiled=1800))
    store.save(ladder(1, tiled=2000))
    store.save(ladder(2, twist=spoil, tiled=1))
    points = history(store, "tiled", 16, 16)
    assert [point.value for point in points] == [2000, None, 1800]  # a wrong kernel's cycles are no figure
    assert [point.commit for point in points] == [None, None, "c" * 40]
    assert history(store, "tiled", 16, 16, "program bytes")[0].value > 100
    with pytest.raises(InputError, match=r"no cycles of tiled 64×64 are stored in .*; there are baseline 16×16, tiled"):
        history(store, "tiled", 64, 64)


def test_bars_are_in_proportion() -> None:
    assert bars([8, 4, 1, None, 0], 2) == ["██", "█", "▎", "", ""]
    assert bars([1000.0, 0.001], 4) == ["████", "▏"]  # what is there is seen
    assert bars([None], 4) == [""] and bars([], 4) == []


@pytest.mark.parametrize(("suffix", "head"), [(".svg", b"<?xml"), (".png", b"\x89PNG"), (".pdf", b"%PDF")])
def test_plots_are_drawn(suffix: str, head: bytes, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="NOT CHECKED: plots need matplotlib")
    store = Store(tmp_path / "kept")
    for day in (1, 2, 3):
        store.save(ladder(day, tiled=2000 - day))
    file = tmp_path / f"plot{suffix}"
    plot(history(store, "tiled", 16, 16), "a title", "cycles", file)
    data = file.read_bytes()
    assert data.startswith(head) and len(data) > 3000
    assert suffix != ".svg" or b"a title" in data


def test_plots_that_cannot_be_drawn_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"plot\.txt: expected one of the suffixes \.svg, \.png, \.pdf"):
        plot([], "", "", tmp_path / "plot.txt")
    with pytest.raises(InputError, match="is not a folder"):
        plot([], "", "", tmp_path / "none" / "plot.svg")
