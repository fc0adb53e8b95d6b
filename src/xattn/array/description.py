"""What a file says, as plain data for people and for JSON: one `describe_…` per format, and `lines` to print it.

Numbers stay numbers except addresses, masks and words, which are hexadecimal text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from xattn.array.aie_partition import CdoGroup, PartitionPdi, read_aie_partition
from xattn.array.cdo import Cdo, Command, Delay, DmaWrite, End, MaskPoll, MaskWrite, Nop, Other, Write, read_cdo
from xattn.array.instructions import (
    AddressPatch,
    BlockWrite,
    Custom,
    InstructionStream,
    LoadPdi,
    Operation,
    Preempt,
    Sync,
    Write32,
    is_instruction_stream,
    read_instructions,
)
from xattn.array.instructions import MaskPoll as MaskPollOperation
from xattn.array.instructions import MaskWrite as MaskWriteOperation
from xattn.array.pdi import CDO_PARTITION, Partition, Pdi, is_pdi, read_pdi
from xattn.array.register_writes import Value, describe_block, describe_place, describe_write, hexadecimal
from xattn.array.words import WORD
from xattn.array.xclbin import Section, SectionKind, Xclbin, is_xclbin, read_xclbin
from xattn.array.xclbin_sections import (
    read_connectivity,
    read_ip_layout,
    read_kernel_metadata,
    read_memory_topology,
)
from xattn.errors import FileFormatError


def describe_file(data: bytes) -> dict[str, Value]:
    """The description of a CDO, PDI, xclbin or instruction stream, told apart by their first bytes."""
    kind = file_kind(data)
    if kind == "xclbin":
        return describe_xclbin(read_xclbin(data))
    if kind == "PDI":
        return describe_pdi(read_pdi(data))
    if kind == "CDO":
        return describe_cdo(read_cdo(data))
    return describe_instructions(read_instructions(data))


def file_kind(data: bytes) -> str:
    """xclbin, PDI, CDO or instruction stream, by the first bytes; FileFormatError for anything else."""
    if is_xclbin(data):
        return "xclbin"
    if is_pdi(data):
        return "PDI"
    if data[WORD : 2 * WORD] == b"CDO\0":
        return "CDO"
    if is_instruction_stream(data) or re.match(rb"[0-9A-Fa-f]{8}\s", data):
        return "instruction stream"
    start = data[:8].hex(" ") or "an empty file"
    raise FileFormatError(f"found {start} at the start, expected an xclbin, a PDI, a CDO or an NPU instruction stream")


def describe_cdo(cdo: Cdo) -> dict[str, Value]:
    """Version, how many commands of each kind, and every command."""
    names = Counter(_command_name(command) for command in cdo.commands)
    return {
        "format": "CDO",
        "version": hexadecimal(cdo.version),
        "counts": dict(names),
        "commands": [describe_command(command) for command in cdo.commands],
    }


def describe_command(command: Command) -> dict[str, Value]:
    """One configuration command: what it does to which register."""
    out: dict[str, Value] = {"command": _command_name(command)}
    match command:
        case Write(address, value):
            return out | describe_write(address, value)
        case MaskWrite(address, mask, value):
            return out | describe_write(address, value, mask)
        case MaskPoll(address, mask, expected, timeout):
            return out | describe_write(address, expected, mask) | {"timeout": timeout}
        case DmaWrite(address, _):
            return out | describe_block(address, command.words())
        case Delay(duration):
            return out | {"duration": duration}
        case Nop(padding):
            return out | {"words": len(padding) // WORD}
        case Other(number, payload):
            return out | {"opcode": hexadecimal(number), "words": len(payload) // WORD}
        case End():
            return out


def describe_pdi(pdi: Pdi) -> dict[str, Value]:
    """Headers and partitions; the commands of CDO partitions."""
    table = pdi.table
    return {
        "format": "PDI",
        "version": hexadecimal(table.version),
        "id_code": hexadecimal(table.id_code),
        "extended_id_code": table.extended_id_code,
        "images": [{"name": image.name, "id": hexadecimal(image.image_id)} for image in pdi.images],
        "partitions": [_describe_partition(partition) for partition in pdi.partitions],
        "unexplained_bytes": sum(len(content) for _, content in pdi.rest),
    }


def describe_instructions(stream: InstructionStream) -> dict[str, Value]:
    """The array's shape, how many operations of each kind, and every operation."""
    counts = Counter(type(operation).__name__ for operation in stream.operations)
    return {
        "format": "instruction stream",
        "generation": stream.generation,
        "columns": stream.columns,
        "rows": stream.rows,
        "mem_tile_rows": stream.mem_tile_rows,
        "counts": dict(counts),
        "operations": [describe_operation(operation) for operation in stream.operations],
    }


def describe_operation(operation: Operation) -> dict[str, Value]:
    """One run-time operation: what it does to which register, channel or buffer."""
    out: dict[str, Value] = {"operation": type(operation).__name__}
    match operation:
        case Write32(address, value):
            return out | describe_write(address, value)
        case BlockWrite(address, data):
            return out | describe_block(address, data)
        case MaskWriteOperation(address, value, mask) | MaskPollOperation(address, value, mask):
            return out | describe_write(address, value, mask)
        case AddressPatch(address, argument, offset):
            return out | describe_place(address) | {"argument": argument, "offset": offset}
        case Sync():
            return out | _describe_sync(operation)
        case LoadPdi(number, size, address):
            return out | {"id": number, "size": size, "address": hexadecimal(address)}
        case Preempt(level):
            return out | {"level": level}
        case Custom(code, payload):
            return out | {"code": hexadecimal(code), "words": len(payload)}
        case _:
            return out


