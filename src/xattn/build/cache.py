"""Builds on disk, by what they are made of: the request and xattn itself, every source file and table of it.

A damaged entry counts as absent. The folder can be deleted at any time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import msgspec

from xattn.build.manifest import MANIFEST, BuildRequest, is_as_built, read_manifest
from xattn.cache import cache_folder, is_abandoned
from xattn.errors import FileFormatError

_SOURCES = {".py", ".txt", ".json", ".c", ".h"}
_UNFINISHED = ".new."  # how the names of builds begin that are being written
_MOST_ENTRIES = 64  # builds that are kept; the oldest go first


def build(request: BuildRequest, folder: Path | None = None) -> tuple[dict[str, bytes], bool]:
    """The files of a build by name, and whether they were made before. InputError when it cannot be built.

    `folder` is where builds are kept (default: in xattn's cache folder). A folder that cannot be written is no
    hindrance: the build is then made anew each time, and so is what another compiler has a part in.
    """
    if request.toolchain != BuildRequest.toolchain:
        from xattn.build.artifacts import make_artifacts

        return make_artifacts(request), False
    home = folder if folder is not None else cache_folder() / "builds"
    entry = home / cache_key(request)
    kept = _read(entry)
    if kept is not None:
        return kept, True
    from xattn.build.artifacts import make_artifacts  # the compiler and all: not for what is in the cache

    files = make_artifacts(request)
    with suppress(OSError):
        _write(entry, files)
        _prune(home, entry)
    return files, False


def cache_key(request: BuildRequest) -> str:
    """Hexadecimal digest of everything that decides the bytes of a build."""
    return hashlib.sha256(msgspec.json.encode(request) + b"\0" + _source_digest()).hexdigest()


@lru_cache(maxsize=1)
def _source_digest() -> bytes:
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.suffix in _SOURCES):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root)}\0{len(content)}\0".encode() + content)
    return digest.digest()


def _read(entry: Path) -> dict[str, bytes] | None:
    """The files of an entry; None if one is absent or not as its manifest says."""
    try:
        data = (entry / MANIFEST).read_bytes()
        manifest = read_manifest(data)
        files = {item.name: (entry / item.name).read_bytes() for item in manifest.files}
    except (OSError, FileFormatError):
        return None
    for item in manifest.files:
        if not is_as_built(item, files[item.name]):
            return None
    return {**files, MANIFEST: data}


def _write(entry: Path, files: dict[str, bytes]) -> None:
    """Put an entry in place, whole or not at all."""
    entry.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=entry.parent, prefix=_UNFINISHED) as temporary:
        new = Path(temporary) / "entry"
        new.mkdir()
        for name, data in files.items():
            (new / name).write_bytes(data)
        if entry.exists():
            shutil.rmtree(entry)
        os.replace(new, entry)


def _prune(home: Path, keep: Path) -> None:
    """Drop the oldest builds, and what killed processes left half-written."""
    found = list(home.iterdir())
    for path in found:
        if path.name.startswith(_UNFINISHED) and is_abandoned(_age(path)):
            shutil.rmtree(path, ignore_errors=True)
    entries = sorted((path for path in found if path != keep and not path.name.startswith(".")), key=_age)
    for path in entries[: max(0, len(entries) + 1 - _MOST_ENTRIES)]:
        shutil.rmtree(path, ignore_errors=True)


def _age(path: Path) -> float:
    return path.stat().st_mtime
