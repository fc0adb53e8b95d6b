"""Proves encoded programs legal: control flow, exposed pipeline, ports, definite assignment. Knows no scheduler."""

from __future__ import annotations

from xattn.compiler.legality.checker import assert_legal, check_program
from xattn.compiler.legality.violation import RULES, LegalityError, Violation
from xattn.isa.table import instruction_table


def state_at_reset() -> frozenset[str]:
    """The registers whose value after reset is known: control and status registers, for `defined_at_entry`."""
    registers = instruction_table().registers.values()
    return frozenset(r.name for r in registers if r.file in ("control", "status") and not r.parts)


__all__ = ["RULES", "LegalityError", "Violation", "assert_legal", "check_program", "state_at_reset"]
