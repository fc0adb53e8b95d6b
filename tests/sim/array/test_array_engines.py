"""Cores of the array as native code between lock operations: the very run of the interpreter, but faster."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from xattn.array.pdi import read_pdi
from xattn.build.images import Images, build_images
from xattn.errors import InputError
from xattn.sim.array.machine import Array
from xattn.sim.array.report import ArrayResult
from xattn.sim.segments import Effort

pytest.importorskip("llvmlite", reason="NOT CHECKED: the translator needs llvmlite (pip install 'xattn[jit]')")


def loaded(images: Images, engine: str) -> Array:
    array = Array(engine=engine)
    array.load(read_pdi(images.pdi).cdo())
    return array


def runs(array: Array, images: Images, count: int) -> list[ArrayResult]:
    random = np.random.default_rng(7)
    return [
        array.run(images.stream, [random.bytes(buffer.bytes) for buffer in images.design.buffers]) for _ in range(count)
    ]


def leaps(array: Array) -> list[int]:
    return [core.segments.leaps for core in array.cores.values() if core.segments is not None]


def assert_equal_runs(images: Images, count: int) -> Array:
    """All numbers of all runs, and what they leave behind, are equal; the array with native cores."""
    interpreted, native = loaded(images, "interpreter"), loaded(images, "translator")
    for one, other in zip(runs(interpreted, images, count), runs(native, images, count), strict=True):
        assert replace(one, cores=[], channels=[]) == replace(other, cores=[], channels=[])
        assert one.cores == other.cores and one.channels == other.channels
    for place, core in interpreted.cores.items():
        twin = native.cores[place].core
        assert core.core.counts == twin.counts and core.core.cycle == twin.cycle
        assert core.core.registers.undefined == twin.registers.undefined
        memory, other_memory = (array.tiles[place].memory for array in (interpreted, native))
        assert memory.data == other_memory.data and memory.map == other_memory.map
    assert leaps(interpreted) == []
    return native


@pytest.mark.parametrize(("side", "blocks"), [(16, 5), (64, 2)])
def test_native_cores_are_the_interpreters(side: int, blocks: int) -> None:
    images = build_images("qkt", "columns4", side, side, blocks=blocks)
    native = assert_equal_runs(images, count=3)
    # a way for each of the two buffers, interpreted once; that of a small block is not worth a leap
    assert leaps(native) == [0 if side == 16 else 3 * blocks - 2] * 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kernel", "design", "side"), [("fused", "columns4", 64), ("sound", "tile", 64), ("vectorized_pv", "columns4", 16)]
)
def test_native_cores_are_the_interpreters_on_longer_blocks(kernel: str, design: str, side: int) -> None:
    images = build_images(kernel, design, side, side, blocks=3)
    assert min(leaps(assert_equal_runs(images, count=2))) > 0


def test_auto_waits_until_a_translation_is_worth_its_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XATTN_CACHE", str(tmp_path))
    images = build_images("qkt", "tile", scalars={"shift": 5}, blocks=6)
    monkeypatch.setattr(Effort, "__init__", lambda self: _effort(self, 1500))
    array = loaded(images, "auto")
    runs(array, images, 1)
    assert leaps(array) == [2]  # of six turns, two ways of 1,100 bundles each: both interpreted twice
    again = loaded(images, "auto")
    runs(again, images, 1)
    assert leaps(again) == [4]  # both are on the disk now


def _effort(self: Effort, enough: int) -> None:
    self.enough, self.bundles = enough, Counter()


def test_a_new_program_is_looked_at_anew() -> None:
    """Reset loads the program again: nothing of what was known of the old one is used."""
    array = Array(engine="translator")
    for shift in (4, 5):
        images = build_images("qkt", "tile", scalars={"shift": shift}, blocks=4)
        alone = loaded(images, "interpreter")
        array.load(read_pdi(images.pdi).cdo())
        buffers = [np.random.default_rng(1).bytes(buffer.bytes) for buffer in images.design.buffers]
        assert array.run(images.stream, buffers).buffers == alone.run(images.stream, buffers).buffers
    assert leaps(array) == [4]  # two of each program


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(InputError, match="no engine is called 'fast'; there are auto, interpreter, translator"):
        Array(engine="fast")
