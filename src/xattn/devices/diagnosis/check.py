"""A line of a diagnosis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "missing", "wrong", "unknown"]


@dataclass(frozen=True)
class Check:
    """What was looked at, what was found, and what to do about it.

    `state`: "ok"; "missing"; "wrong" (there, but of no use); "unknown" (what it depends on is missing). `is_needed`:
    without it no NPU can be used.
    """

    group: str
    name: str
    state: State
    found: str
    remedy: str = ""
    is_needed: bool = False
