"""The xclbin container ("axlf") that XRT loads: a header, section headers and the sections' bytes.

Layout, little-endian: magic "xclbin2\\0"; 0x08 signature length (-1 without); 0x0C reserved (28 bytes) and 0x28 a key
block (256 bytes), all 0xFF; 0x128 unique id; 0x130 total length; 0x138 timestamp; 0x148 version; 0x150 interface UUID;
0x160 platform name; 0x1A0 UUID; 0x1C0 number of sections; from 0x1C8 section headers of 40 bytes. Sections are 8-byte
aligned. xclbinutil appends a JSON copy of everything; it is optional, kept when read (`rest`) and not written.
Source: the public header of XRT (Apache-2.0).
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from enum import IntEnum
from uuid import UUID

from xattn.array.words import ByteReader, Coverage, align_up, place
from xattn.errors import InputError

FORMAT = "xclbin"
MAGIC = b"xclbin2\0"
HEADER_SIZE = 0x1C8
SECTION_HEADER_SIZE = 40
MAX_SECTIONS = 0x1000
SIZE_LIMIT = 1 << 30
NO_SIGNATURE = -1
VERSION = (2, 20, 0)
NO_UUID = UUID(int=0)
_ALIGNMENT = 8
_HEADER = struct.Struct("<8si28s256sQQQQHBBHH16s64s16s16sI4s")
_SECTION_HEADER = struct.Struct("<I16s4sQQ")
_LENGTH_OFFSET = 0x130
_COUNT_OFFSET = 0x1C0


class SectionKind(IntEnum):
    """The sections of an NPU's xclbin; other kinds are plain numbers."""

    EMBEDDED_METADATA = 2
    MEM_TOPOLOGY = 6
    CONNECTIVITY = 7
    IP_LAYOUT = 8
    GROUP_TOPOLOGY = 26
    GROUP_CONNECTIVITY = 27
    AIE_PARTITION = 32


@dataclass(frozen=True, slots=True)
class Section:
    """One section: kind, name (up to 15 bytes) and contents.

    `offset` is where it stands in a file that was read (a new section gets the next free place); `pad` is the gap in
    its header. Neither says anything about the contents, so they do not count in comparisons.
    """

    kind: int
    data: bytes
    name: bytes = b""
    offset: int | None = field(default=None, compare=False)
    pad: bytes = field(default=bytes(4), compare=False)

    @property
    def kind_name(self) -> str:
        """The kind as a word, where it is known."""
        return SectionKind(self.kind).name if self.kind in list(SectionKind) else f"section kind {self.kind}"


@dataclass(frozen=True, slots=True)
class Xclbin:
    """A container: sections in order, and the header's fields.

    timestamp: seconds since 1970. version: major, minor, patch. `uuid` None means derived from the sections' contents.
    `rest`: (offset, bytes) of what no header explains, such as xclbinutil's JSON copy.
    """

    sections: tuple[Section, ...]
    uuid: UUID | None = None
    timestamp: int = 0
    unique_id: int = 0
    version: tuple[int, int, int] = VERSION
    feature_rom_timestamp: int = 0
    mode: int = 0
    action_mask: int = 0
    interface_uuid: UUID = NO_UUID
    platform: bytes = b""
    debug_file: bytes = b""
    signature_length: int = NO_SIGNATURE
    reserved: bytes = b"\xff" * 28
    key_block: bytes = b"\xff" * 256
    tail: bytes = bytes(4)
    rest: tuple[tuple[int, bytes], ...] = ()

    def section(self, kind: int) -> Section:
        """The only section of this kind; none or several are an InputError."""
        found = [section for section in self.sections if section.kind == kind]
        if len(found) != 1:
            name = Section(kind, b"").kind_name
            raise InputError(f"the xclbin has {len(found)} sections of kind {name}; one is needed")
        return found[0]


