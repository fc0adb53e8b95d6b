"""Lints of whole builds: real ones are clean, and each rule sees the one thing that was made wrong in them."""

from __future__ import annotations

import os
import random
import re
from pathlib import Path

import msgspec
import pytest
from lint_cases import built, channel, done, names, report, stream

from xattn.array.cdo import write_cdo
from xattn.array.instructions import read_instructions, write_instruction_text
from xattn.array.pdi import read_pdi
from xattn.array.transfers import host_bd, transfer
from xattn.array.xclbin import write_xclbin
from xattn.array.xclbin_build import NpuKernel, build_xclbin
from xattn.build.artifacts import make_artifacts
from xattn.build.manifest import MANIFEST, BuildRequest, read_manifest
from xattn.errors import FileFormatError
from xattn.lint.files import read_subject, subjects_of
from xattn.lint.rules import RULES, lint
from xattn.lint.subject import Named, Subject

OTHERS = (
    ("baseline", 64),
    ("lut", 64),
    ("vectorized", 64),
    ("vectorized_lut", 64),
    ("vectorized_pv", 16),
    ("fused", 64),
)


@pytest.mark.parametrize(
    ("kernel", "design", "size"),
    [("qkt", "tile", 16), ("qkt", "columns4", 16), ("qkt", "array16", 16), ("matmul_int8", "tile", 32),
     ("sound", "tile", 64)],
)  # fmt: skip
def test_our_own_builds_are_clean(kernel: str, design: str, size: int) -> None:
    found = report(built(kernel, design, size))
    assert (found.findings, found.unchecked) == ([], [])


@pytest.mark.slow
@pytest.mark.parametrize(("kernel", "size"), OTHERS)
def test_kernels_that_take_longer_are_clean_too(kernel: str, size: int) -> None:
    found = report(built(kernel, "tile", size))
    assert (found.findings, found.unchecked) == ([], [])


@pytest.mark.parametrize("dialect", ["2025", "2026-04"])
def test_mlir_of_another_time_is_clean_where_it_was_asked_for(dialect: str) -> None:
    files = make_artifacts(BuildRequest("qkt", "tile", 16, 16, dialect=dialect))
    assert names(files) == set()


def test_files_are_known_by_what_is_in_them() -> None:
    cdo = write_cdo(read_pdi(built()["qkt_tile.pdi"]).cdo())
    text = write_instruction_text(read_instructions(built()["insts.bin"])).encode()
    subject = read_subject({"a": cdo, "b.txt": text, "c": built()["core_0_2.elf"], "d": built()["qkt.o"]}, "build")
    counts = (subject.images, subject.streams, subject.programs, subject.objects)
    assert [[named.name for named in found] for found in counts] == [["a"], ["b.txt"], ["c"], ["d"]]
    assert lint(subject).findings == []
    with pytest.raises(FileFormatError, match=r"notes\.bin: found 6e 6f"):
        read_subject({"notes.bin": b"not ours"}, "build")


# objects and programs


def test_an_object_that_the_core_does_not_run() -> None:
    files = {**built(), "qkt.o": built("matmul_int8", symbol="qkt")["matmul_int8.o"]}
    (finding,) = report(files, "object-not-linked").findings
    assert finding.where == "core_0_2.elf"
    assert finding.message.startswith("its qkt is of none of the objects here, expected that of qkt.o")
    older = {**files, "older.o": built()["qkt.o"]}
    (finding,) = report(older, "object-not-linked").findings
    assert finding.message.startswith("its qkt is that of older.o, expected that of qkt.o")


def test_an_object_that_is_linked_has_other_relocations_only() -> None:
    for kernel, size in (("qkt", 16), ("sound", 64)):
        files = built(kernel, "tile", size)
        assert files[f"{kernel}.o"], "its code is compared with that of the program"
        assert names(files, "object-not-linked") == set()


def test_a_design_that_links_an_object_which_is_not_here() -> None:
    """As in the seed: the script builds attention_tiled.o, and the design links the file of before."""
    mlir = built()["qkt_tile.mlir"].replace(b'link_with = "qkt.o"', b'link_with = "combined.o"')
    (finding,) = report({"qkt.o": built()["qkt.o"], "d.mlir": mlir}, "object-not-linked").findings
    assert finding.message.startswith("it links combined.o, which is not here, and qkt.o with qkt is not linked")
    assert names({"d.mlir": mlir}, "object-not-linked") == set(), "objects may lie elsewhere"


