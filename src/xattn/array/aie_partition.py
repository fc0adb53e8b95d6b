"""The AIE_PARTITION section of an xclbin: which columns the design takes, and the PDI that configures them.

A fixed part of 184 bytes, then a heap of 8-byte aligned pieces that it points into: name, commit id, start columns,
per PDI its image, its CDO groups' strings and id lists and their records (96 bytes), and last the PDI records (96
bytes). Offsets count from the start of the section. Reserved bytes are not part of this view; the container keeps the
section as it was read. Source: the public header of XRT (Apache-2.0); the layout re-encodes real sections exactly.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from uuid import UUID

from xattn.array.words import ByteReader
from xattn.errors import InputError

FORMAT = "AIE_PARTITION section"
PRIMARY = 1
KERNEL_ID = 0x901
PREREQUISITE_GROUP = 0xC1
OPERATIONS_PER_CYCLE = 2048
INFERENCE_FINGERPRINT = 23423
PRE_POST_FINGERPRINT = 12345
MAX_PDIS = 256
_FIXED = struct.Struct("<B3xII4xQQH6xII72xIII52x")
_PDI = struct.Struct("<16sIIII64x")
_GROUP = struct.Struct("<IB3xQIIII64x")


@dataclass(frozen=True, slots=True)
class CdoGroup:
    """A group of configurations inside a PDI: `kind` 1 is primary; `kernel_ids` tie it to kernels of IP_LAYOUT."""

    name: str = "DPU"
    kind: int = PRIMARY
    pdi_id: int = 1
    kernel_ids: tuple[int, ...] = (KERNEL_ID,)
    prerequisites: tuple[int, ...] = (PREREQUISITE_GROUP,)


@dataclass(frozen=True, slots=True)
class PartitionPdi:
    """A PDI of the partition: its UUID, the file's bytes and its CDO groups."""

    uuid: UUID
    image: bytes
    groups: tuple[CdoGroup, ...] = (CdoGroup(),)


@dataclass(frozen=True, slots=True)
class AiePartition:
    """A partition of `column_width` columns that may start at any of `start_columns`.

    `commit_id` None leaves the string out, as files of 2023 do.
    """

    column_width: int
    start_columns: tuple[int, ...]
    pdis: tuple[PartitionPdi, ...]
    name: str = ""
    commit_id: str | None = ""
    operations_per_cycle: int = OPERATIONS_PER_CYCLE
    inference_fingerprint: int = INFERENCE_FINGERPRINT
    pre_post_fingerprint: int = PRE_POST_FINGERPRINT
    schema_version: int = 0


class _Heap:
    """The section's pieces behind the fixed part, each 8-byte aligned."""

    def __init__(self) -> None:
        self.data = bytearray()

    def add(self, piece: bytes) -> int:
        """Append `piece`; its offset from the start of the section."""
        offset = _FIXED.size + len(self.data)
        self.data += piece + bytes(-len(piece) % 8)
        return offset


def write_aie_partition(partition: AiePartition) -> bytes:
    """The section's bytes; numbers that do not fit are an InputError."""
    heap = _Heap()
    try:
        name = heap.add(_text(partition.name))
        commit = 0 if partition.commit_id is None else heap.add(_text(partition.commit_id))
        columns = heap.add(struct.pack(f"<{len(partition.start_columns)}H", *partition.start_columns))
        records = b"".join(_write_pdi(pdi, heap) for pdi in partition.pdis)
        pdis = heap.add(records)
        fixed = _FIXED.pack(
            partition.schema_version,
            name,
            partition.operations_per_cycle,
            partition.inference_fingerprint,
            partition.pre_post_fingerprint,
            partition.column_width,
            len(partition.start_columns),
            columns,
            len(partition.pdis),
            pdis,
            commit,
        )
    except struct.error as error:
        raise InputError(f"a number of the partition does not fit its field: {error}") from None
    return fixed + bytes(heap.data)


