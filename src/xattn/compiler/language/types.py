"""Element types of the kernel language."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ScalarType:
    """An integer in memory. In a register it is widened to 32 bits."""

    name: str
    bytes: int
    signed: bool

    def __repr__(self) -> str:
        return self.name


int8 = ScalarType("int8", 1, True)
uint8 = ScalarType("uint8", 1, False)
int16 = ScalarType("int16", 2, True)
uint16 = ScalarType("uint16", 2, False)
int32 = ScalarType("int32", 4, True)


@dataclass(frozen=True)
class VectorType:
    """A block of `lanes` elements that moves as one: 32 bytes fill half a vector register, 64 bytes a whole one."""

    element: ScalarType
    lanes: int

    def __post_init__(self) -> None:
        if self.bytes not in (32, 64):
            raise ValueError(f"a vector has 32 or 64 bytes, {self!r} has {self.bytes}")

    @property
    def bytes(self) -> int:
        """Size in memory."""
        return self.element.bytes * self.lanes

    def __repr__(self) -> str:
        return f"{self.element}x{self.lanes}"


@dataclass(frozen=True)
class AccumulatorType:
    """A 4×8 accumulator in memory: 32 lanes of int32, row-major."""

    bytes: int = 128
