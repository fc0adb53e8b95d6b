"""The container against XRT's public header layout, its sections against the bytes of real files."""

from __future__ import annotations

import struct
from dataclasses import replace
from uuid import UUID

import pytest
from array_strategies import partitions, xclbins
from hypothesis import given

from xattn.array.aie_partition import AiePartition, CdoGroup, PartitionPdi, read_aie_partition, write_aie_partition
from xattn.array.words import MalformedError
from xattn.array.xclbin import (
    Section,
    SectionKind,
    Xclbin,
    content_uuid,
    is_xclbin,
    read_xclbin,
    write_xclbin,
)
from xattn.array.xclbin_sections import (
    Connection,
    KernelArgument,
    KernelInstance,
    KernelMetadata,
    MemoryBank,
    read_connectivity,
    read_ip_layout,
    read_kernel_metadata,
    read_memory_topology,
    write_connectivity,
    write_ip_layout,
    write_kernel_metadata,
    write_memory_topology,
)
from xattn.errors import FileFormatError, InputError


def test_fields_stand_where_xrts_header_has_them() -> None:
    identity, interface = UUID(int=0x1234 << 100), UUID(int=0x5678 << 90)
    xclbin = Xclbin(
        (Section(6, b"abc", b"first"), Section(99, b"defgh")),
        uuid=identity,
        timestamp=0x60A60140,
        unique_id=0x77,
        version=(2, 20, 598),
        mode=4,
        platform=b"xilinx_v1_ipu_0_0",
        interface_uuid=interface,
    )
    data = write_xclbin(xclbin)
    assert data[:8] == b"xclbin2\0"
    assert data[8:0x128] == b"\xff" * 0x120
    assert struct.unpack_from("<QQQQ", data, 0x128) == (0x77, len(data), 0x60A60140, 0)
    assert data[0x148:0x150] == struct.pack("<HBBHH", 598, 2, 20, 4, 0)
    assert data[0x150:0x160] == interface.bytes
    assert data[0x160:0x1A0] == b"xilinx_v1_ipu_0_0".ljust(64, b"\0")
    assert data[0x1A0:0x1B0] == identity.bytes
    assert struct.unpack_from("<I", data, 0x1C0) == (2,)
    assert data[0x1C8:0x1F0] == struct.pack("<I16s4xQQ", 6, b"first", 0x218, 3)
    assert data[0x1F0:0x218] == struct.pack("<I16s4xQQ", 99, b"", 0x220, 5)
    assert data[0x218:] == b"abc\0\0\0\0\0defgh"
    assert is_xclbin(data)
    assert read_xclbin(data) == xclbin


@given(xclbins)
def test_xclbin_survives_a_round_trip(xclbin: Xclbin) -> None:
    data = write_xclbin(xclbin)
    assert read_xclbin(data) == xclbin
    assert write_xclbin(read_xclbin(data)) == data


@given(xclbins)
def test_json_copy_and_gaps_survive(xclbin: Xclbin) -> None:
    data = bytearray(write_xclbin(xclbin) + b"XCLBIN_MIRROR_DATA_START{}XCLBIN_MIRROR_DATA_END")
    data[0x130:0x138] = len(data).to_bytes(8, "little")
    again = read_xclbin(bytes(data))
    assert again.rest[-1][1].endswith(b"XCLBIN_MIRROR_DATA_END")
    assert write_xclbin(again) == bytes(data)


def test_uuid_follows_the_contents() -> None:
    plain = Xclbin((Section(6, b"abc"),))
    assert write_xclbin(plain) == write_xclbin(plain)
    other = read_xclbin(write_xclbin(replace(plain, sections=(Section(6, b"abd"),)))).uuid
    assert other not in (None, read_xclbin(write_xclbin(plain)).uuid)
    # SHA-256 of the length (8 bytes) and "abc", with the version and variant bits of RFC 9562 put in.
    assert content_uuid(b"abc") == UUID("ce91dc5e-ec01-89ad-b091-900d225971d6")
    assert content_uuid(b"ab", b"c") != content_uuid(b"a", b"bc")


GOOD = write_xclbin(Xclbin((Section(6, b"abcdefgh"),), uuid=UUID(int=1)))


def put(offset: int, value: bytes) -> bytes:
    return GOOD[:offset] + value + GOOD[offset + len(value) :]


