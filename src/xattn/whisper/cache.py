"""Captured activations on disk: each encoder pass is made once. A damaged or foreign entry counts as absent."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from xattn.cache import cache_folder, drop_oldest
from xattn.files import write_whole
from xattn.whisper.tensors import Float32

_SUFFIX = ".npz"
_LARGEST = 1 << 30  # bytes of activations that are kept; the oldest go first

QKV = tuple[Float32, Float32, Float32]


class ActivationCache:
    """Q, K and V by key, one ``.npz`` file each."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder if folder is not None else cache_folder() / "activations"

    def read(self, key: str, shape: tuple[int, int, int]) -> QKV | None:
        """The entry, float32 of ``shape`` each; None if it is absent, damaged, or of another shape or type."""
        try:
            with self._path(key).open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                q, k, v = (np.array(archive[name]) for name in "qkv")  # ZIP checks each member's CRC here
        except Exception:  # whatever a damaged archive makes zipfile and numpy raise, the entry is made anew
            return None
        usable = all(m.shape == shape and m.dtype == np.float32 and np.isfinite(m).all() for m in (q, k, v))
        return (q, k, v) if usable else None

    def write(self, key: str, entry: QKV) -> None:
        """Store an entry, whole or not at all, and drop the oldest where there is too much.

        OSError if the folder cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        archive = io.BytesIO()
        np.savez(archive, q=entry[0], k=entry[1], v=entry[2])
        write_whole(self._path(key), archive.getvalue())
        drop_oldest(self.folder, _SUFFIX, _LARGEST, keep=self._path(key))

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{_SUFFIX}"