def describe_xclbin(xclbin: Xclbin) -> dict[str, Value]:
    """Header and sections; a section whose contents cannot be read says why."""
    return {
        "format": "xclbin",
        "uuid": None if xclbin.uuid is None else str(xclbin.uuid),
        "version": ".".join(map(str, xclbin.version)),
        "timestamp": xclbin.timestamp,
        "platform": xclbin.platform.decode("latin-1"),
        "sections": [describe_section(section) for section in xclbin.sections],
        "unexplained_bytes": sum(len(content) for _, content in xclbin.rest),
    }


def lines(description: Value, indent: int = 0) -> Iterator[str]:
    """The description as indented text: a group of plain values is one line, nested groups follow below."""
    pad = "  " * indent
    if isinstance(description, dict):
        flat = {key: value for key, value in description.items() if _is_flat(value)}
        if flat:
            yield pad + ", ".join(f"{key} {_flat(value)}" for key, value in flat.items())
        for key, value in description.items():
            if key not in flat:
                yield f"{pad}{'  ' if flat else ''}{key}:"
                yield from lines(value, indent + (2 if flat else 1))
    elif isinstance(description, list):
        for item in description:
            if isinstance(item, list) and _is_flat(item):
                yield pad + _flat(item)
            else:
                yield from lines(item, indent)
    else:
        yield pad + _flat(description)


def _command_name(command: Command) -> str:
    return {
        Write: "write",
        MaskWrite: "mask write",
        MaskPoll: "mask poll",
        DmaWrite: "block write",
        Delay: "delay",
        Nop: "nop",
        End: "end",
        Other: "other",
    }[type(command)]


def _describe_partition(partition: Partition) -> dict[str, Value]:
    out: dict[str, Value] = {"words": partition.data_words, "padding_words": len(partition.padding) // WORD}
    if partition.kind != CDO_PARTITION:
        return out | {"type": partition.kind}
    try:
        return out | {"cdo": describe_cdo(partition.cdo())}
    except FileFormatError as error:
        return out | {"error": str(error)}


def _describe_sync(sync: Sync) -> dict[str, Value]:
    channel = f"{'MM2S' if sync.to_array else 'S2MM'}_{sync.channel}"
    return {"tile": [sync.column, sync.row], "channel": channel, "columns": sync.columns, "rows": sync.rows}


def describe_section(section: Section) -> dict[str, Value]:
    """Kind, size and contents of one section of an xclbin; contents that cannot be read say why."""
    out: dict[str, Value] = {"kind": section.kind_name, "bytes": len(section.data)}
    if section.name:
        out["name"] = section.name.decode("latin-1")
    try:
        return out | _describe_contents(section)
    except FileFormatError as error:
        return out | {"error": str(error)}


def _describe_contents(section: Section) -> dict[str, Value]:
    match section.kind:
        case SectionKind.MEM_TOPOLOGY | SectionKind.GROUP_TOPOLOGY:
            banks = read_memory_topology(section.data)
            return {"memories": [{"name": b.name, "kib": b.size, "base": hexadecimal(b.base)} for b in banks]}
        case SectionKind.IP_LAYOUT:
            kernels = read_ip_layout(section.data)
            return {"kernels": [{"name": k.name, "properties": hexadecimal(k.properties)} for k in kernels]}
        case SectionKind.CONNECTIVITY | SectionKind.GROUP_CONNECTIVITY:
            found = read_connectivity(section.data)
            return {"connections": [[c.argument, c.kernel, c.memory] for c in found]}
        case SectionKind.EMBEDDED_METADATA:
            return {"kernels": _describe_kernels(section.data)}
        case SectionKind.AIE_PARTITION:
            return _describe_aie_partition(section.data)
        case _:
            return {}


def _describe_kernels(data: bytes) -> Value:
    out: list[Value] = []
    for kernel in read_kernel_metadata(data):
        arguments: list[Value] = [
            {"name": argument.name, "type": argument.type, "offset": hexadecimal(argument.offset)}
            for argument in kernel.arguments
        ]
        identity = hexadecimal(kernel.kernel_id)
        out.append({"name": kernel.name, "instance": kernel.instance, "id": identity, "arguments": arguments})
    return out


def _describe_aie_partition(data: bytes) -> dict[str, Value]:
    partition = read_aie_partition(data)
    return {
        "columns": partition.column_width,
        "start_columns": list(partition.start_columns),
        "operations_per_cycle": partition.operations_per_cycle,
        "pdis": [_describe_partition_pdi(pdi) for pdi in partition.pdis],
    }


def _describe_partition_pdi(pdi: PartitionPdi) -> dict[str, Value]:
    out: dict[str, Value] = {"uuid": str(pdi.uuid), "bytes": len(pdi.image)}
    out["groups"] = [_describe_group(group) for group in pdi.groups]
    try:
        out["pdi"] = describe_pdi(read_pdi(pdi.image))
    except FileFormatError as error:
        out["error"] = str(error)
    return out


def _describe_group(group: CdoGroup) -> dict[str, Value]:
    kernels: list[Value] = [hexadecimal(number) for number in group.kernel_ids]
    return {"name": group.name, "type": group.kind, "pdi_id": group.pdi_id, "kernel_ids": kernels}


def _is_flat(value: Value) -> bool:
    if isinstance(value, dict):
        return all(isinstance(item, (str, int)) or item is None for item in value.values())
    if isinstance(value, list):
        return all(isinstance(item, (str, int)) or item is None for item in value)
    return True


def _flat(value: Value) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} {_flat(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "(" + ", ".join(map(_flat, value)) + ")"
    return "-" if value is None else str(value)
