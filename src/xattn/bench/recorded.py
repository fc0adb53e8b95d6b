"""Figures recorded elsewhere, shown beside our own and never mixed with them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recorded:
    """A kernel that is not run here: its cycles for one tile of `tokens` × `width`, and where they come from."""

    name: str
    cycles: int
    tokens: int
    width: int
    macs: int
    origin: str


# The function attention_64x64 of the one surviving ELF of the kernel whose host time was published as 2.233 ms.
SEED_KERNEL = Recorded(
    name="seed's C kernel",
    cycles=2_975_089,
    tokens=64,
    width=64,
    macs=2 * 64 * 64 * 64,
    origin="Unicorn-Amanuensis's scalar kernel compiled by Peano, counted once on another AIE2 simulator; not run here",
)


def recorded_for(tokens: int, width: int) -> list[Recorded]:
    """The recorded figures for a shape."""
    return [r for r in (SEED_KERNEL,) if (r.tokens, r.width) == (tokens, width)]