def read_aie_partition(data: bytes) -> AiePartition:
    """The partition in a section's bytes; offsets that leave the section are a MalformedError."""
    reader = ByteReader(data, FORMAT)
    fields = _FIXED.unpack(reader.take(_FIXED.size, "the fixed part"))
    schema, name, operations, inference, pre_post, width, column_count, columns, pdi_count, pdis, commit = fields
    if pdi_count > MAX_PDIS:
        reader.fail(0x78, f"{pdi_count} PDIs", f"at most {MAX_PDIS}")
    start_columns = _array(data, columns, column_count, "H", "the start columns")
    read_pdis = []
    room = len(data)
    for index in range(pdi_count):
        pdi = _read_pdi(data, pdis + index * _PDI.size)
        room -= len(pdi.image)
        if room < 0:
            reader.fail(pdis, "PDIs that are longer in all than the section", "PDIs that do not overlap")
        read_pdis.append(pdi)
    return AiePartition(
        column_width=width,
        start_columns=start_columns,
        pdis=tuple(read_pdis),
        name=_string(data, name),
        commit_id=_string(data, commit) if commit else None,
        operations_per_cycle=operations,
        inference_fingerprint=inference,
        pre_post_fingerprint=pre_post,
        schema_version=schema,
    )


def _write_pdi(pdi: PartitionPdi, heap: _Heap) -> bytes:
    image = heap.add(pdi.image)
    records = b"".join(_write_group(group, heap) for group in pdi.groups)
    groups = heap.add(records)
    return _PDI.pack(pdi.uuid.bytes, len(pdi.image), image, len(pdi.groups), groups)


def _write_group(group: CdoGroup, heap: _Heap) -> bytes:
    name = heap.add(_text(group.name))
    lists = []
    for ids in (group.kernel_ids, group.prerequisites):
        lists += [len(ids), heap.add(struct.pack(f"<{len(ids)}Q", *ids)) if ids else 0]
    return _GROUP.pack(name, group.kind, group.pdi_id, *lists)


def _read_pdi(data: bytes, start: int) -> PartitionPdi:
    reader = ByteReader(data, FORMAT, start)
    identity, size, image, group_count, groups = _PDI.unpack(reader.take(_PDI.size, "a PDI record"))
    content = ByteReader(data, FORMAT, image).take(size, "a PDI's image")
    records = ByteReader(data, FORMAT, groups)
    if group_count * _GROUP.size > records.remaining:
        reader.fail(start + 24, f"{group_count} CDO groups", f"no more than fit the section's {len(data)} bytes")
    found = tuple(_read_group(data, groups + index * _GROUP.size) for index in range(group_count))
    return PartitionPdi(UUID(bytes=identity), content, found)


def _read_group(data: bytes, start: int) -> CdoGroup:
    reader = ByteReader(data, FORMAT, start)
    fields = _GROUP.unpack(reader.take(_GROUP.size, "a CDO group"))
    name, kind, pdi_id, kernel_count, kernels, prerequisite_count, prerequisites = fields
    return CdoGroup(
        _string(data, name),
        kind,
        pdi_id,
        _array(data, kernels, kernel_count, "Q", "kernel ids"),
        _array(data, prerequisites, prerequisite_count, "Q", "group ids"),
    )


def _array(data: bytes, offset: int, count: int, code: str, what: str) -> tuple[int, ...]:
    if not count:
        return ()
    size = count * struct.calcsize(f"<{code}")
    return struct.unpack(f"<{count}{code}", ByteReader(data, FORMAT, offset).take(size, what))


def _string(data: bytes, offset: int) -> str:
    reader = ByteReader(data, FORMAT, offset)
    end = data.find(b"\0", offset)
    if end < 0:
        reader.fail(offset, "a string without an end", "a zero byte behind it")
    return data[offset:end].decode("latin-1")


def _text(text: str) -> bytes:
    if "\0" in text:
        raise InputError(f"{text!r} contains a zero character, which ends a string in the file")
    return text.encode("latin-1", "replace") + b"\0"
