"""Builds in the cache: found again, byte for byte, and made anew when anything about them changed or broke."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from xattn.build import cache
from xattn.build.cache import build, cache_key
from xattn.build.manifest import MANIFEST, BuildRequest, read_manifest

REQUEST = BuildRequest("qkt", "tile", 16, 16, (("shift", 4),))


def test_a_build_is_made_once(tmp_path: Path) -> None:
    first, cached = build(REQUEST, tmp_path)
    assert not cached
    second, cached = build(REQUEST, tmp_path)
    assert cached
    assert first == second
    manifest = read_manifest(first[MANIFEST])
    assert {item.name for item in manifest.files} == first.keys() - {MANIFEST}
    for item in manifest.files:
        assert (len(first[item.name]), hashlib.sha256(first[item.name]).hexdigest()) == (item.bytes, item.sha256)
    assert {Path(name).suffix for name in first} == {".o", ".elf", ".pdi", ".xclbin", ".bin", ".mlir", ".h", ".json"}


def test_a_build_elsewhere_has_the_same_bytes(tmp_path: Path) -> None:
    assert build(REQUEST, tmp_path / "a")[0] == build(REQUEST, tmp_path / "b")[0]


def test_every_part_of_a_request_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    others = [
        BuildRequest("matmul_int8", "tile", 16, 16, (("shift", 4),)),
        BuildRequest("qkt", "columns4", 16, 16, (("shift", 4),)),
        BuildRequest("qkt", "tile", 32, 16, (("shift", 4),)),
        BuildRequest("qkt", "tile", 16, 32, (("shift", 4),)),
        BuildRequest("qkt", "tile", 16, 16, (("shift", 3),)),
        BuildRequest("qkt", "tile", 16, 16, (("shift", 4),), "2025"),
        BuildRequest("qkt", "tile", 16, 16, (("shift", 4),), "", "scores"),
        BuildRequest("qkt", "tile", 16, 16, (("shift", 4),), toolchain="peano"),
        BuildRequest("qkt", "tile", 16, 16, (("shift", 4),), blocks=2),
    ]
    keys = {cache_key(request) for request in (REQUEST, *others)}
    assert len(keys) == 10
    monkeypatch.setattr(cache, "_source_digest", lambda: b"another xattn")
    assert cache_key(REQUEST) not in keys


@pytest.mark.parametrize("damage", ["changed", "absent", "no manifest", "foreign manifest"])
def test_a_damaged_entry_is_made_anew(damage: str, tmp_path: Path) -> None:
    good, _ = build(REQUEST, tmp_path)
    (entry,) = tmp_path.iterdir()
    if damage == "changed":
        (entry / "insts.bin").write_bytes(b"\xff" + good["insts.bin"][1:])
    elif damage == "absent":
        (entry / "insts.bin").unlink()
    elif damage == "no manifest":
        (entry / MANIFEST).unlink()
    else:
        (entry / MANIFEST).write_text("[]")
    again, cached = build(REQUEST, tmp_path)
    assert not cached
    assert again == good
    assert build(REQUEST, tmp_path)[1]


def test_a_folder_that_cannot_be_written_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    files, cached = build(REQUEST, tmp_path / "file")
    assert MANIFEST in files
    assert not cached


def test_old_builds_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_MOST_ENTRIES", 2)
    for shift in (1, 2, 3):
        build(BuildRequest("qkt", "tile", 16, 16, (("shift", shift),)), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    assert build(BuildRequest("qkt", "tile", 16, 16, (("shift", 3),)), tmp_path)[1]
