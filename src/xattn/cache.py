"""Files that can be made again, in the user's folder for caches: $XATTN_CACHE, else the system's place for caches.

The folder can be deleted at any time. A file is written under another name and then renamed, with a digest before its
contents, so that a process that is killed or a disk that is full leaves nothing that a later run would believe.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from xattn.files import write_whole

CACHE_VARIABLE = "XATTN_CACHE"
_ABANDONED_S = 3600.0  # nobody writes an entry for an hour
_DIGEST_BYTES = hashlib.sha256().digest_size
_counted: dict[tuple[Path, str], int] = {}  # bytes of a cache's files, as this process last saw or left them


def cache_folder() -> Path:
    """The user's folder for xattn's caches; it need not exist yet."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "xattn"


@dataclass(frozen=True)
class FileCache:
    """Bytes by key, one file each; the oldest files go when all together exceed `largest` bytes."""

    folder: Path
    suffix: str
    largest: int

    def path(self, key: str) -> Path:
        """Where the entry of a key lies."""
        return self.folder / f"{key}{self.suffix}"

    def read(self, key: str) -> bytes | None:
        """The entry; None where there is none, or it is damaged."""
        try:
            data = self.path(key).read_bytes()
        except OSError:
            return None
        contents = data[_DIGEST_BYTES:]
        return contents if hashlib.sha256(contents).digest() == data[:_DIGEST_BYTES] else None

    def write(self, key: str, contents: bytes) -> None:
        """Store an entry, whole or not at all, and drop the oldest where there is too much.

        OSError if the folder cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.path(key), hashlib.sha256(contents).digest() + contents)
        self._make_room(_DIGEST_BYTES + len(contents), keep=self.path(key))

    def _make_room(self, written: int, keep: Path) -> None:
        """Looking at thousands of files for each one that is written would take longer than what they save."""
        cache = self.folder, self.suffix
        total = _counted.get(cache, self.largest) + written
        if total > self.largest:
            total = drop_oldest(self.folder, self.suffix, self.largest, keep)
        _counted[cache] = total

    def kept(self, key: str, make: Callable[[], bytes]) -> bytes:
        """The entry, made where there is none; where it cannot be stored, it is made again the next time."""
        found = self.read(key)
        if found is None:
            found = make()
            with contextlib.suppress(OSError):
                self.write(key, found)
        return found


def drop_oldest(folder: Path, suffix: str, largest: int, keep: Path) -> int:
    """Drop the oldest files with this suffix until all together have `largest` bytes, but not `keep`; what they have.

    What a killed process left half-written goes too, once it is too old to be on its way still.
    """
    entries = []
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if suffix in path.name:  # half-written ones too
                with contextlib.suppress(FileNotFoundError):  # another process may prune at the same time
                    status = path.stat()
                    if path.name.startswith(".") and is_abandoned(status.st_mtime):
                        path.unlink()
                    else:
                        entries.append((status.st_mtime, status.st_size, path))
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= largest:
            break
        if path != keep:
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size
    return total


def is_abandoned(modified: float) -> bool:
    """Whether something half-written that was last changed then (seconds since 1970) is nobody's any more."""
    return time.time() - modified > _ABANDONED_S
