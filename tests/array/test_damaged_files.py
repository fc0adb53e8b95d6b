"""Damaged files: every reader gives a clear error, or a value that writes the very same bytes, and nothing else."""

from __future__ import annotations

import random
import struct
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from xattn.array.aie_partition import read_aie_partition
from xattn.array.cdo import Cdo, DmaWrite, MaskPoll, MaskWrite, Nop, Write, read_cdo, write_cdo
from xattn.array.cdo_layout import driver_layout
from xattn.array.description import describe_file
from xattn.array.instructions import InstructionStream, read_instructions, write_instructions
from xattn.array.pdi import build_pdi, read_pdi, write_pdi
from xattn.array.transfers import ShimChannel, host_bd, transfer, wait
from xattn.array.xclbin import SectionKind, read_xclbin, write_xclbin
from xattn.array.xclbin_build import build_xclbin
from xattn.errors import FileFormatError

IN, OUT = ShimChannel(0, 0, to_array=True), ShimChannel(0, 0, to_array=False)
CONFIGURATION = driver_layout(
    [
        Nop(),
        DmaWrite(0x220000, bytes(range(256)) * 5),
        Write(0x21F000, 2),
        MaskWrite(0x232000, 1, 1),
        MaskPoll(0x21DF00, 3, 0, 1, (1, 2)),
    ]
)
STREAM = InstructionStream((*transfer(IN, 0, host_bd(64), 0), *transfer(OUT, 1, host_bd(64), 1, token=True), wait(OUT)))
PDI = write_pdi(build_pdi([CONFIGURATION]))
XCLBIN = write_xclbin(build_xclbin(PDI, 4))

FORMATS: dict[str, tuple[bytes, Callable[[bytes], Any], Callable[[Any], bytes]]] = {
    "cdo": (write_cdo(CONFIGURATION), read_cdo, write_cdo),
    "pdi": (PDI, read_pdi, write_pdi),
    "xclbin": (XCLBIN, read_xclbin, write_xclbin),
    "instructions": (write_instructions(STREAM), read_instructions, write_instructions),
}
# Checksums and lengths that a damaging hand would put right again: (header start, words with the checksum).
SEALS = {"cdo": [(0, 5)], "pdi": [(0x10, 32), (0x90, 16), (0xD0, 32), (0x150, 5)]}
EXTREMES = (0, 1, 2, 3, 0x7F, 0xFF, 0x100, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFC, 0xFFFFFFFF)


def damage(data: bytes, name: str, rng: random.Random) -> bytes:
    """`data` with bits flipped, words replaced, parts cut or doubled; often with checksums and lengths mended."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        place = rng.randrange(len(out)) if rng.random() < 0.5 else rng.randrange(min(len(out), 0x220))
        word = place & ~3
        kind = rng.randrange(6)
        if kind == 0:
            out[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[word : word + 4] = struct.pack("<I", rng.choice(EXTREMES))
        elif kind == 2:
            out[word : word + 4] = struct.pack("<I", rng.randrange(1, 64))
        elif kind == 3:
            del out[max(place, 1) :]
        elif kind == 4:
            out[word:word] = out[word : word + 4 * rng.randrange(1, 9)]
        else:
            del out[word : word + 4 * rng.randrange(1, 9)]
        if not out:
            out = bytearray(b"\0")
    if rng.random() < 0.8:
        mend(out, name)
    return bytes(out)


def mend(out: bytearray, name: str) -> None:
    for start, count in SEALS.get(name, []):
        if len(out) >= start + 4 * count:
            body = struct.unpack_from(f"<{count - 1}I", out, start)
            struct.pack_into("<I", out, start + 4 * (count - 1), ~sum(body) & 0xFFFFFFFF)
    if name == "xclbin" and len(out) >= 0x138:
        struct.pack_into("<Q", out, 0x130, len(out))
    if name == "instructions" and len(out) >= 16:
        struct.pack_into("<I", out, 12, len(out))


def outcome(data: bytes, read: Callable[[bytes], Any], write: Callable[[Any], bytes]) -> tuple[bytes, str]:
    """What a file reads and writes as, or the reader's complaint."""
    try:
        return write(read(data)), ""
    except FileFormatError as error:
        return b"", str(error)


def check(name: str, count: int, seed: int) -> tuple[int, int]:
    """Read `count` damaged files; (how many were still readable, how many refused)."""
    data, read, write = FORMATS[name]
    rng = random.Random(seed)
    refused = 0
    for _ in range(count):
        broken = damage(data, name, rng)
        again, complaint = outcome(broken, read, write)
        refused += bool(complaint)
        if complaint:
            assert ": found " in complaint
            assert ", expected " in complaint
        else:
            assert again == broken
        with suppress(FileFormatError):
            describe_file(broken)
    return count - refused, refused


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_are_refused_or_kept(name: str) -> None:
    readable, refused = check(name, 400, seed=20)
    # Both outcomes have to occur, or the damage proves nothing.
    assert readable > 20
    assert refused > 20


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_ten_thousand_damaged_files(name: str) -> None:
    tracemalloc.start()
    check(name, 10_000, seed=21)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 << 20


@pytest.mark.parametrize("name", FORMATS)
def test_every_cut_is_refused(name: str) -> None:
    data, read, _ = FORMATS[name]
    for size in range(0, len(data), max(1, len(data) // 300)):
        with pytest.raises(FileFormatError):
            read(data[:size])


def test_memory_stays_bounded() -> None:
    """Counts and lengths of four thousand million in small files cost nothing."""
    huge = struct.pack("<I", 0xFFFFFFFF)
    files = [data[:place] + huge + data[place + 4 :] for data, _, _ in FORMATS.values() for place in range(0, 480, 4)]
    partition = read_xclbin(XCLBIN).section(SectionKind.AIE_PARTITION).data
    tracemalloc.start()
    for data in files:
        for _, read, write in FORMATS.values():
            outcome(data, read, write)
    for place in range(0, 184, 4):
        with suppress(FileFormatError):
            read_aie_partition(partition[:place] + huge + partition[place + 4 :])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20


def test_good_files_are_readable() -> None:
    for data, read, write in FORMATS.values():
        assert write(read(data)) == data
    assert isinstance(read_cdo(FORMATS["cdo"][0]), Cdo)
