"""The small sections of an NPU's xclbin: memories, kernels, which kernel argument uses which memory, kernel metadata.

Each section has a typed view that writes and reads its bytes. Sources: the public header of XRT (Apache-2.0) and the
sections of real files.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from xattn.array.words import ByteReader
from xattn.errors import FileFormatError, InputError

DRAM = 2
PS_KERNEL = 7
NO_ADDRESS = 0xFFFF_FFFF_FFFF_FFFF
_MEMORY = struct.Struct("<BB6xQQ16s")
_KERNEL = struct.Struct("<IIQ64s")
_CONNECTION = struct.Struct("<iii")
_DPU = 1


@dataclass(frozen=True, slots=True)
class MemoryBank:
    """A memory that buffers can live in: `size` in KiB, `base` address, and a name of at most 15 bytes."""

    name: str
    size: int
    base: int
    kind: int = DRAM
    used: bool = True


@dataclass(frozen=True, slots=True)
class KernelInstance:
    """An entry of IP_LAYOUT, named "kernel:instance"; `properties` of a DPU kernel hold its id in bits 27:16."""

    name: str
    properties: int
    kind: int = PS_KERNEL
    base: int = NO_ADDRESS

    @classmethod
    def dpu(cls, kernel: str, instance: str, kernel_id: int) -> KernelInstance:
        """The entry of an NPU kernel with this id (12 bits)."""
        if not 0 <= kernel_id < 1 << 12:
            raise InputError(f"the kernel id {kernel_id:#x} does not fit 12 bits")
        return cls(f"{kernel}:{instance}", kernel_id << 16 | _DPU)

    @property
    def kernel_id(self) -> int:
        """The id by which AIE_PARTITION names this kernel."""
        return self.properties >> 16 & 0xFFF


@dataclass(frozen=True, slots=True)
class Connection:
    """Kernel argument number `argument` of IP_LAYOUT entry `kernel` uses MEM_TOPOLOGY entry `memory`."""

    argument: int
    kernel: int
    memory: int


@dataclass(frozen=True, slots=True)
class KernelArgument:
    """An argument as the host sees it: C type, byte offset in the register file, whether it is a pointer."""

    name: str
    type: str
    offset: int
    size: int = 8

    @property
    def is_pointer(self) -> bool:
        """Whether a buffer belongs to it."""
        return self.type.rstrip().endswith("*")


@dataclass(frozen=True, slots=True)
class KernelMetadata:
    """A kernel of EMBEDDED_METADATA: name, id, arguments in order, instance."""

    name: str
    kernel_id: int
    arguments: tuple[KernelArgument, ...]
    instance: str


def write_memory_topology(banks: Sequence[MemoryBank]) -> bytes:
    """The bytes of MEM_TOPOLOGY or GROUP_TOPOLOGY."""
    entries = [_pack(_MEMORY, bank.kind, bank.used, bank.size, bank.base, _name(bank.name, 16)) for bank in banks]
    return struct.pack("<I4x", len(banks)) + b"".join(entries)


def read_memory_topology(data: bytes) -> tuple[MemoryBank, ...]:
    """The memories of MEM_TOPOLOGY or GROUP_TOPOLOGY."""
    entries = _entries(data, "memory topology", 8, _MEMORY)
    return tuple(MemoryBank(_text(name), size, base, kind, bool(used)) for kind, used, size, base, name in entries)


def write_ip_layout(kernels: Sequence[KernelInstance]) -> bytes:
    """The bytes of IP_LAYOUT."""
    entries = [_pack(_KERNEL, item.kind, item.properties, item.base, _name(item.name, 64)) for item in kernels]
    return struct.pack("<I4x", len(kernels)) + b"".join(entries)


def read_ip_layout(data: bytes) -> tuple[KernelInstance, ...]:
    """The kernels of IP_LAYOUT."""
    entries = _entries(data, "IP layout", 8, _KERNEL)
    return tuple(KernelInstance(_text(name), properties, kind, base) for kind, properties, base, name in entries)


def write_connectivity(connections: Sequence[Connection]) -> bytes:
    """The bytes of CONNECTIVITY or GROUP_CONNECTIVITY."""
    entries = [_pack(_CONNECTION, item.argument, item.kernel, item.memory) for item in connections]
    return struct.pack("<I", len(connections)) + b"".join(entries)


def read_connectivity(data: bytes) -> tuple[Connection, ...]:
    """The connections of CONNECTIVITY or GROUP_CONNECTIVITY."""
    return tuple(Connection(*entry) for entry in _entries(data, "connectivity", 4, _CONNECTION))


def write_kernel_metadata(kernel: KernelMetadata) -> bytes:
    """The bytes of EMBEDDED_METADATA: XML with one kernel, indented by two spaces as xclbinutil does."""
    for text in (kernel.name, kernel.instance, *(argument.name for argument in kernel.arguments)):
        if not text.isprintable():
            raise InputError(f"the name {text!r} has characters that cannot stand in XML")
    lines = ['<?xml version="1.0" encoding="utf-8"?>']
    path = ("project", "platform", "device", "core")
    lines += [f"{'  ' * depth}<{tag}>" for depth, tag in enumerate(path)]
    lines.append(f'        <kernel name={quoteattr(kernel.name)} language="c" type="dpu">')
    lines.append(f'          <extended-data subtype="1" functional="0" dpu_kernel_id="{kernel.kernel_id:#x}"/>')
    for index, argument in enumerate(kernel.arguments):
        lines.append(
            f'          <arg name={quoteattr(argument.name)} addressQualifier="{int(argument.is_pointer)}"'
            f' id="{index}" size="{argument.size:#x}" offset="{_offset(argument.offset)}" hostOffset="0x0"'
            f' hostSize="{argument.size:#x}" type={quoteattr(argument.type)}/>'
        )
    lines.append(f"          <instance name={quoteattr(kernel.instance)}/>")
    lines.append("        </kernel>")
    lines += [f"{'  ' * depth}</{tag}>" for depth, tag in reversed(list(enumerate(path)))]
    return ("\n".join(lines) + "\n").encode()


def read_kernel_metadata(data: bytes) -> tuple[KernelMetadata, ...]:
    """The NPU kernels (type "dpu") of EMBEDDED_METADATA; other kernels are left out."""
    if b"<!" in data:
        raise FileFormatError("EMBEDDED_METADATA: found an XML declaration (<!…), expected plain elements")
    try:
        root = ElementTree.fromstring(data.rstrip(b"\0"))
        return tuple(_kernel(element) for element in root.iter("kernel") if element.get("type") == "dpu")
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise FileFormatError(f"EMBEDDED_METADATA: found XML that cannot be read ({error}), expected kernels") from None


def _kernel(element: ElementTree.Element) -> KernelMetadata:
    extended, instance = element.find("extended-data"), element.find("instance")
    if extended is None or instance is None:
        raise ValueError(f"kernel {element.get('name')} has no extended-data or no instance")
    arguments = tuple(
        KernelArgument(item.attrib["name"], item.attrib["type"], int(item.attrib["offset"], 0), _size(item))
        for item in element.findall("arg")
    )
    kernel_id = int(extended.attrib["dpu_kernel_id"], 0)
    return KernelMetadata(element.attrib["name"], kernel_id, arguments, instance.attrib["name"])


def _offset(offset: int) -> str:
    """Hexadecimal; 0 as "0x00", the way mlir-aie writes it, so that files can be compared byte for byte."""
    return f"{offset:#x}" if offset else "0x00"


def _size(element: ElementTree.Element) -> int:
    return int(element.attrib["size"], 0)


def _entries(data: bytes, what: str, head: int, entry: struct.Struct) -> list[tuple[int, ...]]:
    """The entries behind a count (`head` bytes with padding); count and size have to agree."""
    reader = ByteReader(data, what)
    count = int.from_bytes(reader.take(head, "the number of entries")[:4], "little")
    if count * entry.size != reader.remaining:
        fit = reader.remaining / entry.size
        reader.fail(0, f"{count} entries", f"the {fit:g} that {reader.remaining} bytes hold", "the section is damaged")
    return [entry.unpack(reader.take(entry.size, "an entry")) for _ in range(count)]


def _pack(layout: struct.Struct, *values: int | bytes) -> bytes:
    try:
        return layout.pack(*values)
    except struct.error as error:
        raise InputError(f"a number does not fit its field in the xclbin: {error}") from None


def _name(text: str, size: int) -> bytes:
    encoded = text.encode("utf-8")
    if len(encoded) >= size:
        raise InputError(f"the name {text!r} is {len(encoded)} bytes long; {size - 1} fit")
    return encoded


def _text(name: object) -> str:
    return bytes(name).split(b"\0", 1)[0].decode("utf-8", "replace") if isinstance(name, bytes) else ""
