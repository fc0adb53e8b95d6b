"""Timing one thing: kernels by name and built ELF files; what cannot be timed says why."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from xattn.bench import artifact, measure_ladder, synthetic_activations
from xattn.bench.artifact import ladder_name, time_one
from xattn.build.cache import build
from xattn.build.manifest import MANIFEST, BuildRequest
from xattn.devices import KernelFaultError
from xattn.errors import FileFormatError, InputError
from xattn.isa.assembly import assemble_program
from xattn.isa.elf import Symbol
from xattn.isa.elf_writer import write_executable, write_object
from xattn.kernels.registry import compiled
from xattn.sim.core import Core

ACTIVATIONS = synthetic_activations(42)


def kernel_elf(name: str, path: Path) -> Path:
    """A kernel of the ladder as an ELF file, its buffers named as the array's compiler names them."""
    program = compiled(name)
    data = [(program.addresses[a.name], bytes(a.contents)) for a in program.arrays if a.contents is not None]
    symbols = [
        Symbol("attention_64x64", 0, len(program.code), "func", section=".text"),
        Symbol("of_QKV_cons_buff_0", program.addresses["qkv"]),
        Symbol("of_out_buff_0", program.addresses["out"]),
    ]
    path.write_bytes(write_executable(program.code, data, symbols))
    return path


def assembled(text: str, path: Path) -> Path:
    path.write_bytes(write_executable(assemble_program(".global attention_64x64\n.func attention_64x64\n" + text)))
    return path


@pytest.mark.slow
def test_a_file_takes_what_its_kernel_takes(tmp_path: Path) -> None:
    timed = time_one(str(kernel_elf("vectorized_pv", tmp_path / "core.elf")), ACTIVATIONS, 20, 1e9)
    expected = measure_ladder(ACTIVATIONS, ["vectorized_pv"], runs=1, compared=False).kernels[0].cycles
    assert timed.cycles == expected and timed.seconds == pytest.approx(expected / 1e9)
    assert timed.runs == 2 and timed.notes == ()


@pytest.mark.slow
def test_a_foreign_file_takes_what_was_recorded() -> None:
    named = os.environ.get("XATTN_FOREIGN", "")
    found = sorted(Path(named).rglob("*attention_64x64_fixed*main_core_0_2.elf")) if named else []
    found += sorted(Path(named).rglob("attention_64x64_fixed*/main_core_0_2.elf")) if named else []
    if not found:
        pytest.skip("NOT CHECKED with a foreign attention kernel: XATTN_FOREIGN names no folder with one")
    timed = time_one(str(found[0]), ACTIVATIONS)
    assert timed.cycles == 2_975_089 and "stack" in timed.notes[0]  # its own stack is too small, which costs no cycles


@pytest.mark.parametrize("iterations", [1, 7])
def test_names_give_the_ladders_cycles(iterations: int) -> None:
    timed = time_one("attention_qkt", ACTIVATIONS, iterations)
    assert (timed.name, timed.runs) == ("qkt", min(iterations, 2))
    assert timed.seconds == pytest.approx(timed.cycles / 1.8e9) and timed.cycles >= 1024


@pytest.mark.parametrize(
    ("published", "name"),
    [
        ("attention_64x64", "baseline"), ("attention_tiled", "tiled"), ("attention_lut", "lut"), ("qkt", "qkt"),
        ("attention_int8_64x64_vectorized", "vectorized"),
    ],
)  # fmt: skip
def test_published_names(published: str, name: str) -> None:
    assert ladder_name(published) == name


def test_what_the_program_counts_is_what_it_costs(tmp_path: Path) -> None:
    short = time_one(str(assembled("ret lr\nnop*5\n", tmp_path / "a.elf")), ACTIVATIONS)
    long = time_one(str(assembled("nop*10\nret lr\nnop*5\n", tmp_path / "b.elf")), ACTIVATIONS)
    assert long.cycles - short.cycles == 10


