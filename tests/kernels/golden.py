"""The golden file of cycle counts: {kernel: {"tokens×width": cycles}}, and what a measured count means beside it."""

from __future__ import annotations

import json
import os
from pathlib import Path

FILE = Path(__file__).with_name("golden_cycles.json")
HOW = "pytest tests/kernels/test_cycles.py --update-golden"

Golden = dict[str, dict[str, int]]


def read(file: Path = FILE) -> Golden:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def write(golden: Golden, file: Path = FILE) -> None:
    """Whole or not at all, and in one order, so that a change shows as a change of single lines."""
    text = json.dumps({name: golden[name] for name in sorted(golden)}, indent=2, sort_keys=True) + "\n"
    temporary = file.with_suffix(".new")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, file)


def record(kernel: str, shape: str, cycles: int, file: Path = FILE) -> None:
    """Put one count into the file."""
    golden = read(file)
    golden.setdefault(kernel, {})[shape] = cycles
    write(golden, file)


def keep_only(known: dict[str, set[str]], file: Path = FILE) -> None:
    """Drop kernels and shapes that there are no more."""
    golden = {k: {s: c for s, c in shapes.items() if s in known[k]} for k, shapes in read(file).items() if k in known}
    write(golden, file)


def complaint(
    golden: int | None, measured: int, update: bool = False, accept_rise: bool = False, how: str = HOW
) -> str | None:
    """Why a measured count may not stand, or be written, beside the golden one; None when it may."""
    if golden is None:
        return None if update else f"{measured:,} cycles, and no golden figure: {how}"
    if measured > golden and not (update and accept_rise):
        return (
            f"{measured:,} cycles, golden are {golden:,}: {measured - golden:,} more. "
            f"Find what made it slower; if that is wanted: {how} --accept-rise"
        )
    if measured < golden and not update:
        return f"{measured:,} cycles, golden are {golden:,}: {golden - measured:,} fewer. Keep that: {how}"
    return None
