"""Builds with a pretended Peano: its command line, its object in every file of the build, its failures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_peano import VERSION, FakePeano, object_of

from xattn.array.image_file import configuration_of
from xattn.array.instructions import read_instructions
from xattn.build.artifacts import make_artifacts
from xattn.build.cache import build
from xattn.build.manifest import MANIFEST, BuildRequest, read_manifest
from xattn.build.peano.compile import ToolchainError, command_line, compile_kernel, find_peano
from xattn.build.peano.tools import Tool, Tools
from xattn.errors import InputError
from xattn.isa.elf import read_elf
from xattn.kernels.registry import kernel_spec
from xattn.sim.array.machine import Array

SIDE = 16


@pytest.fixture
def peano(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePeano:
    fake = FakePeano(tmp_path / "peano")
    monkeypatch.setenv("PEANO_INSTALL_DIR", str(fake.root))
    return fake


def request(kernel: str = "baseline", design: str = "tile", symbol: str = "") -> BuildRequest:
    return BuildRequest(kernel, design, SIDE, SIDE, (("shift", 5),), "", symbol, toolchain="peano")


def test_the_command_line_is_the_right_one(peano: FakePeano) -> None:
    data = object_of("baseline", SIDE, "attention_16x16")
    peano.answer(data)
    assert compile_kernel("lut", SIDE, SIDE, "attention_16x16", find_peano("lut")) == data
    (call,) = peano.calls()
    assert call["argv"] == [
        "--target=aie2-none-unknown-elf",
        "-std=c11",
        "-O2",
        "-ffreestanding",
        "-fno-builtin",
        "-Wall",
        "-Wframe-larger-than=1024",
        "-Werror=frame-larger-than",
        "-DXATTN_TOKENS=16",
        "-DXATTN_WIDTH=16",
        "-DXATTN_KERNEL=attention_16x16",
        "-c",
        "lut.c",
        "-o",
        "lut.o",
    ]
    assert set(call["files"]) == {"lut.c", "scalar_attention.h", "exp_lut.h"}, "what is included lies beside it"


@pytest.mark.parametrize("design", ["tile", "columns4"])
def test_the_object_is_in_every_file_and_the_build_runs(design: str, peano: FakePeano) -> None:
    """The pretended compiler gives an object with data sections of its own; the simulated array runs the result."""
    data = object_of("baseline", SIDE, "baseline")
    peano.answer(data)
    files = make_artifacts(request("baseline", design))
    assert files["baseline.o"] == data
    program = read_elf(files["core_0_2.elf"])
    assert program.symbol("baseline").value > 0 and not program.is_object
    assert 'link_with = "baseline.o"' in files[f"baseline_{design}.mlir"].decode()
    assert {"baseline.c", "scalar_attention.h", "parabola.h", "exp_lut.h"} < files.keys()
    array = Array()
    array.load(configuration_of("baseline.xclbin", files[f"baseline_{design}.xclbin"]))
    blocks = 4 if design == "columns4" else 1
    random = np.random.default_rng(1)
    q, k, v = random.integers(-128, 128, (3, blocks, SIDE, SIDE)).astype(np.int8)
    packed = np.concatenate([np.concatenate([q[n], k[n], v[n]]) for n in range(blocks)])
    result = array.run(read_instructions(files["insts.bin"]), [packed.tobytes(), bytes(blocks * SIDE * SIDE)])
    expected = np.stack([kernel_spec("baseline").model(q[n], k[n], v[n], 5) for n in range(blocks)])
    assert result.buffers[1] == expected.tobytes()


def test_the_manifest_names_the_compiler(peano: FakePeano, tmp_path: Path) -> None:
    peano.answer(object_of("baseline", SIDE, "baseline"))
    files, cached = build(request(), tmp_path / "cache")
    manifest = read_manifest(files[MANIFEST])
    assert (manifest.toolchain, manifest.toolchain_version) == ("peano", VERSION) and not cached
    assert {item.name for item in manifest.files} == files.keys() - {MANIFEST}
    _, cached = build(request(), tmp_path / "cache")
    assert not cached and len(peano.calls()) == 2, "another compiler may have changed: no cache"
    own = read_manifest(build(BuildRequest("baseline", "tile", SIDE, SIDE), tmp_path / "cache")[0][MANIFEST])
    assert own.toolchain == "xattn" and own.toolchain_version == own.xattn
    assert len(peano.calls()) == 2


def test_what_the_compiler_says_is_shown(peano: FakePeano) -> None:
    peano.fail("baseline.c:8:5: error: no such thing\n    total +=\n    ^\n")
    with pytest.raises(ToolchainError) as caught:
        make_artifacts(request())
    text = str(caught.value)
    assert text.startswith(
        f"{peano.clang} failed with exit code 1 on baseline.c:\nbaseline.c:8:5: error: no such thing"
    )
    assert text.endswith("^")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "is no object for AIE2"),
        (b"\x7fELF nonsense", "is no object for AIE2"),
        (None, "is no object for AIE2"),
        ("other", "no object with a global function baseline"),
        ("executable", "no object with a global function baseline"),
    ],
)
def test_what_is_no_object_of_the_kernel_is_refused(answer: bytes | str | None, message: str, peano: FakePeano) -> None:
    if answer == "other":
        peano.answer(object_of("baseline", SIDE, "another"))
    elif answer == "executable":
        peano.answer(make_artifacts(BuildRequest("baseline", "tile", SIDE, SIDE))["core_0_2.elf"])
    elif isinstance(answer, bytes):
        peano.answer(answer)
    with pytest.raises(ToolchainError, match=message):
        make_artifacts(request())


def test_an_object_for_another_machine_is_refused(peano: FakePeano, tmp_path: Path) -> None:
    import shutil

    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("NOT CHECKED: no C compiler (cc) to make an object for another machine with")
    (tmp_path / "x.c").write_text("void baseline(void) {}\n")
    subprocess.run([compiler, "-c", "x.c", "-o", "x.o"], cwd=tmp_path, check=True)
    peano.answer((tmp_path / "x.o").read_bytes())
    with pytest.raises(ToolchainError, match="is no object for AIE2"):
        make_artifacts(request())


def test_what_else_cannot_be_built(peano: FakePeano) -> None:
    for wanted, message in [
        (request("fused"), "kernel fused is not there in C"),
        (request("nothing"), "no kernel is called 'nothing'"),
        (request(design="ring"), "no design is called 'ring'"),
        (request(symbol="two words"), "cannot name a function in C"),
        (request(symbol="a.b"), "'a.b' cannot name a function in C: expected letters, digits and underscores"),
        (BuildRequest("baseline", "tile", 17, 17, toolchain="peano"), "cannot take 17 tokens"),
        (BuildRequest("baseline", toolchain="gcc"), "no toolchain is called 'gcc'; there are xattn and peano"),
    ]:
        peano.answer(object_of("baseline", SIDE, "baseline"))
        with pytest.raises(InputError, match=message):
            make_artifacts(wanted)


def test_without_peano_it_says_how_to_get_it() -> None:
    with pytest.raises(
        ToolchainError, match=r"Install the llvm-aie wheel .* set PEANO_INSTALL_DIR .* builds tiled by itself"
    ):
        find_peano("tiled", Tools({"PATH": str(Path(sys.executable).parent)}, ()))


def test_a_compiler_that_vanishes_is_said(peano: FakePeano) -> None:
    tool = find_peano("baseline")
    peano.clang.unlink()
    with pytest.raises(ToolchainError, match="could not be run"):
        compile_kernel("baseline", SIDE, SIDE, "baseline", tool)


def test_the_documented_command_line_is_the_one_that_is_run() -> None:
    document = Path(__file__).parents[2] / "docs" / "build.md"
    shown = document.read_text(encoding="utf-8").partition("\nclang ")[2].partition("```")[0].replace("\\\n", " ")
    assert shown.split() == command_line("baseline", 64, 64, "baseline", Tool(Path("clang"), ""))[1:]
