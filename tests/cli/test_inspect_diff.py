"""`xattn inspect` and `xattn diff`: every kind of file of a build, and damaged ones."""

from __future__ import annotations

import json
import random
import tracemalloc
from pathlib import Path

import pytest

from xattn.build.artifacts import make_artifacts
from xattn.build.manifest import BuildRequest
from xattn.cli.diff import read_facts
from xattn.cli.inspect import explain
from xattn.cli.main import main
from xattn.errors import FileFormatError

SUFFIXES = (".xclbin", ".pdi", ".bin", ".elf", ".o")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two builds that differ in the shift alone."""
    made = []
    for shift in (4, 3):
        folder = tmp_path_factory.mktemp(f"shift{shift}")
        for name, data in make_artifacts(BuildRequest("qkt", "tile", 16, 16, (("shift", shift),))).items():
            (folder / name).write_bytes(data)
        made.append(folder)
    return made[0], made[1]


def inspected(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["inspect", *arguments]) == 0
    return capsys.readouterr().out


def test_every_file_is_explained(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    for path in folders[0].iterdir():
        assert inspected([str(path)], capsys)
        assert isinstance(json.loads(inspected([str(path), "--json"], capsys)), dict)


def test_texts_are_told_apart(folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = inspected([str(folders[0] / "qkt_tile.mlir")], capsys)
    assert text.startswith("MLIR for mlir-aie, device npu1_1col, as of 2026-08\nkernel qkt(memref<256xi8>, ")
    assert "   18  aie.dma_bd\n" in text
    header = folders[0] / "exp_lut.h"
    assert inspected([str(header)], capsys) == "C table EXP_LUT: 256 entries, 8 to 255, scale 64.0\n"
    (tmp_path / "other.h").write_text(header.read_text().replace("255", "254", 1))
    assert "of no known scale" in inspected([str(tmp_path / "other.h")], capsys)
    (tmp_path / "short.h").write_text("// table\nint T[3] = {1, 2};\n")
    assert main(["inspect", str(tmp_path / "short.h")]) == 2
    assert "2 numbers, 3 announced" in capsys.readouterr().err


def test_an_xclbin_shows_its_array(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    text = inspected([str(folders[0] / "qkt_tile.xclbin")], capsys)
    assert "7 sections" in text
    assert "name MLIR_AIE, instance MLIRAIE" in text
    assert "row 2  │  core ▶  │" in text
    assert "  shim (0, 0) MM2S_0 → mem (0, 1) S2MM_0\n" in text
    assert "64 words at 0x0, in loops of 2×1, 16×4, …×2, takes 1 of lock 1, gives 1 of lock 0" in text


def test_writes_are_listed_by_name(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    text = inspected([str(folders[0] / "qkt_tile.pdi"), "--writes"], capsys)
    assert "mask write, tile (0, 2), kind core, register Core_Control" in text


def test_an_elf_shows_functions_and_memory(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    text = inspected([str(folders[0] / "core_0_2.elf")], capsys)
    assert text.startswith("ELF executable, entry 0x0\ncode ")
    assert " of 16,384 bytes" in text
    assert "  _start" in text and "  qkt" in text


def test_a_manifest_knows_its_files(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in folders[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    text = inspected([str(tmp_path / "manifest.json")], capsys)
    assert text.count("as built") == 7
    (tmp_path / "insts.bin").write_bytes(b"")
    (tmp_path / "qkt.o").unlink()
    text = inspected([str(tmp_path / "manifest.json")], capsys)
    assert (text.count("as built"), text.count("changed since"), text.count("not here")) == (5, 1, 1)


def test_a_stream_is_in_words(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    text = inspected([str(folders[0] / "insts.bin")], capsys)
    assert "tile (0, 0): BD 0 points to host buffer 0, byte 0\n" in text
    assert text.endswith("wait for a token of S2MM_0\n")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_is_the_same_as_itself(
    suffix: str, folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = folders[0].glob(f"*{suffix}")
    assert main(["diff", str(path), str(path)]) == 0
    assert "byte for byte" in capsys.readouterr().out


def test_a_changed_shift_is_found(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    first, second = folders
    assert main(["diff", str(first / "core_0_2.elf"), str(second / "core_0_2.elf")]) == 1
    text = capsys.readouterr().out
    assert "-    movxm r0, #4\n" in text
    assert "+    movxm r0, #3\n" in text
    assert main(["diff", str(first / "qkt_tile.pdi"), str(second / "qkt_tile.pdi"), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [row["what"] for row in found["differences"]] == ["tile (0, 2) program memory from 0x0"]
    assert not found["same"]
    assert main(["diff", str(first / "qkt.o"), str(second / "qkt.o")]) == 0
    capsys.readouterr()
    assert main(["diff", str(first / "qkt.o"), str(second / "qkt_tile.pdi")]) == 2
    assert "give two files of one kind" in capsys.readouterr().err


def test_other_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for content, message in (
        (b"hello", "expected an xclbin, a PDI, a CDO or an NPU instruction stream"),
        (b"", "an empty file"),
        (b"{}", "no manifest of a build"),
        (b"{", "no manifest of a build"),
        (b"{\xff", "no manifest of a build"),
        (b"\x7fELF", "too few for an ELF header"),
    ):
        path = tmp_path / "file"
        path.write_bytes(content)
        assert main(["inspect", str(path)]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert str(path) in error
    assert main(["inspect", str(tmp_path / "gone")]) == 2


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Bits flipped, bytes replaced, parts cut out, the end cut off."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        place = rng.randrange(len(out))
        kind = rng.randrange(4)
        if kind == 0:
            out[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[place] = rng.randrange(256)
        elif kind == 2:
            del out[place : place + rng.randrange(1, 64)]
        else:
            del out[max(place, 1) :]
        out = out or bytearray(b"\0")
    return bytes(out)


def fuzz(folder: Path, count: int) -> tuple[int, int]:
    """Explain damaged files and take their facts: all goes well or FileFormatError says why. (readable, refused)"""
    rng = random.Random(7)
    files = [(str(path), path.read_bytes()) for path in sorted(folder.iterdir())]
    complaints = []
    for number in range(count):
        name, data = files[number % len(files)]
        broken = damaged(data, rng)
        try:
            explain(broken, name, writes=number % 3 == 1, as_json=number % 3 == 2)
            if Path(name).suffix in SUFFIXES:
                read_facts(broken, name)
        except FileFormatError as error:
            complaints.append((name, str(error)))
    assert all(complaint.startswith(name) for name, complaint in complaints)
    return count - len(complaints), len(complaints)


def test_damaged_files_are_explained_or_refused(folders: tuple[Path, Path]) -> None:
    readable, refused = fuzz(folders[0], 200)
    assert readable > 20
    assert refused > 20


@pytest.mark.slow
def test_ten_thousand_damaged_files(folders: tuple[Path, Path]) -> None:
    tracemalloc.start()
    fuzz(folders[0], 10_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 << 20


@pytest.mark.parametrize("words", ["06, 7", "9" * 5000 + ", 7", "0x" + "f" * 99 + ", 7"])
def test_numbers_that_no_table_has_are_no_crash(words: str, tmp_path: Path) -> None:
    path = tmp_path / "table.h"
    path.write_text(f"static const unsigned char table[2] = {{ {words} }};\n")
    assert main(["inspect", str(path)]) in (0, 2)
