"""The seven-section container against the facts of files that mlir-aie and xclbinutil build around the same PDI."""

from __future__ import annotations

import pytest

from xattn.array.aie_partition import read_aie_partition
from xattn.array.pdi import build_pdi, read_pdi, write_pdi
from xattn.array.xclbin import SectionKind, read_xclbin, write_xclbin
from xattn.array.xclbin_build import NpuKernel, build_xclbin, start_columns
from xattn.array.xclbin_sections import (
    Connection,
    read_connectivity,
    read_ip_layout,
    read_kernel_metadata,
    read_memory_topology,
)
from xattn.errors import InputError


def test_single_core_container_has_the_known_size_and_sections() -> None:
    """A PDI of 5,952 bytes gives 8,960 bytes, what a file equal to xclbinutil's, without its JSON copy, has."""
    data = write_xclbin(build_xclbin(bytes(5952), columns=4))
    assert len(data) == 8960
    xclbin = read_xclbin(data)
    assert [SectionKind(section.kind).name for section in xclbin.sections] == [
        "MEM_TOPOLOGY",
        "AIE_PARTITION",
        "EMBEDDED_METADATA",
        "IP_LAYOUT",
        "CONNECTIVITY",
        "GROUP_CONNECTIVITY",
        "GROUP_TOPOLOGY",
    ]
    assert all((section.offset or 0) % 8 == 0 for section in xclbin.sections)
    assert (xclbin.version, xclbin.mode, xclbin.timestamp) == ((2, 20, 0), 0, 0)
    assert xclbin.rest == ()


def test_contents_agree_with_each_other() -> None:
    pdi = write_pdi(build_pdi([]))
    xclbin = build_xclbin(pdi, columns=2, kernel=NpuKernel(buffers=8), timestamp=1700000000)
    partition = read_aie_partition(xclbin.section(SectionKind.AIE_PARTITION).data)
    assert (partition.column_width, partition.start_columns) == (2, (1, 2, 3))
    assert read_pdi(partition.pdis[0].image) == read_pdi(pdi)
    (kernel,) = read_kernel_metadata(xclbin.section(SectionKind.EMBEDDED_METADATA).data)
    (entry,) = read_ip_layout(xclbin.section(SectionKind.IP_LAYOUT).data)
    assert entry.name == f"{kernel.name}:{kernel.instance}" == "MLIR_AIE:MLIRAIE"
    assert entry.properties == 0x9010001
    assert kernel.kernel_id == entry.kernel_id == partition.pdis[0].groups[0].kernel_ids[0] == 0x901
    assert partition.pdis[0].groups[0].prerequisites == (0xC1,)
    assert [(a.name, a.type, a.offset) for a in kernel.arguments[:5]] == [
        ("opcode", "uint64_t", 0x0),
        ("instr", "char *", 0x8),
        ("ninstr", "uint32_t", 0x10),
        ("bo0", "void*", 0x14),
        ("bo1", "void*", 0x1C),
    ]
    assert kernel.arguments[-1].name == "bo7"
    banks = read_memory_topology(xclbin.section(SectionKind.MEM_TOPOLOGY).data)
    assert [bank.name for bank in banks] == ["HOST", "SRAM"]
    connections = read_connectivity(xclbin.section(SectionKind.CONNECTIVITY).data)
    # Pointers only: the instructions (argument 1) in bank 1, the data buffers (from argument 3) in bank 0.
    assert connections == (Connection(1, 0, 1), *(Connection(3 + n, 0, 0) for n in range(8)))
    assert read_connectivity(xclbin.section(SectionKind.GROUP_CONNECTIVITY).data) == connections * 2
    assert xclbin.section(SectionKind.GROUP_TOPOLOGY).data == xclbin.section(SectionKind.MEM_TOPOLOGY).data
    assert (xclbin.timestamp, xclbin.unique_id) == (1700000000, 1700000000)


def test_same_input_gives_same_bytes() -> None:
    assert write_xclbin(build_xclbin(b"abcd", 4)) == write_xclbin(build_xclbin(b"abcd", 4))
    one, two = (read_xclbin(write_xclbin(build_xclbin(pdi, 4))) for pdi in (b"abcd", b"abce"))
    assert one.uuid != two.uuid
    pdis = [read_aie_partition(x.section(SectionKind.AIE_PARTITION).data).pdis[0].uuid for x in (one, two)]
    assert pdis[0] != pdis[1]


@pytest.mark.parametrize(("columns", "starts"), [(1, (1, 2, 3, 4)), (2, (1, 2, 3)), (3, (1, 2)), (4, (0,))])
def test_start_columns(columns: int, starts: tuple[int, ...]) -> None:
    assert start_columns(columns) == starts


def test_limits_are_named() -> None:
    with pytest.raises(InputError, match="partition of 5 columns does not exist; XDNA1 has 1 to 4"):
        build_xclbin(b"", columns=5)
    with pytest.raises(InputError, match="-1 host buffers"):
        build_xclbin(b"", columns=1, kernel=NpuKernel(buffers=-1))
    with pytest.raises(InputError, match="12 bits"):
        build_xclbin(b"", columns=1, kernel=NpuKernel(kernel_id=0x1901))
