"""Proves encoded programs legal: control flow, exposed pipeline, ports, definite assignment. Knows no scheduler.

What the proof leaves open: the checker does not know which value a read is meant to get. With in-flight reads allowed
it reports only what cannot be meant (two writes in one cycle, a value that is lost unread); whether the right value
arrives is for a run against the integer model to show. Addresses, banks and loop counts are not looked at; a stall
holds the whole core, so distances in bundles are distances in cycles. A register counts as read as a whole, but for
multiplies whose configuration word is a known constant: reading some lanes of a half-written vector is reported.
"""

from __future__ import annotations

from xattn.compiler.legality.checker import assert_legal, check_program
from xattn.compiler.legality.violation import RULES, LegalityError, Violation
from xattn.isa.table import instruction_table


def state_at_reset() -> frozenset[str]:
    """The registers whose value after reset is known: control and status registers, for `defined_at_entry`."""
    registers = instruction_table().registers.values()
    return frozenset(r.name for r in registers if r.file in ("control", "status") and not r.parts)


__all__ = ["RULES", "LegalityError", "Violation", "assert_legal", "check_program", "state_at_reset"]
