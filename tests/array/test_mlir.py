"""MLIR of designs: the dialects' forms of three times, and the generic form before two checkers."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from design_cases import MEM, one_core

from xattn.array.buffer_descriptor import Dimension
from xattn.array.design import Core, Design, DmaEnd, Fifo, HostBuffer, HostEnd, Stream, TileId, Transfer, Wait, Walk
from xattn.array.mlir_design import NEWEST, Dialect, mlir_module
from xattn.array.mlir_ir import custom_form, generic_form
from xattn.array.placement import place
from xattn.errors import FileFormatError

MLIR_OPT = next((name for name in ("mlir-opt", "mlir-opt-22", "mlir-opt-19") if shutil.which(name)), None)


def multicast() -> Design:
    """Through the mem tile in another order, to two cores at once, and one after the other back."""
    cores = [TileId(0, 2), TileId(0, 3)]
    stops = (Fifo("a_mem", MEM, 256), *(Fifo(f"o{n}_mem", MEM, 64) for n in range(2)))
    ends = tuple(
        fifo for n, where in enumerate(cores) for fifo in (Fifo(f"a{n}", where, 256), Fifo(f"o{n}", where, 64))
    )
    read = Walk("a_mem", (Dimension(1, 2), Dimension(16, 4), Dimension(2)))
    streams = (
        Stream("a_in", HostEnd(0), (DmaEnd.of("a_mem"),)),
        Stream("a_cores", DmaEnd((read,)), (DmaEnd.of("a0"), DmaEnd.of("a1"))),
        *(Stream(f"o{n}_up", DmaEnd.of(f"o{n}"), (DmaEnd.of(f"o{n}_mem"),)) for n in range(2)),
        Stream("o_out", DmaEnd.of("o0_mem", "o1_mem"), (HostEnd(0),)),
    )
    kernels = tuple(Core(where, "kernel", (f"a{n}", f"o{n}"), (f"o{n}",), (4,)) for n, where in enumerate(cores))
    buffers = (HostBuffer("a", 256), HostBuffer("o", 128))
    sequence = (Transfer("a_in", "a", 64), Transfer("o_out", "o", 32, token=True), Wait("o_out"))
    return Design("multicast", 1, (*stops, *ends), streams, kernels, buffers, sequence)


DESIGNS = {
    "one core": one_core(),
    "single buffers": one_core(depth=1),
    "three rounds": replace(one_core(), cores=(replace(one_core().cores[0], rounds=3),)),
    "multicast": multicast(),
}


def module(design: Design, dialect: Dialect = NEWEST) -> tuple[str, str]:
    made = mlir_module(place(design), "kernel.o", dialect)
    return custom_form(made), generic_form(made)


def test_three_times_write_differently() -> None:
    texts = {dialect: module(one_core(), dialect)[0] for dialect in Dialect}
    old, middle, new = (texts[dialect] for dialect in Dialect)
    assert "aiex.runtime_sequence(" in old and "aie.runtime_sequence(" in middle and "aie.runtime_sequence(" in new
    assert 'link_with = "kernel.o", stack_size = 1024 : i32}' in old
    assert (
        'func.func private @kernel(memref<12288xi8>, memref<4096xi8>, i32) attributes {link_with = "kernel.o"}'
        in middle
    )
    assert "aie.shim_dma_allocation @to(MM2S, 0, 0)" in old
    assert "aie.shim_dma_allocation @to (%tile_0_0, MM2S, 0)" in middle
    assert "aie.use_lock(%in_full, AcquireGreaterEqual, 1)" in middle
    assert re.search(r"%(v\d+) = arith.constant 1 : i32\n *aie.use_lock\(%in_full, AcquireGreaterEqual, %\1\)", new)
    assert "aie.dma_bd(%in_0 : memref<12288xi8>, 0, 12288)" in old
    assert "aie.dma_bd(%in_0 : memref<12288xi8> offset = 0 len = 12288)" in new


def test_walks_are_outermost_first() -> None:
    design = multicast()
    assert (
        "64, [<size = 8, stride = 2>, <size = 4, stride = 16>, <size = 2, stride = 1>])"
        in module(design, Dialect.early_2026)[0]
    )
    assert "len = 64 sizes = [8, 4, 2] strides = [2, 16, 1])" in module(design)[0]


def test_multicast_is_two_flows_of_one_source() -> None:
    text, _ = module(multicast())
    assert "aie.flow(%tile_0_1, DMA : 0, %tile_0_2, DMA : 0)" in text
    assert "aie.flow(%tile_0_1, DMA : 0, %tile_0_3, DMA : 0)" in text


def test_columns_name_the_device() -> None:
    assert "aie.device(npu1_1col)" in module(one_core())[0]
    assert "aie.device(npu1) {" in module(replace(one_core(), columns=4))[0]


def test_rounds_are_a_loop_and_a_rest() -> None:
    text, _ = module(DESIGNS["three rounds"])
    assert text.count("func.call @kernel") == 3
    assert "arith.constant 1 : index" in text
    assert "4294967295" not in text
    assert "4294967295" in module(one_core())[0]


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("name", DESIGNS)
def test_xdsl_accepts_the_module(name: str, dialect: Dialect) -> None:
    pytest.importorskip("xdsl", reason='NOT CHECKED by xDSL: pip install "xattn[mlir]"')
    from xattn.array.mlir_check import check_module

    assert check_module(module(DESIGNS[name], dialect)[1]) > 30


@pytest.mark.parametrize("name", DESIGNS)
def test_mlir_opt_accepts_the_module(name: str, tmp_path: Path) -> None:
    if MLIR_OPT is None:
        pytest.skip("NOT CHECKED by mlir-opt, which is not installed (Debian: apt-get install mlir-22-tools)")
    for dialect in Dialect:
        path = tmp_path / f"{dialect.value}.mlir"
        path.write_text(module(DESIGNS[name], dialect)[1])
        subprocess.run([MLIR_OPT, "--allow-unregistered-dialect", str(path), "-o", str(tmp_path / "out")], check=True)


def swap(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text, old
        return text.replace(old, new, 1)

    return change


@pytest.mark.parametrize(
    ("defect", "message"),
    [
        (swap('"aie.tile"() {col = 0 : i32, ', '"aie.tile"() {'), "col"),
        (swap('"aie.use_lock"(%in_full', '"aie.use_lock"(%in_ful'), "in_ful"),
        (swap('"aie.use_lock"(%in_full', '"aie.use_lock"(%a_gone'), "a_gone"),
        (swap('"aie.tile"()', '"aie.tiles"()'), "aie.tiles"),
        (swap('kernel = "kernel"', 'kernel = "colonel"'), "a core calls @colonel, which is not declared"),
        (swap("metadata = @to", "metadata = @from_nowhere"), "for which no shim DMA channel is allocated"),
        (swap("symbol = @from", "symbol = @nothing"), "aiex.npu.dma_wait names @nothing"),
        (swap("len = 12288 : i32", "len = 12289 : i32"), "reaches element 12288 of a buffer of 12288"),
        (swap("[^bd0_0, ^dma1]", "[^bd0_0, ^gone]"), "gone"),
        (swap("(memref<12288xi8>, memref<4096xi8>, i32)", "(memref<4096xi8>, i32)"), "a core calls @kernel with"),
        (swap('"aie.next_bd"()[^bd0_1] : () -> ()', ""), "terminator"),
    ],
)  # fmt: skip
def test_defects_are_found(defect: Callable[[str], str], message: str) -> None:
    pytest.importorskip("xdsl", reason='NOT CHECKED by xDSL: pip install "xattn[mlir]"')
    from xattn.array.mlir_check import check_module

    with pytest.raises(FileFormatError, match=re.escape(message)):
        check_module(defect(module(one_core())[1]))


def test_a_lock_of_another_tile_is_found() -> None:
    pytest.importorskip("xdsl", reason='NOT CHECKED by xDSL: pip install "xattn[mlir]"')
    from xattn.array.mlir_check import check_module

    text = module(multicast())[1]
    core = text.index('"aie.core"')
    broken = text[:core] + text[core:].replace("%a0_full", "%a_mem_full", 1)
    with pytest.raises(FileFormatError, match="lock a_mem_full is used by a program of another tile"):
        check_module(broken)
    flows = swap("dest_channel = 1 : i32", "dest_channel = 0 : i32")
    with pytest.raises(FileFormatError, match="two streams end at DMA channel 0"):
        check_module(flows(text))
    sizes = swap("sizes = [8, 4, 2]", "sizes = [8, 4, 4]")
    with pytest.raises(FileFormatError, match="of 64 elements has loops for 128"):
        check_module(sizes(text))
