"""PDI headers against the words of images that mlir-aie and bootgen made."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from array_strategies import cdos
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xattn.array.cdo import Cdo, Nop, Write, write_cdo
from xattn.array.pdi import BUS_WIDTH, Pdi, bif, build_pdi, is_pdi, read_pdi, with_cdo, write_pdi
from xattn.array.words import MalformedError
from xattn.errors import InputError


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


def test_headers_are_those_of_a_real_image() -> None:
    """The image of mlir-aie's single-core attention design: 5,952 bytes, a CDO of 1,401 words with its header.

    The three header checksums and every field are the real file's; the contents of the CDO do not matter for them.
    """
    data = write_pdi(build_pdi([Cdo((Nop(bytes(4 * (1401 - 5 - 2))),))]))
    assert len(data) == 5952
    assert data[:0x10] == words(0xDD, 0x11223344, 0x55667788, 0x99AABBCC)
    table = [0x40000, 1, 0x24, 1, 0x34, 0, 0x14CA8093, 0, 0, 0, 0x50504449, 0x201020, 0x30, 0, 0, 0, 0, 1]
    assert data[0x10:0x90] == words(*table, *[0] * 13, 0x9AC12A78)
    assert data[0x90:0xD0] == words(0x34, 1, 0, 0) + b"aie_image".ljust(16, b"\0") + words(
        0x1C000000, *[0] * 6, 0x1D39289B
    )
    partition = [0x57C, 0x579, 0x57C, 0, 0, 0, 0xFFFFFFFF, 0xFFFFFFFF, 0x54, 0x02000006, 1]
    assert data[0xD0:0x150] == words(*partition, *[0] * 20, 0xFDFFEF35)
    assert data[0x150:0x164] == words(4, 0x004F4443, 0x200, 0x574, 0xFFB0B444)
    assert data[-12:] == bytes(12)


def test_fields_have_names() -> None:
    pdi = build_pdi([Cdo((Write(0x232000, 1),))], name="abc", image_id=7)
    assert (pdi.images[0].name, pdi.images[0].image_id) == ("abc", 7)
    assert (pdi.table.id_code, pdi.table.extended_id_code) == (0x14CA8093, 1)
    assert pdi.images[0].first_partition_header == pdi.table.first_partition_header == 0x34
    assert pdi.images[0].partition_count == 1
    partition = pdi.partitions[0]
    assert (partition.kind, partition.data_offset, partition.load_address) == (2, 0x54, (1 << 64) - 1)
    assert pdi.cdo().commands == (Write(0x232000, 1),)


@given(st.lists(cdos(), max_size=3))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy computer
def test_pdi_survives_a_round_trip(configurations: list[Cdo]) -> None:
    pdi = build_pdi(configurations)
    data = write_pdi(pdi)
    assert read_pdi(data) == pdi
    assert is_pdi(data)
    assert len(data) % 16 == 0


@given(st.binary(min_size=1, max_size=20), st.integers(0, 14), st.integers(1, 0xFFFFFFFF))
def test_what_no_header_explains_survives(tail: bytes, index: int, value: int) -> None:
    pdi = build_pdi([Cdo((Write(0x232000, 1),))])
    unusual = list(pdi.images[0].words)
    unusual[index] = value
    image = replace(pdi.images[0], words=tuple(unusual))
    data = write_pdi(replace(pdi, images=(image,))) + tail
    again = read_pdi(data)
    assert again.images == (image,)
    assert again.rest == ((len(data) - len(tail), tail),)
    assert write_pdi(again) == data


def test_gaps_survive() -> None:
    pdi = build_pdi([Cdo((Write(0x232000, 1),))])
    partition = pdi.partitions[0]
    moved = replace(partition, words=(*partition.words[:8], 0x60, *partition.words[9:]))
    data = bytearray(write_pdi(replace(pdi, partitions=(moved,))))
    data[0x154:0x158] = b"note"
    again = read_pdi(bytes(data))
    assert again.rest == ((0x150, b"\0\0\0\0note" + bytes(0x180 - 0x158)),)
    assert write_pdi(again) == bytes(data)


def test_configuration_can_be_replaced() -> None:
    pdi = build_pdi([Cdo((Write(0x232000, 1),))])
    other = Cdo((Write(0x232000, 2), Nop(bytes(40))))
    assert with_cdo(pdi, other) == build_pdi([other])


def test_bif_describes_the_same_image() -> None:
    text = bif(["a.bin", "b.bin"])
    for part in ("id_code = 0x14ca8093", "extended_id_code = 0x01", "name=aie_image, id=0x1c000000", "type=cdo"):
        assert part in text
    assert "file=a.bin file=b.bin" in text


GOOD = write_pdi(build_pdi([Cdo((Write(0x232000, 1),))]))


def patched(offset: int, value: int, seal_from: int, seal_words: int) -> bytes:
    """GOOD with one header word changed and that header's checksum renewed."""
    data = bytearray(GOOD)
    data[offset : offset + 4] = words(value)
    body = struct.unpack_from(f"<{seal_words - 1}I", data, seal_from)
    struct.pack_into("<I", data, seal_from + 4 * (seal_words - 1), ~sum(body) & 0xFFFFFFFF)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "offset", "found", "expected"),
    [
        (b"", 0, "0 bytes", "bus-width"),
        (words(0x06030100) + GOOD[4:], 0, "0x06030100", "0x000000dd"),
        (GOOD[:8] + words(1) + GOOD[12:], 8, "0x00000001", "0x55667788"),
        (GOOD[:0x50], 0x10, "64 bytes", "the image header table"),
        (GOOD[:0x20] + words(1) + GOOD[0x24:], 0x8C, "checksum 0x9ac12a78", "0x9ac12aab"),
        (patched(0x10, 0x30000, 0x10, 32), 0x10, "version 0x30000", "0x40000"),
        (patched(0x38, 0x46504449, 0x10, 32), 0x38, "0x46504449", "PPDI"),
        (patched(0x14, 0, 0x10, 32), 0x14, "0 images", "1 to 10"),
        (patched(0x1C, 21, 0x10, 32), 0x1C, "21 partitions", "1 to 20"),
        (patched(0x18, 0x40000000, 0x10, 32), 0x10, "word offset 0x40000000", "inside the file"),
        (patched(0xF0, 0x40000000, 0xD0, 32), 0xF0, "word offset 0x40000000", "inside the file"),
        (patched(0xD4, 13, 0xD0, 32), 0xD4, "13 words of data", "the total of 8"),
        (patched(0x140, 1, 0xD0, 32), 0x140, "a transformed image (command zone of 0 bytes)", "a plain CDO"),
        (GOOD[:-20], 0x150, "12 bytes", "32 bytes"),
    ],
)
def test_broken_files_are_explained(data: bytes, offset: int, found: str, expected: str) -> None:
    with pytest.raises(MalformedError) as caught:
        read_pdi(data)
    assert (caught.value.offset, caught.value.file_format) == (offset, "PDI")
    assert found in str(caught.value)
    assert expected in str(caught.value)


