"""What the legality checker finds, in words that say what to change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xattn.errors import XattnError
from xattn.isa.codec import Bundle

RULES = {
    "decode": "every byte belongs to a bundle that means something",
    "program-memory": "the program lies inside program memory",
    "fall-off": "control flow ends in ret, done or a branch, never behind the last bundle",
    "branch-target": "branches, loop starts and loop ends name the first byte of a bundle of the program",
    "indirect-target": "the target of every indirect branch is a constant that the program itself writes",
    "return-address": "ret returns to the bundle behind the delay slots of its call",
    "alignment": "entries, branch targets, return points, loop starts and loop ends are 16-byte aligned",
    "delay-slot": "no branch, and no loop end, in the five delay slots of a branch",
    "loop-end": "the bundle at le is 16 bytes long and holds neither a branch nor a part-word store",
    "loop-setup": "ls and le are constants, and 112 bytes lie between their last write (or lc's) and the bundle at le",
    "loop-nesting": "a loop inside a hardware loop restores ls, le and lc before the outer loop's end",
    "in-flight-read": "no read while a write of the register is under way and not yet visible",
    "late-read": "no write lands between the issue of an instruction and its late read of the register",
    "same-cycle-write": "no two writes of a register land in the same cycle",
    "overtaken-write": "a value that lands before one issued earlier is read in between; else it is lost",
    "port": "no port or unit is needed twice in one cycle",
    "undefined-read": "every register read has been written on every path",
    "exit-in-flight": "no write is under way when the program returns to its caller",
    "lock-order": "memory operations keep their distance from lock operations",
}


@dataclass(frozen=True)
class Violation:
    """One broken rule: which (a key of RULES), the address and the bundle, the cause, and how control comes there."""

    rule: str
    address: int
    bundle: Bundle | None
    cause: str
    path: str = ""

    def __str__(self) -> str:
        return f"{self.address:#06x} {self.rule}: {self.cause}" + (f" [{self.path}]" if self.path else "")


class LegalityError(XattnError):
    """A program that the core would not execute as meant; `violations` has everything that was found."""

    def __init__(self, violations: Sequence[Violation], shown: int = 5) -> None:
        self.violations = tuple(violations)
        lines = [str(violation) for violation in self.violations[:shown]]
        more = len(self.violations) - len(lines)
        if more > 0:
            lines.append(f"and {more} more")
        count = len(self.violations)
        super().__init__(f"program is not legal, {count} violation{'s' * (count != 1)}: " + "; ".join(lines))
