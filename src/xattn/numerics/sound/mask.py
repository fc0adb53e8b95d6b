"""Which keys of a block count for which queries, in the form that a kernel takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class BlockMask:
    """Keys that do not count weigh exactly 0.

    Attributes:
        keys: `[keys]` bool, False for padding.
        diagonal: query i sees the keys up to i + `diagonal` of the block, which may be negative; None: all of them.
    """

    keys: NDArray[np.bool_]
    diagonal: int | None = None

    def visible(self, queries: int) -> NDArray[np.bool_]:
        """`[queries, keys]`: which keys each query sees; `[1, keys]` where all see the same ones."""
        if self.diagonal is None:
            return self.keys[np.newaxis]
        last_seen = np.arange(queries)[:, np.newaxis] + self.diagonal
        return self.keys & (np.arange(len(self.keys)) <= last_seen)
