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
    next_free = [DATA_MEMORY_BASE + bank * BANK_BYTES for bank in range(BANKS)]
    next_free[0] += stack_bytes
    ends = [DATA_MEMORY_BASE + (bank + 1) * BANK_BYTES for bank in range(BANKS)]
    addresses: dict[str, int] = {}
    for array in sorted(arrays, key=lambda a: (a.bank is None, -a.size)):
        candidates = (
            [array.bank] if array.bank is not None else sorted(range(BANKS), key=lambda b: next_free[b] - ends[b])
        )
        for bank in candidates:
            start = -(-next_free[bank] // array.alignment) * array.alignment
            if start + array.size <= ends[bank]:
                addresses[array.name], next_free[bank] = start, start + array.size
                array.bank = bank
                break
        else:
            free = ", ".join(f"bank {b}: {ends[b] - next_free[b]}" for b in range(BANKS))
            raise InputError(
                f"array {array.name} needs {array.size} bytes in one bank of {BANK_BYTES}; free are {free}. "
                "Take a smaller block, another bank, or split the array"
            )
        if array.base is None:
            array.address = addresses[array.name]
    return addresses