def test_a_kernel_with_a_mangled_name() -> None:
    mlir = built()["qkt_tile.mlir"]
    mangled = built(symbol="_Z3qktPaS_S_i")["qkt.o"]
    (finding,) = report({"qkt.o": mangled, "d.mlir": mlir}, "kernel-not-defined").findings
    assert 'the C++ name _Z3qktPaS_S_i: declare the function extern "C"' in finding.message
    other = built(symbol="scores")["qkt.o"]
    (finding,) = report({"qkt.o": other, "d.mlir": mlir}, "kernel-not-defined").findings
    assert "it has scores: correct the name" in finding.message
    assert names({"qkt.o": built()["qkt.o"], "d.mlir": mlir}) == set()


def archive(*members: tuple[str, bytes]) -> bytes:
    body = b"!<arch>\n"
    for name, data in members:
        body += f"{name + '/':16}{0:<12}{0:<6}{0:<6}{644:<8}{len(data):<10}`\n".encode()
        body += data + b"\n" * (len(data) % 2)
    return body


def test_archives_are_looked_into() -> None:
    """Objects are often archives under the name of an object."""
    mlir = built()["qkt_tile.mlir"]
    found = {"qkt.o": archive(("names.txt", b"odd"), ("qkt.o", built()["qkt.o"])), "d.mlir": mlir}
    assert names(found) == set()
    assert names({**found, "qkt.o": archive(("x.o", built("matmul_int8")["matmul_int8.o"]))}) == {"kernel-not-defined"}
    assert names({"qkt.o": found["qkt.o"][:200]}) == {"unreadable-file"}


# the shift


def test_a_program_with_another_shift_than_the_rest() -> None:
    files = {**built(), "core_0_2.elf": built(shift=3)["core_0_2.elf"]}
    (finding,) = report(files, "shift-differs").findings
    assert finding.message.startswith("shift is 3 (the program of core_0_2.elf) and 4 (the manifest, qkt_tile.mlir, ")
    assert "a shift of n divides by 2^n: 3 by 8, 4 by 16" in finding.message


def test_a_host_that_expects_another_shift() -> None:
    (finding,) = report(built(), "shift-differs", expected={"shift": 3}).findings
    assert finding.message.startswith("shift is 3 (the host) and 4 (the manifest, qkt_tile.mlir, the program of ")
    assert names(built(), expected={"shift": 4}) == set()
    alone = {"core.elf": built()["core_0_2.elf"]}
    assert names(alone, expected={"shift": 3}) == {"shift-differs"}
    assert names(alone, expected={"shift": 4}) == set()
    image = {"q.pdi": built()["qkt_tile.pdi"]}
    assert names(image, expected={"shift": 3}) == {"shift-differs"}, "an image has no names, but it calls what it calls"


def test_a_design_with_another_shift() -> None:
    mlir = built(shift=5)["qkt_tile.mlir"]
    assert "shift-differs" in names({**built(), "qkt_tile.mlir": mlir})
    assert names({"d.mlir": mlir}, expected={"shift": 4}) == {"shift-differs"}


# host buffers


def test_an_xclbin_that_declares_too_few_buffers() -> None:
    pdi = built()["qkt_tile.pdi"]
    xclbin = write_xclbin(build_xclbin(pdi, 1, NpuKernel(buffers=2)))
    files = {"qkt.xclbin": xclbin, "insts.bin": built()["insts.bin"]}
    (finding,) = report(files).findings
    assert (finding.rule, finding.where) == ("undeclared-host-buffers", "insts.bin with qkt.xclbin")
    assert "host buffers 0 to 2, and kernel MLIR_AIE declares 2 (bo0 to bo1)" in finding.message
    enough = write_xclbin(build_xclbin(pdi, 1, NpuKernel(buffers=3)))
    assert names({**files, "qkt.xclbin": enough}) == set()


