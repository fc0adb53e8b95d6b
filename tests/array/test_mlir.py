"""MLIR of designs: the dialects' forms of three times, and the generic form before two checkers."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from design_cases import MEM, in_turns, one_core

from xattn.array.buffer_descriptor import Dimension, Iteration
from xattn.array.design import Core, Design, DmaEnd, Fifo, HostBuffer, HostEnd, Stream, TileId, Transfer, Wait, Walk
from xattn.array.mlir_design import mlir_module
from xattn.array.mlir_dialect import NEWEST, Dialect
from xattn.array.mlir_ir import custom_form, generic_form
from xattn.array.placement import place
from xattn.errors import FileFormatError, InputError

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
    "turns": in_turns(),
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


def test_a_task_of_several_pieces_is_a_chain() -> None:
    texts = {dialect: module(in_turns(), dialect)[0] for dialect in Dialect}
    for text in texts.values():
        assert "%task_0_0 = aiex.dma_configure_task_for @to {" in text
        assert re.search(r"bd_id = 0 : i32\}\n +aie.next_bd \^bd1\n +\^bd1:\n +aie.dma_bd\(%arg_b", text)
        assert "} {issue_token = true, repeat_count = 2 : i32}\n" in text
        assert text.count("aiex.dma_start_task(%task_0_0)") == text.count("aiex.dma_await_task(%task_0_0)") == 1
        assert "(%arg_c[0, 0, 0, 0][1, 1, 1, 192][0, 0, 0, 1]) {id = 2 : i64, metadata = @from" in text
        assert "aiex.npu.dma_wait {symbol = @from}" in text
    newest, older = texts[Dialect.late_2026], texts[Dialect.late_2025]
    assert "(%arg_a : memref<256xi8> offset = 64 len = 64 sizes = [3, 1, 1, 64] strides = [64, 0, 0, 1])" in newest
    pairs = "<size = 3, stride = 64>, <size = 1, stride = 0>, <size = 1, stride = 0>, <size = 64, stride = 1>"
    assert f"aie.dma_bd(%arg_a : memref<256xi8>, 64, 64, [{pairs}]) {{bd_id = 0 : i32}}" in older


@pytest.mark.parametrize(
    ("transfer", "loops"),
    [
        (Transfer("to", "a", 64, repeat=3, token=True), "[3, 1, 1, 256][0, 0, 0, 1]"),
        (Transfer("to", "a", 64, iteration=Iteration(64, 3), repeat=3, token=True), "[3, 1, 1, 256][256, 0, 0, 1]"),
        (
            Transfer("to", "a", 24, dimensions=(Dimension(1, 4), Dimension(8, 3), Dimension(100)), token=True),
            "[1, 2, 3, 16][0, 400, 32, 1]",
        ),
        (
            Transfer("to", "a", 24, dimensions=(Dimension(1, 4), Dimension(8, 3)), token=True),
            "[1, 2, 3, 16][0, 4, 32, 1]",
        ),
        (Transfer("to", "a", 8, dimensions=(Dimension(5),), token=True), "[1, 1, 8, 4][0, 0, 20, 1]"),
    ],
)
def test_loops_of_host_transfers_are_in_bytes(transfer: Transfer, loops: str) -> None:
    text, generic = module(replace(one_core(), sequence=(transfer, Wait("to"))))
    assert f"aiex.npu.dma_memcpy_nd(%arg_a[0, 0, 0, 0]{loops})" in text
    sizes = loops[: loops.index("]") + 1]
    assert f"sizes = {sizes}" in generic


def test_loops_that_no_descriptor_has_are_refused() -> None:
    transfer = Transfer("to", "a", 24, dimensions=(Dimension(2, 4), Dimension(16, 3), Dimension(100)))
    with pytest.raises(InputError, match="host buffer a has 4 loops over bytes, and MLIR's buffer descriptors 3"):
        module(replace(one_core(), sequence=(transfer,)))


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


@pytest.mark.parametrize(
    ("defect", "message"),
    [
        (swap("alloc = @to", "alloc = @from_nowhere"), "for which no shim DMA channel is allocated"),
        (swap("issue_token = true, repeat_count", "repeat_count"), "a task is waited for that issues no token"),
        (swap("strides = [64, 0, 0, 1]", "strides = [128, 0, 0, 1]"), "reaches element 383 of a buffer of 256"),
        (swap("sizes = [3, 1, 1, 64]", "sizes = [3, 1, 2, 64]"), "of 64 elements has loops for 128"),
        (swap("sizes = [1, 1, 1, 192]", "sizes = [1, 1, 1, 196]"), "transfer reaches element 195 of a buffer of 192"),
        (swap("[^bd1]", "[^bd2]"), "bd2"),
    ],
)  # fmt: skip
def test_defects_of_tasks_are_found(defect: Callable[[str], str], message: str) -> None:
    pytest.importorskip("xdsl", reason='NOT CHECKED by xDSL: pip install "xattn[mlir]"')
    from xattn.array.mlir_check import check_module

    with pytest.raises(FileFormatError, match=re.escape(message)):
        check_module(defect(module(in_turns())[1]))


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