@pytest.mark.parametrize(
    ("cycles", "iterations", "runs", "mean"),
    [([9, 7, 7, 5], 20, 3, 8), ([1, 2, 3, 4, 4], 4, 4, 2), ([5, 9], 1, 1, 5), ([6, 6, 9], 20, 2, 6)],
)
def test_runs_end_when_two_in_a_row_are_equal(
    cycles: list[int], iterations: int, runs: int, mean: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    came = iter(cycles)
    monkeypatch.setattr(artifact, "_runner", lambda *_: artifact.Runner(Core(), lambda: next(came)))
    timed = time_one(str(assembled("ret lr\nnop*5\n", tmp_path / "a.elf")), ACTIVATIONS, iterations)
    assert (timed.runs, timed.cycles) == (runs, mean)


def test_a_program_that_fails_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(KernelFaultError, match=r"a\.elf: "):
        time_one(str(assembled("nop*3\n", tmp_path / "a.elf")), ACTIVATIONS)


def test_what_cannot_be_timed_says_why(tmp_path: Path) -> None:
    object_file = tmp_path / "core.o"
    object_file.write_bytes(write_object(assemble_program(".global f\n.func f\nret lr\nnop*5\n")))
    other = tmp_path / "other.elf"
    other.write_bytes(write_executable(assemble_program(".global f\n.func f\nret lr\nnop*5\n")))
    text = tmp_path / "text"
    text.write_text("no program")
    cases = {
        "build/attention_64x64.xclbin": (FileFormatError, "no such file"),
        "build/attention_64x64.elf": (FileFormatError, "attention_64x64.elf: no such file"),
        "attention_fast": (InputError, "no kernel is called 'attention_fast'; there are baseline, tiled"),
        str(object_file): (InputError, "core.o: a relocatable object; make an executable of it first"),
        str(other): (InputError, "no symbol attention_64x64"),
        str(text): (FileFormatError, "text: not an ELF file"),
    }
    for what, (error, message) in cases.items():
        with pytest.raises(error, match=message.replace("(", r"\(")):
            time_one(what, ACTIVATIONS)
    with pytest.raises(InputError, match="0 iterations; expected at least 1"):
        time_one("qkt", ACTIVATIONS, 0)


def test_an_xclbin_runs_on_the_array_with_the_instructions_beside_it(tmp_path: Path) -> None:
    files, _ = build(BuildRequest("qkt", "tile", 16, 16, (("shift", 4),)), tmp_path / "cache")
    xclbin = next(name for name in files if name.endswith(".xclbin"))
    path = tmp_path / xclbin
    path.write_bytes(files[xclbin])
    with pytest.raises(InputError, match=r"no insts\.bin or insts\.txt beside it"):
        time_one(str(path), ACTIVATIONS)
    (tmp_path / "insts.bin").write_bytes(files["insts.bin"])
    timed = time_one(str(path), ACTIVATIONS, 4, 1e9)
    assert timed.cycles > 500 and 2 <= timed.runs <= 4 and timed.seconds == timed.cycles / 1e9
    assert "whole array" in timed.notes[0] and "the output is not checked" in timed.notes[0]


def test_an_xclbin_of_a_build_is_timed_by_the_block_and_checked(tmp_path: Path) -> None:
    cycles = {}
    for blocks in (1, 4):
        files, _ = build(BuildRequest("qkt", "columns4", 16, 16, (("shift", 4),), blocks=blocks), tmp_path / "cache")
        for name, data in files.items():
            (tmp_path / name).write_bytes(data)
        timed = time_one(str(tmp_path / "qkt_columns4.xclbin"), ACTIVATIONS, 4, 1e9)
        (note,) = timed.notes
        run = int(re.search(r"; ([\d,]+) blocks in ([\d,]+) cycles a run, every one exact$", note)[2].replace(",", ""))
        assert f"{4 * blocks} blocks" in note and timed.cycles == round(run / (4 * blocks))
        assert timed.without == "launch"
        cycles[blocks] = timed.cycles
    assert cycles[4] < cycles[1] / 2
    manifest = tmp_path / MANIFEST
    manifest.write_text(manifest.read_text().replace('"shift": 4', '"shift": 6'))
    with pytest.raises(KernelFaultError, match="16 of 16 blocks are not the integer model's"):
        time_one(str(tmp_path / "qkt_columns4.xclbin"), ACTIVATIONS)
    other = tmp_path / "other.xclbin"
    other.write_bytes((tmp_path / "qkt_columns4.xclbin").read_bytes())
    assert "the output is not checked" in time_one(str(other), ACTIVATIONS).notes[0]
