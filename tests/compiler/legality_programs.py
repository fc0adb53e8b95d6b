"""Short ways to say a program in assembly text and what the legality checker finds in it."""

from collections.abc import Iterable

from xattn.compiler.legality import Violation, check_program, state_at_reset
from xattn.isa import assemble, instruction_table

ALL_REGISTERS = frozenset(instruction_table().registers)
AT_CALL = state_at_reset() | {"SP", "lr", "p0", "p1", "r0", "r1"}
FULL_NOP = "nopb; nopa; nops; nopxm; nopv"  # 16 bytes
RETURN = "ret lr\nnop*5"


def found(text: str, defined: Iterable[str] = ALL_REGISTERS, **options: object) -> list[Violation]:
    """What the checker finds in a program that starts at its first line."""
    return check_program(assemble(text), defined_at_entry=defined, **options)  # type: ignore[arg-type]


def rules(text: str, defined: Iterable[str] = ALL_REGISTERS, **options: object) -> list[tuple[str, int]]:
    """Rules broken and where."""
    return [(violation.rule, violation.address) for violation in found(text, defined, **options)]


def apart(first: str, second: str, distance: int) -> str:
    """Two bundles with `distance` - 1 others between them, and time for everything to land."""
    between = f"nop*{distance - 1}\n" if distance > 1 else ""
    return f"{first}\n{between}{second}\nnop*16\ndone\n"
