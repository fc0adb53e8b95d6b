"""Where arrays lie in the core's 64 KB of data memory: four banks of 16 KB, the stack at the bottom of the first.

Two accesses of one cycle to the same bank cost a stall, so arrays that are loaded together belong in different banks.
A hint (`bank=`) is obeyed; the others go where there is room, the emptiest bank first.
"""

from __future__ import annotations

from xattn.compiler.ir import Array
from xattn.errors import InputError
from xattn.isa.timing import DATA_MEMORY_BASE, DATA_MEMORY_BYTES

BANKS = 4
BANK_BYTES = DATA_MEMORY_BYTES // BANKS
STACK_BYTES = 1024


def place_arrays(arrays: list[Array], stack_bytes: int = STACK_BYTES) -> dict[str, int]:
    """Give every array an address (also arguments: the address at which the kernel is at its best). Name -> address."""
    for array in arrays:
        _require_placeable(array)
    next_free = [DATA_MEMORY_BASE + bank * BANK_BYTES for bank in range(BANKS)]
    next_free[0] += stack_bytes
    ends = [DATA_MEMORY_BASE + (bank + 1) * BANK_BYTES for bank in range(BANKS)]
    addresses: dict[str, int] = {}
    for array in sorted(arrays, key=lambda a: (a.bank is None, -a.size)):
        free = [end - start for start, end in zip(next_free, ends, strict=True)]
        candidates = [array.bank] if array.bank is not None else sorted(range(BANKS), key=lambda b: -free[b])
        for bank in candidates:
            start = -(-next_free[bank] // array.alignment) * array.alignment
            if start + array.size <= ends[bank]:
                addresses[array.name], next_free[bank] = start, start + array.size
                array.bank = bank
                break
        else:
            raise InputError(_no_room(array, arrays, free, stack_bytes))
        if array.base is None:
            array.address = addresses[array.name]
    return addresses


def _require_placeable(array: Array) -> None:
    if array.size <= 0:
        raise InputError(f"array {array.name} has {array.size} bytes: every number of its shape must be at least 1")
    if array.bank is not None and not 0 <= array.bank < BANKS:
        raise InputError(f"array {array.name} asks for bank {array.bank}; the core has banks 0 to {BANKS - 1}")


def _no_room(array: Array, arrays: list[Array], free: list[int], stack_bytes: int) -> str:
    """Why an array finds no place, and what helps."""
    need = f"array {array.name} needs {array.size:,} bytes"
    left = f"left are {', '.join(f'{room:,} in bank {bank}' for bank, room in enumerate(free))}"
    stack = f"the stack takes {stack_bytes:,} of bank 0"
    if array.size > BANK_BYTES:
        return f"{need}, and a bank of data memory has {BANK_BYTES:,}. Take a smaller block, or split the array in two"
    if array.bank is not None:
        return f"{need} in bank {array.bank} of {BANK_BYTES:,}; {left} ({stack}). Take another bank or a smaller block"
    total = sum(other.size for other in arrays)
    return (
        f"{need} in one bank of {BANK_BYTES:,}; {left}: all arrays together need {total:,} of {DATA_MEMORY_BYTES:,} "
        f"bytes, and {stack}. Take a smaller block, or split large arrays"
    )
