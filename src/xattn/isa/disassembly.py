"""Disassembler: machine code to text that assembles to the same bytes, with labels for branch targets and loops."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from xattn.isa.codec import Bundle, Instruction, decode_program, smallest_format
from xattn.isa.model import Register
from xattn.isa.relocations import relocated_operand
from xattn.isa.syntax import is_symbol, text_of
from xattn.isa.timing import FETCH_BYTES


@dataclass(frozen=True)
class DisassembledBundle:
    """One bundle with its text, and the labels that stand before it."""

    address: int
    bundle: Bundle
    text: str
    labels: tuple[str, ...]


def disassemble(
    data: bytes,
    base: int = 0,
    symbols: Mapping[str, int] | None = None,
    *,
    addresses: bool = False,
    show_bytes: bool = False,
    compact: bool = False,
) -> str:
    """Text of the bundles in `data`, which starts at address `base`; assembling it at `base` gives `data` again.

    `symbols` name addresses: those in program memory become labels, others are named in comments. `addresses` and
    `show_bytes` add comments. `compact` leaves out no-operations that the assembler puts back by itself.
    FileFormatError, with the address, where the bytes are no bundle.
    """
    known = symbols or {}
    bundles = disassemble_bundles(data, base, known, compact=compact)
    return listing(bundles, known, addresses=addresses, show_bytes=show_bytes)


def listing(
    bundles: Iterable[DisassembledBundle],
    symbols: Mapping[str, int] | None = None,
    *,
    addresses: bool = False,
    show_bytes: bool = False,
) -> str:
    """The text of bundles, one a line, their labels before them."""
    lines = []
    for item in bundles:
        lines += [f"{label}:" for label in item.labels]
        comments = [f"{item.address:#06x}:"] if addresses else []
        comments += [item.bundle.encode().hex()] if show_bytes else []
        comments += _data_names(item.bundle, symbols or {})
        lines.append(f"    {item.text:<72}// {' '.join(comments)}" if comments else f"    {item.text}")
    return "\n".join(lines) + ("\n" if lines else "")


def disassemble_bundles(
    data: bytes,
    base: int = 0,
    symbols: Mapping[str, int] | None = None,
    relocations: Mapping[int, tuple[int, str]] | None = None,
    *,
    compact: bool = False,
) -> list[DisassembledBundle]:
    """The bundles of `data` with their text and labels; as `disassemble`.

    `relocations` of an object, address to (type, text such as `table + 32`), stand in place of the operands they patch.
    """
    bundles = dict(decode_program(data, base))
    unlinked = relocations or {}
    labels = _labels({a: b for a, b in bundles.items() if a not in unlinked}, symbols or {}, bundles.keys())
    first = {address: names[0] for address, names in labels.items() if address % FETCH_BYTES == 0}
    return [
        DisassembledBundle(
            address,
            bundle,
            bundle_text(bundle, first, relocation=unlinked.get(address), compact=compact),
            labels.get(address, ()),
        )
        for address, bundle in bundles.items()
    ]


def bundle_text(
    bundle: Bundle,
    labels: Mapping[int, str] | None = None,
    *,
    relocation: tuple[int, str] | None = None,
    compact: bool = False,
) -> str:
    """One bundle in assembly text, its slots in the order of its format.

    `labels` name addresses of fetches; `relocation` is a type and the text of the operand that it patches.
    """
    by_slot = {instruction.opcode.slot: instruction for instruction in bundle.instructions}
    order = [by_slot[slot] for slot in bundle.format.lsb_of]
    if compact and bundle.operations:
        slots = frozenset(instruction.opcode.slot for instruction in bundle.operations)
        order = [i for i in order if not i.opcode.is_nop] if smallest_format(slots) is bundle.format else order
    patched = relocated_operand(bundle, relocation[0]) if relocation else None
    texts = []
    for instruction in order:
        if relocation and patched and patched[0] == instruction.opcode.slot:
            texts.append(text_of(instruction, lambda _: relocation[1]))
        else:
            texts.append(_operation_text(instruction, labels or {}))
    return "; ".join(texts)


def _operation_text(instruction: Instruction, labels: Mapping[int, str]) -> str:
    fetched = _fetch_addresses(instruction)
    return text_of(instruction, lambda value: labels.get(value) if value in fetched else None)


def _fetch_addresses(instruction: Instruction) -> list[int]:
    """Addresses in program memory that the instruction names: a branch target, or a bound of a hardware loop."""
    opcode = instruction.opcode
    loops = any(isinstance(v, Register) and v.name in ("LS", "LE") for v in instruction.values)
    if not (opcode.is_branch or (loops and opcode.mnemonic in ("movxm", "mov", "mova", "movx"))):
        return []
    return [value for value in instruction.values if isinstance(value, int)]


def _labels(
    bundles: Mapping[int, Bundle], symbols: Mapping[str, int], addresses: Collection[int]
) -> dict[int, tuple[str, ...]]:
    """Address to label names: given symbols first, made-up names for the other addresses that `bundles` fetch from.

    Only multiples of 16 are made labels, since the assembler takes no others as branch targets.
    """
    labels: dict[int, tuple[str, ...]] = {}
    for name, address in symbols.items():
        if address in addresses and is_symbol(name):
            labels[address] = (*labels.get(address, ()), name)
    for bundle in bundles.values():
        for instruction in bundle.operations:
            for address in _fetch_addresses(instruction):
                if address in addresses and address % FETCH_BYTES == 0 and address not in labels:
                    labels[address] = (_new_name(address, symbols),)
    return labels


def _new_name(address: int, symbols: Mapping[str, int]) -> str:
    name = f".L{address:x}"
    while name in symbols:
        name += "_"
    return name


def _data_names(bundle: Bundle, symbols: Mapping[str, int]) -> list[str]:
    """Symbols whose value a movxm of this bundle loads into a register other than a loop bound."""
    values = {
        value
        for instruction in bundle.operations
        if instruction.opcode.mnemonic == "movxm" and not _fetch_addresses(instruction)
        for value in instruction.values
        if isinstance(value, int) and value
    }
    return [f"{name} = {value:#x}" for name, value in symbols.items() if value in values]
