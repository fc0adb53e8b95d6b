"""The seven-section xclbin of an XDNA1 design: what mlir-aie and xclbinutil would build around the same PDI.

Unlike xclbinutil's, the file is reproducible: UUIDs come from the contents, times are given (default 0).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xattn.array.aie_partition import KERNEL_ID, AiePartition, CdoGroup, PartitionPdi, write_aie_partition
from xattn.array.xclbin import Section, SectionKind, Xclbin, content_uuid
from xattn.array.xclbin_sections import (
    Connection,
    KernelArgument,
    KernelInstance,
    KernelMetadata,
    MemoryBank,
    write_connectivity,
    write_ip_layout,
    write_kernel_metadata,
    write_memory_topology,
)
from xattn.errors import InputError

NPU1_COLUMNS = 4
FIRST_VIRTUAL_COLUMN = 1
# Host buffers start behind opcode (8 bytes), instruction pointer (8) and instruction count (4).
FIRST_BUFFER_OFFSET = 0x14
BUFFER_STRIDE = 8
MEMORIES = (MemoryBank("HOST", 0x10000, 0x4000000), MemoryBank("SRAM", 0xC000, 0x4000000))
_HOST, _SRAM = 0, 1
_INSTRUCTIONS = KernelArgument("instr", "char *", 0x8)


@dataclass(frozen=True, slots=True)
class NpuKernel:
    """How the host sees the design: names, and how many data buffers follow the instructions.

    `name` starts with MLIR_AIE by default because existing hosts look for that prefix.
    """

    name: str = "MLIR_AIE"
    instance: str = "MLIRAIE"
    buffers: int = 5
    kernel_id: int = KERNEL_ID

    def arguments(self) -> tuple[KernelArgument, ...]:
        """opcode, instr, ninstr, bo0, bo1, … with the offsets that XRT's NPU shim expects."""
        buffers = (
            KernelArgument(f"bo{n}", "void*", FIRST_BUFFER_OFFSET + BUFFER_STRIDE * n) for n in range(self.buffers)
        )
        opcode, count = KernelArgument("opcode", "uint64_t", 0), KernelArgument("ninstr", "uint32_t", 0x10, size=4)
        return (opcode, _INSTRUCTIONS, count, *buffers)


def start_columns(columns: int) -> tuple[int, ...]:
    """Where a partition of `columns` columns may start: the whole device at 0, a narrower one at 1 to 5 - columns."""
    if not 1 <= columns <= NPU1_COLUMNS:
        raise InputError(f"a partition of {columns} columns does not exist; XDNA1 has 1 to {NPU1_COLUMNS}")
    if columns == NPU1_COLUMNS:
        return (0,)
    return tuple(range(FIRST_VIRTUAL_COLUMN, NPU1_COLUMNS + FIRST_VIRTUAL_COLUMN - columns + 1))


def build_xclbin(pdi: bytes, columns: int, kernel: NpuKernel | None = None, timestamp: int = 0) -> Xclbin:
    """The container for one PDI (a file's bytes) on `columns` columns; `timestamp` in seconds since 1970."""
    kernel = kernel or NpuKernel()
    if kernel.buffers < 0:
        raise InputError(f"{kernel.buffers} host buffers are not possible")
    group = CdoGroup(kernel_ids=(kernel.kernel_id,))
    partition = AiePartition(
        column_width=columns,
        start_columns=start_columns(columns),
        pdis=(PartitionPdi(content_uuid(pdi), pdi, (group,)),),
    )
    arguments = kernel.arguments()
    connections = _connections(arguments)
    memories = write_memory_topology(MEMORIES)
    metadata = KernelMetadata(kernel.name, kernel.kernel_id, arguments, kernel.instance)
    layout = (KernelInstance.dpu(kernel.name, kernel.instance, kernel.kernel_id),)
    contents = (
        (SectionKind.MEM_TOPOLOGY, memories),
        (SectionKind.AIE_PARTITION, write_aie_partition(partition)),
        (SectionKind.EMBEDDED_METADATA, write_kernel_metadata(metadata)),
        (SectionKind.IP_LAYOUT, write_ip_layout(layout)),
        (SectionKind.CONNECTIVITY, write_connectivity(connections)),
        (SectionKind.GROUP_CONNECTIVITY, write_connectivity(connections * 2)),
        (SectionKind.GROUP_TOPOLOGY, memories),
    )
    sections = tuple(Section(kind, data) for kind, data in contents)
    return Xclbin(sections, timestamp=timestamp, unique_id=timestamp)


def _connections(arguments: Sequence[KernelArgument]) -> list[Connection]:
    """Pointer arguments use host memory, the instructions the SRAM bank."""
    return [
        Connection(index, 0, _SRAM if argument == _INSTRUCTIONS else _HOST)
        for index, argument in enumerate(arguments)
        if argument.is_pointer
    ]
