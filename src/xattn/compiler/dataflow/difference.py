"""Where machine code does something else than its program in order, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xattn.errors import XattnError


@dataclass(frozen=True)
class Difference:
    """One difference: what kind, at which operation and operand, what should be there and what is.

    `kind`: instruction (the code names something else than the operation), operand (another value is read), memory
    (bytes are touched in another order), count (an operation runs too often or not often enough), control (execution
    leaves the program), order (locks, streams and events in another order), end (registers or memory differ at the
    return). `address` (bytes) and `cycle` (bundles since entry) are None where no single bundle is to blame.
    """

    kind: str
    operation: str
    line: int
    subject: str
    expected: str
    found: str
    address: int | None = None
    cycle: int | None = None

    def __str__(self) -> str:
        where = "" if self.address is None else f"{self.address:#06x}"
        when = "" if self.cycle is None else f" in cycle {self.cycle}"
        place = f"{where}{when}: " if where else ""
        source = f" (line {self.line})" if self.line else ""
        named = f" of `{self.operation}`{source}" if self.operation else ""
        return f"{place}{self.kind}: {self.subject}{named}: expected {self.expected}, found {self.found}"


class DataflowError(XattnError):
    """Machine code that does not compute what its program says; `differences` has what was found."""

    def __init__(self, name: str, differences: Sequence[Difference], shown: int = 5) -> None:
        self.differences = tuple(differences)
        lines = [str(difference) for difference in self.differences[:shown]]
        more = len(self.differences) - len(lines)
        if more > 0:
            lines.append(f"and {more} more")
        super().__init__(
            f"the machine code of {name} does not do what its program says. This is a defect of the compiler, not of "
            "the kernel: " + "; ".join(lines)
        )