def test_a_buffer_that_is_too_small() -> None:
    manifest = read_manifest(built()[MANIFEST])
    first = msgspec.structs.replace(manifest.buffers[0], bytes=128)
    small = msgspec.structs.replace(manifest, buffers=(first, *manifest.buffers[1:]))
    (finding,) = report({**built(), MANIFEST: msgspec.json.encode(small)}).findings
    assert finding.rule == "beyond-host-buffer"
    assert "uses 256 bytes of host buffer 0 (q), which has 128" in finding.message
    fewer = msgspec.structs.replace(manifest, buffers=manifest.buffers[:2])
    assert names({**built(), MANIFEST: msgspec.json.encode(fewer)}) == {"beyond-host-buffer"}


# files that belong together


def test_a_stream_with_another_image() -> None:
    files = {"a.pdi": built()["qkt_tile.pdi"], "insts.bin": built("qkt", "columns4")["insts.bin"]}
    found = report(files, "stream-of-another-image").findings
    assert "the stream uses MM2S_0 of column 1, which the image joins to no stream" in found[0].message
    assert any("waits for tokens of column 3, and the image has no way for them" in f.message for f in found)
    own = {**files, "insts.bin": built()["insts.bin"]}
    assert names(own) == set()


def test_a_file_that_was_changed_after_the_build() -> None:
    files = {**built(), "exp_lut.h": built()["exp_lut.h"] + b"\n"}
    (finding,) = report(files).findings
    assert (finding.rule, finding.where) == ("changed-since-built", "exp_lut.h")
    del files["exp_lut.h"]
    assert names(files) == set(), "a file that is not there is no mistake"


def test_more_columns_than_are_used() -> None:
    wide = write_xclbin(build_xclbin(built()["qkt_tile.pdi"], 4, NpuKernel(buffers=3)))
    (finding,) = report({"q.xclbin": wide}).findings
    assert finding.rule == "idle-columns"
    assert finding.message.startswith("it takes 4 columns and uses 1")
    mlir = built()["qkt_tile.mlir"].replace(b"aie.device(npu1_1col)", b"aie.device(npu1)")
    (finding,) = report({"q.mlir": mlir}).findings
    assert finding.message.endswith("write aie.device(npu1_1col)")
    four = built("qkt", "columns4")["qkt_columns4.mlir"]
    assert names({"q.mlir": four}) == set()


def test_mlir_of_2025() -> None:
    mlir = make_artifacts(BuildRequest("qkt", "tile", 16, 16, dialect="2025"))["qkt_tile.mlir"]
    (finding,) = report({"q.mlir": mlir}).findings
    assert finding.rule == "old-mlir-syntax"
    assert "aiex.runtime_sequence, which is aie.runtime_sequence now; link_with on a core" in finding.message
    mixed = mlir.replace(b"aiex.runtime_sequence", b"aie.runtime_sequence")
    assert names({"q.mlir": mixed}) == {"old-mlir-syntax"}


# folders


def folder_of(path: Path, **files: bytes) -> list[Subject]:
    for name, data in files.items():
        (path / name.replace("__", ".")).write_bytes(data)
    return list(subjects_of([path]))


def test_an_xclbin_without_instructions(tmp_path: Path) -> None:
    (subject,) = folder_of(tmp_path, q__xclbin=built()["qkt_tile.xclbin"])
    assert [finding.rule for finding in lint(subject).findings] == ["no-instruction-stream"]
    (subject,) = folder_of(tmp_path, insts__bin=built()["insts.bin"])
    assert lint(subject).findings == []


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 13098\n"
    (subject,) = folder_of(tmp_path, q__xclbin=pointer, p__pdi=built()["qkt_tile.pdi"][:99], notes__txt=b"not ours")
    found = lint(subject).findings
    assert [(finding.rule, finding.where) for finding in found] == [
        ("unreadable-file", "p.pdi"),
        ("unreadable-file", "q.xclbin"),
    ]


def test_a_project_folder_belongs_to_the_folder_around_it(tmp_path: Path) -> None:
    project = tmp_path / "d.mlir.prj"
    other = tmp_path / "elsewhere"
    for path, name, data in (
        (project, "main.pdi", built()["qkt_tile.pdi"]),
        (project, "main_core_0_2.elf", built()["core_0_2.elf"]),
        (other, "main.pdi", built()["qkt_tile.pdi"]),
    ):
        path.mkdir(exist_ok=True)
        (path / name).write_bytes(data)
    first, second = folder_of(tmp_path, insts__bin=built()["insts.bin"])
    assert [image.name for image in first.images] == ["d.mlir.prj/main.pdi"]
    assert (len(first.streams), len(first.programs), second.name) == (1, 1, str(other))


