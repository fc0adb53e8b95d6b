"""Where the padding of a configuration goes: the two layouts that real files have.

Upstream, a configuration passes two programs. The AIE driver's CDO writer (used by mlir-aie) emits 64-bit forms and
puts a NOP before a DMA write so that its data starts 16-byte aligned in the file. bootgen then narrows the forms, adds
NOPs so that (data position & 3) == (address >> 2 & 3), both in words, keeps the NOPs that it finds, and joins several
CDOs under one header. Any padding is legal for the NPU; doing the same makes files comparable byte for byte.
Sources: behaviour of Debian's bootgen 2022.2 and of real PDIs.
"""

from __future__ import annotations

from collections.abc import Iterable

from xattn.array.cdo import (
    HEADER_WORDS,
    LONG_LENGTH,
    VERSION,
    Cdo,
    Command,
    DmaWrite,
    End,
    MaskPoll,
    MaskWrite,
    Nop,
    Write,
    encode_command,
)
from xattn.array.words import U32_MAX, WORD

_ADDRESS_WORDS = 2


def driver_layout(commands: Iterable[Command]) -> Cdo:
    """A CDO as the AIE driver's CDO writer lays it out: 64-bit forms, the data of DMA writes 16-byte aligned."""
    out: list[Command] = []
    position = HEADER_WORDS
    for command in commands:
        command = _wide(command)
        if isinstance(command, DmaWrite):
            count = len(command.data) // WORD + _ADDRESS_WORDS
            # The driver counts the second length word from 256 on, one later than it writes it; kept for equality.
            head = 1 + _ADDRESS_WORDS + (count > LONG_LENGTH)
            gap = -(position + head) % 4
            if gap:
                out.append(Nop(bytes((gap - 1) * WORD)))
                position += gap
        out.append(command)
        position += len(encode_command(command)) // WORD
    return Cdo(tuple(out))


def bootgen_layout(cdo: Cdo) -> Cdo:
    """`cdo` as bootgen writes it back: 32-bit forms where the address allows, DMA data aligned like its address.

    A DMA write of one word becomes a Write, option words of 0 at a poll's end go, and what follows an End is left out.
    Addresses are meant to be inside the array: bootgen treats 0xF6000000 to 0xF7FFFFFF (no XDNA1 column) specially.
    """
    out: list[Command] = []
    position = HEADER_WORDS
    for command in cdo.commands:
        if isinstance(command, End):
            break
        command = _narrow(command)
        if isinstance(command, DmaWrite):
            gap = _bootgen_gap(position, command)
            if gap:
                out.append(Nop(bytes((gap - 1) * WORD)))
                position += gap
        out.append(command)
        position += len(encode_command(command)) // WORD
    return Cdo(tuple(out))


def merge(cdos: Iterable[Cdo]) -> Cdo:
    """The one CDO that bootgen makes of several, each laid out from its own start and then joined in this order."""
    return Cdo(tuple(command for cdo in cdos for command in bootgen_layout(cdo).commands), VERSION)


def without_padding(cdo: Cdo) -> Cdo:
    """`cdo` without its NOPs: what it configures, whatever tool wrote it."""
    return Cdo(tuple(command for command in cdo.commands if not isinstance(command, Nop)), cdo.version)


def _bootgen_gap(position: int, command: DmaWrite) -> int:
    """Words of NOP to put before `command`, which would start at word `position`."""
    count = len(command.data) // WORD + _ADDRESS_WORDS
    data_start = position + 1 + (count >= LONG_LENGTH) + _ADDRESS_WORDS
    return ((command.address >> 2) - data_start) % 4


def _wide(command: Command) -> Command:
    match command:
        case Write(address, value):
            return Write(address, value, wide=True)
        case MaskWrite(address, mask, value):
            return MaskWrite(address, mask, value, wide=True)
        case MaskPoll(address, mask, expected, timeout, options):
            return MaskPoll(address, mask, expected, timeout, options, wide=True)
        case _:
            return command


def _narrow(command: Command) -> Command:
    match command:
        case Write(address, value):
            return Write(address, value, wide=address > U32_MAX)
        case MaskWrite(address, mask, value):
            return MaskWrite(address, mask, value, wide=address > U32_MAX)
        case MaskPoll(address, mask, expected, timeout, options):
            return MaskPoll(address, mask, expected, timeout, _without_zero_tail(options), wide=address > U32_MAX)
        case DmaWrite(address, data) if len(data) == WORD:
            return Write(address, int.from_bytes(data, "little"), wide=address > U32_MAX)
        case _:
            return command


def _without_zero_tail(options: tuple[int, ...]) -> tuple[int, ...]:
    while options and options[-1] == 0:
        options = options[:-1]
    return options