def test_contradictions_are_refused() -> None:
    pdi = build_pdi([Cdo((Write(0x232000, 1),))])
    with pytest.raises(InputError, match="announces 1 images and 1 partitions, but there are 2 and 1"):
        write_pdi(replace(pdi, images=pdi.images * 2))
    with pytest.raises(InputError, match="announces 8 of 8 words, but there are 36 of 36 bytes"):
        write_pdi(replace(pdi, partitions=(replace(pdi.partitions[0], data=write_cdo(pdi.cdo()) + bytes(4)),)))
    with pytest.raises(InputError, match="3 words before its checksum, not 15"):
        write_pdi(replace(pdi, images=(replace(pdi.images[0], words=(1, 2, 3)),)))
    far = replace(pdi.partitions[0], words=(*pdi.partitions[0].words[:8], 1 << 31, *pdi.partitions[0].words[9:]))
    with pytest.raises(InputError, match="more than the limit"):
        write_pdi(replace(pdi, partitions=(far,)))
    with pytest.raises(InputError, match="16 bytes long; 15 fit"):
        build_pdi([], name="0123456789abcdef")
    other = (*pdi.partitions[0].words[:9], 0x01000006, *pdi.partitions[0].words[10:])
    program = replace(pdi, partitions=(replace(pdi.partitions[0], words=other),))
    with pytest.raises(InputError, match="0 CDO partitions"):
        program.cdo()
    with pytest.raises(InputError, match="cannot be replaced"):
        with_cdo(replace(pdi, rest=((0x1000, b"x"),)), Cdo(()))


def test_bus_width_words_are_kept() -> None:
    assert isinstance(read_pdi(GOOD), Pdi)
    assert read_pdi(GOOD).bus_width == BUS_WIDTH