@pytest.mark.parametrize(
    ("data", "offset", "found", "expected"),
    [
        (b"", 0, "0 bytes", "the magic"),
        (b"xclbin0\0" + GOOD[8:], 0, "xclbin0", "xclbin2"),
        (GOOD[:0x1C0], 0, "448 bytes", "456 bytes of the header"),
        (GOOD[:-1], 0x130, f"{len(GOOD)} bytes", f"{len(GOOD) - 1}"),
        (GOOD + b"x", 0x130, f"{len(GOOD)} bytes", f"{len(GOOD) + 1}"),
        (put(0x1C0, b"\2"), 0x1C0, "2 sections", "48 bytes"),
        (put(0x1C8 + 24, b"\xff" * 8), 0x1E0, "8 bytes at 0xffffffffffffffff", "inside the file"),
        (put(0x1C8 + 32, b"\xff" * 8), 0x1E0, "18446744073709551615 bytes", "inside the file"),
    ],
)
def test_broken_files_are_explained(data: bytes, offset: int, found: str, expected: str) -> None:
    with pytest.raises(MalformedError) as caught:
        read_xclbin(data)
    error = caught.value
    assert (error.offset, error.file_format) == (offset, "xclbin")
    assert found in error.found
    assert expected in error.expected


def test_sections_that_overlap_a_lot_are_refused() -> None:
    sections = tuple(Section(1, b"x" * 64, offset=0x400) for _ in range(40))
    with pytest.raises(MalformedError, match="at most the file's"):
        read_xclbin(write_xclbin(Xclbin(sections)))


def test_pdis_that_overlap_are_refused() -> None:
    """Two records that both claim most of the section would cost more memory than the file has."""
    data = bytearray(write_aie_partition(AiePartition(1, (1,), (PartitionPdi(UUID(int=1), b"p" * 400, ()),) * 2)))
    records = struct.unpack_from("<I", data, 0x7C)[0]
    for index in range(2):
        struct.pack_into("<II", data, records + 96 * index + 16, len(data) - 200, 200)
    with pytest.raises(MalformedError, match="PDIs that do not overlap"):
        read_aie_partition(bytes(data))


def test_impossible_headers_are_refused() -> None:
    for field, value, message in (
        ("platform", b"x" * 65, "65 bytes long; 64 fit"),
        ("key_block", b"", "0 bytes long, not 256"),
        ("timestamp", -1, "does not fit its field"),
    ):
        with pytest.raises(InputError, match=message):
            write_xclbin(replace(Xclbin(()), **{field: value}))
    with pytest.raises(InputError, match="17 bytes long; 16 fit"):
        write_xclbin(Xclbin((Section(1, b"", b"n" * 17),)))
    with pytest.raises(InputError, match="0 sections of kind AIE_PARTITION"):
        Xclbin(()).section(SectionKind.AIE_PARTITION)


def test_memory_topology_is_that_of_real_files() -> None:
    banks = (MemoryBank("HOST", 0x10000, 0x4000000), MemoryBank("SRAM", 0xC000, 0x4000000))
    data = bytes.fromhex(
        "0200000000000000"
        "0201000000000000 0000010000000000 0000000400000000 484f5354000000000000000000000000"
        "0201000000000000 00c0000000000000 0000000400000000 5352414d000000000000000000000000"
    )
    assert write_memory_topology(banks) == data
    assert read_memory_topology(data) == banks


def test_ip_layout_is_that_of_real_files() -> None:
    # Riallto's color_detect (MIT): kernel id 0x201, functional 1, subtype DPU; and mlir-aie's properties.
    entry = KernelInstance("color_detect_v1_720p:Riallto", 0x02010011)
    data = bytes.fromhex("0100000000000000 07000000 11000102 ffffffffffffffff")
    data += b"color_detect_v1_720p:Riallto".ljust(64, b"\0")
    assert write_ip_layout([entry]) == data
    assert read_ip_layout(data) == (entry,)
    assert entry.kernel_id == 0x201
    assert KernelInstance.dpu("MLIR_AIE", "MLIRAIE", 0x901) == KernelInstance("MLIR_AIE:MLIRAIE", 0x09010001)


def test_connectivity_is_that_of_real_files() -> None:
    found = [Connection(0, 1, 1), Connection(2, 1, 0)]
    data = bytes.fromhex("02000000 00000000 01000000 01000000 02000000 01000000 00000000")
    assert write_connectivity(found) == data
    assert read_connectivity(data) == tuple(found)


@pytest.mark.parametrize("read", [read_memory_topology, read_ip_layout, read_connectivity, read_aie_partition])
def test_short_sections_are_explained(read: object) -> None:
    assert callable(read)
    for data in (b"", b"\1\0\0\0", b"\xff" * 20, b"\2" + bytes(60)):
        with pytest.raises(MalformedError):
            read(data)


METADATA = KernelMetadata(
    "MLIR_AIE",
    0x901,
    (KernelArgument("opcode", "uint64_t", 0), KernelArgument("instr", "char *", 8)),
    "MLIRAIE",
)