# other tools


@pytest.fixture(scope="module")
def foreign() -> Path:
    named = os.environ.get("XATTN_FOREIGN")
    if not named:
        pytest.skip("NOT CHECKED against files of another tool chain: set XATTN_FOREIGN to a folder of mlir-aie builds")
    return Path(named)


def test_foreign_folders_are_looked_at(foreign: Path) -> None:
    static = [rule for rule in RULES if not rule.runs]
    subjects = list(subjects_of([foreign]))
    assert subjects
    for subject in subjects:
        lint(subject, static)


def only(foreign: Path, *patterns: str) -> Subject:
    found = [path for pattern in patterns for path in sorted(foreign.rglob(pattern)) if path.is_file()]
    if not found:
        pytest.skip(f"NOT CHECKED: no {patterns[0]} in the folder that XATTN_FOREIGN names")
    return next(subjects_of(found[:1]))


def test_the_stack_of_the_published_attention_kernel(foreign: Path) -> None:
    """2,656 bytes of frame above the caller's, on 1,024 bytes of stack: known from its disassembly."""
    subject = only(foreign, "attention_64x64.mlir.prj/main_core_0_2.elf")
    (finding,) = lint(subject).findings
    assert finding.rule == "stack-overlaps-buffer"
    assert "attention_tile_32x32 2,656" in finding.message
    assert "of_QKV_cons_buff_0 starts at 0x70400: 1,024 bytes are free" in finding.message


def test_the_published_stream_for_four_columns(foreign: Path) -> None:
    found = {
        finding.rule: finding.message for finding in lint(only(foreign, "build_attention_iron/insts.txt")).findings
    }
    assert set(found) == {"serial-columns", "many-host-buffers"}
    assert found["serial-columns"].startswith("columns 1, 2, 3 start only after another column (here 0)")
    assert "uses 8 host buffers" in found["many-host-buffers"]


def test_a_real_image_whose_stack_lies_over_its_input(foreign: Path) -> None:
    """Its accumulators do not fit the stack: seen in its code, by the simulator, and in what it puts out."""
    image = only(foreign, "matmul_fixed.mlir.prj/main.pdi", "*matmul_fixed.mlir.prj_main.pdi").images[0]
    into, out = channel(to_array=True), channel()
    moved = stream(transfer(into, 1, host_bd(128), 0), transfer(out, 0, host_bd(64), 1, token=True), done(0))
    subject = Subject("matmul", images=[image], streams=[Named("insts.bin", moved)])
    found = {finding.rule: finding.message for finding in lint(subject).findings}
    assert set(found) == {"stack-overlaps-buffer", "simulator-remarks", "output-differs-between-calls"}
    assert "takes 0x70000 to 0x704ff (1,280 bytes: " in found["stack-overlaps-buffer"]
    assert "the stack pointer becomes 0x70500" in found["simulator-remarks"]


# damaged files


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Bytes replaced, a part cut out, the end cut off."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 2, 8))):
        place = rng.randrange(len(out))
        if rng.random() < 0.8:
            out[place] = rng.randrange(256)
        elif rng.random() < 0.5:
            del out[place : place + rng.randrange(1, 64)]
        else:
            del out[max(place, 1) :]
        out = out or bytearray(b"\0")
    return bytes(out)


def fuzz(count: int) -> int:
    """Look at builds of which one file is damaged: nothing but findings may come of it. How many were read."""
    rng = random.Random(11)
    static = [rule for rule in RULES if not rule.runs]
    files = dict(built())
    kept = [name for name in files if name != "exp_lut.h"]
    readable = 0
    for number in range(count):
        name = kept[number % len(kept)]
        subject = read_subject({**files, name: damaged(files[name], rng)}, "build", lenient=True)
        lint(subject, static)
        readable += not subject.unreadable
    return readable


def test_damaged_files_are_no_crash() -> None:
    assert 20 < fuzz(100) < 100


@pytest.mark.slow
def test_hundreds_of_damaged_files_are_no_crash() -> None:
    fuzz(200)


def test_every_rule_has_its_story() -> None:
    text = (Path(__file__).parents[2] / "docs" / "lints.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^### (\S+)$", text, re.MULTILINE)) == {rule.name for rule in RULES}
    assert len({rule.name for rule in RULES}) == len(RULES)