def content_uuid(*parts: bytes) -> UUID:
    """A UUID (version 8) from the SHA-256 of `parts`, each taken with its length: same content, same UUID."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    number = int.from_bytes(digest.digest()[:16], "big")
    number = number & ~(0xF << 76) | 8 << 76
    return UUID(int=number & ~(0b11 << 62) | 0b10 << 62)


def write_xclbin(xclbin: Xclbin) -> bytes:
    """The file that holds `xclbin`; the same input gives the same bytes."""
    if len(xclbin.sections) > MAX_SECTIONS:
        raise InputError(f"an xclbin with {len(xclbin.sections)} sections is too large; {MAX_SECTIONS} are allowed")
    headers: list[bytes] = []
    pieces: list[tuple[int, bytes]] = []
    free = HEADER_SIZE + SECTION_HEADER_SIZE * len(xclbin.sections)
    for section in xclbin.sections:
        offset = align_up(free, _ALIGNMENT) if section.offset is None else section.offset
        name = _fixed(section.name, 16, "a section's name")
        headers.append(_SECTION_HEADER.pack(section.kind, name, section.pad, offset, len(section.data)))
        pieces.append((offset, section.data))
        free = max(free, offset + len(section.data))
    pieces.append((HEADER_SIZE, b"".join(headers)))
    pieces += xclbin.rest
    body = bytearray(place([(0, bytes(HEADER_SIZE)), *pieces], SIZE_LIMIT))
    body[:HEADER_SIZE] = _pack_header(xclbin, len(body))
    return bytes(body)


def read_xclbin(data: bytes) -> Xclbin:
    """The xclbin in `data`; a truncated, foreign or damaged file is a MalformedError that names the place."""
    reader = ByteReader(data, FORMAT)
    magic = reader.take(len(MAGIC), "the magic")
    if magic != MAGIC:
        reader.fail(0, repr(magic), repr(MAGIC), "is this an xclbin?")
    reader.offset = 0
    fields = _HEADER.unpack(reader.take(HEADER_SIZE, "the header"))
    length, count = fields[5], fields[-2]
    if length != len(data):
        remedy = "the file is cut short" if length > len(data) else "something is appended to the file"
        reader.fail(_LENGTH_OFFSET, f"a length of {length} bytes", f"the file's {len(data)}", remedy)
    if count > MAX_SECTIONS or count * SECTION_HEADER_SIZE > reader.remaining:
        reader.fail(_COUNT_OFFSET, f"{count} sections", f"no more than fit {reader.remaining} bytes")
    covered = Coverage()
    covered.add(0, HEADER_SIZE + count * SECTION_HEADER_SIZE)
    sections = []
    total = 0
    for _ in range(count):
        section = _read_section(reader)
        covered.add(section.offset or 0, len(section.data))
        sections.append(section)
        total += len(section.data)
        if total > len(data):
            reader.fail(reader.offset - 8, f"sections of {total} bytes in all", f"at most the file's {len(data)}")
    return _from_header(fields, tuple(sections), covered.rest(data))


def is_xclbin(data: bytes) -> bool:
    """Whether `data` starts like an xclbin."""
    return data[: len(MAGIC)] == MAGIC


def _read_section(reader: ByteReader) -> Section:
    start = reader.offset
    kind, name, pad, offset, size = _SECTION_HEADER.unpack(reader.take(SECTION_HEADER_SIZE, "a section header"))
    if offset > reader.end or size > reader.end - offset:
        found = f"{size} bytes at {offset:#x}"
        reader.fail(start + 24, found, f"a place inside the file's {reader.end} bytes", "the file is damaged")
    return Section(kind, reader.data[offset : offset + size], _trimmed(name), offset, pad)


def _pack_header(xclbin: Xclbin, length: int) -> bytes:
    major, minor, patch = xclbin.version
    identity = content_uuid(*map(_identity, xclbin.sections)) if xclbin.uuid is None else xclbin.uuid
    try:
        return _HEADER.pack(
            MAGIC,
            xclbin.signature_length,
            _exact(xclbin.reserved, 28, "the reserved bytes"),
            _exact(xclbin.key_block, 256, "the key block"),
            xclbin.unique_id,
            length,
            xclbin.timestamp,
            xclbin.feature_rom_timestamp,
            patch,
            major,
            minor,
            xclbin.mode,
            xclbin.action_mask,
            xclbin.interface_uuid.bytes,
            _fixed(xclbin.platform, 64, "the platform name"),
            identity.bytes,
            _fixed(xclbin.debug_file, 16, "the debug file's name"),
            len(xclbin.sections),
            _exact(xclbin.tail, 4, "the header's tail"),
        )
    except struct.error as error:
        raise InputError(f"a number in the xclbin's header does not fit its field: {error}") from None


def _from_header(
    fields: tuple[object, ...], sections: tuple[Section, ...], rest: tuple[tuple[int, bytes], ...]
) -> Xclbin:
    numbers = {index: value for index, value in enumerate(fields) if isinstance(value, int)}
    texts = {index: value for index, value in enumerate(fields) if isinstance(value, bytes)}
    return Xclbin(
        sections=sections,
        signature_length=numbers[1],
        reserved=texts[2],
        key_block=texts[3],
        unique_id=numbers[4],
        timestamp=numbers[6],
        feature_rom_timestamp=numbers[7],
        version=(numbers[9], numbers[10], numbers[8]),
        mode=numbers[11],
        action_mask=numbers[12],
        interface_uuid=UUID(bytes=texts[13]),
        platform=_trimmed(texts[14]),
        uuid=UUID(bytes=texts[15]),
        debug_file=_trimmed(texts[16]),
        tail=texts[18],
        rest=rest,
    )


def _identity(section: Section) -> bytes:
    return section.kind.to_bytes(4, "little") + section.name + b"\0" + section.data


def _trimmed(text: bytes) -> bytes:
    """A fixed text field without the zeros that fill it; bytes behind a first zero stay, so that they survive."""
    return text.rstrip(b"\0")


def _fixed(text: bytes, size: int, what: str) -> bytes:
    if len(text) > size:
        raise InputError(f"{what} is {len(text)} bytes long; {size} fit")
    return text.ljust(size, b"\0")


def _exact(text: bytes, size: int, what: str) -> bytes:
    if len(text) != size:
        raise InputError(f"{what} are {len(text)} bytes long, not {size}")
    return text