def test_metadata_has_xclbinutils_form() -> None:
    text = write_kernel_metadata(METADATA).decode()
    lines = text.split("\n")
    assert lines[:6] == [
        '<?xml version="1.0" encoding="utf-8"?>',
        "<project>",
        "  <platform>",
        "    <device>",
        "      <core>",
        '        <kernel name="MLIR_AIE" language="c" type="dpu">',
    ]
    # The form of the lines that xclbinutil wrote into Riallto's files, with mlir-aie's values.
    assert lines[6:9] == [
        '          <extended-data subtype="1" functional="0" dpu_kernel_id="0x901"/>',
        '          <arg name="opcode" addressQualifier="0" id="0" size="0x8" offset="0x00" hostOffset="0x0" '
        'hostSize="0x8" type="uint64_t"/>',
        '          <arg name="instr" addressQualifier="1" id="1" size="0x8" offset="0x8" hostOffset="0x0" '
        'hostSize="0x8" type="char *"/>',
    ]
    assert lines[9:] == [
        '          <instance name="MLIRAIE"/>',
        "        </kernel>",
        "      </core>",
        "    </device>",
        "  </platform>",
        "</project>",
        "",
    ]
    assert read_kernel_metadata(text.encode()) == (METADATA,)


def test_metadata_escapes_and_refuses() -> None:
    odd = replace(METADATA, name='a<&"b', arguments=())
    assert read_kernel_metadata(write_kernel_metadata(odd)) == (odd,)
    with pytest.raises(InputError, match="cannot stand in XML"):
        write_kernel_metadata(replace(METADATA, instance="a\nb"))
    assert read_kernel_metadata(b'<project><kernel name="vadd" language="c"/></project>') == ()
    for data in (
        b"",
        b"<project>",
        b'<!DOCTYPE x [<!ENTITY a "b">]><project/>',
        b'<kernel type="dpu"/>',
        b'<kernel type="dpu" name="k"><extended-data dpu_kernel_id="zz"/><instance name="i"/></kernel>',
        b'<kernel type="dpu" name="k"><extended-data/><instance name="i"/></kernel>',
        b"\xff\xfe<",
        b'<?xml version="1.0" encoding="no-such"?><project/>',
    ):
        with pytest.raises(FileFormatError, match="EMBEDDED_METADATA: found"):
            read_kernel_metadata(data)


@given(partitions)
def test_partition_survives_a_round_trip(partition: AiePartition) -> None:
    data = write_aie_partition(partition)
    assert len(data) % 8 == 0
    assert read_aie_partition(data) == partition


def test_partition_has_xclbinutils_layout() -> None:
    """Offsets counted by hand with the rules of XRT's header: 184 fixed bytes, every heap piece 8-byte aligned."""
    identity = UUID(int=0xABC)
    data = write_aie_partition(AiePartition(4, (1, 2, 3, 4), (PartitionPdi(identity, b"p" * 20),), commit_id=None))
    fixed = struct.unpack_from("<BxxxIIxxxxQQHxxxxxxII", data)
    assert fixed == (0, 184, 2048, 23423, 12345, 4, 4, 192)
    assert struct.unpack_from("<III", data, 0x78) == (1, 344, 0)
    assert data[192:200] == struct.pack("<4H", 1, 2, 3, 4)
    assert data[200:224] == b"p" * 20 + bytes(4)
    assert data[224:232] == b"DPU" + bytes(5)
    assert struct.unpack_from("<QQ", data, 232) == (0x901, 0xC1)
    group = struct.unpack_from("<IBxxxQIIII", data, 248)
    assert group == (224, 1, 1, 1, 232, 1, 240)
    assert data[280:344] == bytes(64)
    assert data[344:376] == identity.bytes + struct.pack("<IIII", 20, 200, 1, 248)
    assert len(data) == 440


def test_partition_errors_name_the_place() -> None:
    data = bytearray(write_aie_partition(AiePartition(1, (1,), (PartitionPdi(UUID(int=1), b"p" * 20),))))
    for offset, value, message in (
        (0x78, 1000, "1000 PDIs"),
        (0x28, 1 << 31, "start columns"),
        (0x04, 0xFFFFFF, "a pointer is damaged"),
        (0x7C, 1 << 20, "a pointer is damaged"),
    ):
        broken = bytearray(data)
        broken[offset : offset + 4] = value.to_bytes(4, "little")
        with pytest.raises(MalformedError, match=message):
            read_aie_partition(bytes(broken))
    with pytest.raises(InputError, match="zero character"):
        write_aie_partition(AiePartition(1, (1,), (), name="a\0b"))
    with pytest.raises(InputError, match="does not fit its field"):
        write_aie_partition(AiePartition(1, (1 << 16,), ()))
    with pytest.raises(InputError, match="does not fit its field"):
        write_aie_partition(AiePartition(1, (), (PartitionPdi(UUID(int=1), b"", (CdoGroup(kind=256),)),)))
