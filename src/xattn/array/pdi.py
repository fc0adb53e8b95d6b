"""PDI (programmable device image): the file that carries CDOs to the NPU, read and written byte for byte.

Layout, all little-endian words: 4 bus-width words at 0; an image header table (128 bytes) at 0x10; image headers
(64 bytes each) and partition headers (128 bytes each) where the table says, as offsets in words; the partitions' data
where their headers say. Each header ends with the inverted sum of its other words. Names follow AMD's bootgen
(Apache-2.0); the values that `build_pdi` uses are those of the images that mlir-aie makes for XDNA1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from xattn.array.cdo import Cdo, read_cdo, write_cdo
from xattn.array.cdo_layout import merge
from xattn.array.words import (
    WORD,
    ByteReader,
    Coverage,
    align_up,
    check_unsigned,
    complement_of_sum,
    pack_words,
    place,
    unpack_words,
)
from xattn.errors import InputError

FORMAT = "PDI"
BUS_WIDTH = (0x000000DD, 0x11223344, 0x55667788, 0x99AABBCC)
TABLE_OFFSET = 0x10
TABLE_WORDS = 32
IMAGE_WORDS = 16
PARTITION_WORDS = 32
TABLE_VERSION = 0x00040000
PARTIAL_PDI = 0x50504449  # "PPDI": an image without a boot loader
NPU_ID_CODE = 0x14CA8093
IMAGE_ID = 0x1C000000
IMAGE_NAME = "aie_image"
NO_ADDRESS = 0xFFFFFFFF_FFFFFFFF
CDO_PARTITION = 2
MAX_IMAGES = 10
MAX_PARTITIONS = 20
SIZE_LIMIT = 1 << 28
_ALIGNMENT = 16


@dataclass(frozen=True, slots=True)
class ImageHeaderTable:
    """The table of headers: its 31 words before the checksum. Offsets are in words from the start of the file."""

    words: tuple[int, ...]

    @property
    def version(self) -> int:
        """Version of the header layout."""
        return self.words[0]

    @property
    def image_count(self) -> int:
        """Number of images."""
        return self.words[1]

    @property
    def first_image_header(self) -> int:
        """Word offset of the image headers."""
        return self.words[2]

    @property
    def partition_count(self) -> int:
        """Number of partitions."""
        return self.words[3]

    @property
    def first_partition_header(self) -> int:
        """Word offset of the partition headers."""
        return self.words[4]

    @property
    def id_code(self) -> int:
        """The device's JTAG id code."""
        return self.words[6]

    @property
    def extended_id_code(self) -> int:
        """The device's extended id code."""
        return self.words[17]


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """One image: its 15 words before the checksum."""

    words: tuple[int, ...]

    @property
    def first_partition_header(self) -> int:
        """Word offset of its first partition header."""
        return self.words[0]

    @property
    def partition_count(self) -> int:
        """Number of its partitions."""
        return self.words[1]

    @property
    def name(self) -> str:
        """The image's name (up to 16 bytes)."""
        return pack_words(self.words[4:8]).split(b"\0", 1)[0].decode("latin-1")

    @property
    def image_id(self) -> int:
        """The image's id."""
        return self.words[8]


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition: its header's 31 words before the checksum, its data, and the padding behind the data (bytes)."""

    words: tuple[int, ...]
    data: bytes
    padding: bytes = b""

    @property
    def data_words(self) -> int:
        """Length of the data in words, without padding."""
        return self.words[1]

    @property
    def total_words(self) -> int:
        """Length of data and padding in words."""
        return self.words[2]

    @property
    def load_address(self) -> int:
        """Where the data is to be copied; all ones for a CDO, which is executed instead."""
        return self.words[7] << 32 | self.words[6]

    @property
    def data_offset(self) -> int:
        """Word offset of the data in the file."""
        return self.words[8]

    @property
    def kind(self) -> int:
        """Partition type; 2 is a CDO."""
        return self.words[9] >> 24 & 0x7

    def cdo(self) -> Cdo:
        """The data as CDO; data of another kind is a MalformedError (offsets then count from the start of the data)."""
        return read_cdo(self.data)


@dataclass(frozen=True, slots=True)
class Pdi:
    """A whole image. `rest` holds (offset, bytes) of what no header explains, so that foreign files survive."""

    table: ImageHeaderTable
    images: tuple[ImageHeader, ...]
    partitions: tuple[Partition, ...]
    bus_width: tuple[int, ...] = BUS_WIDTH
    rest: tuple[tuple[int, bytes], ...] = ()

    def cdo(self) -> Cdo:
        """The configuration, if there is exactly one CDO partition; otherwise InputError."""
        found = [partition for partition in self.partitions if partition.kind == CDO_PARTITION]
        if len(found) != 1:
            raise InputError(f"the PDI has {len(found)} CDO partitions; take them one by one from .partitions")
        return found[0].cdo()


def build_pdi(cdos: Iterable[Cdo], name: str = IMAGE_NAME, image_id: int = IMAGE_ID) -> Pdi:
    """The PDI that bootgen makes of these CDOs, in this order, with `bif`'s description of an XDNA1 image."""
    body = write_cdo(merge(cdos))
    padding = bytes(-len(body) % _ALIGNMENT)
    image_offset = (TABLE_OFFSET // WORD) + TABLE_WORDS
    partition_offset = image_offset + IMAGE_WORDS
    data_offset = partition_offset + PARTITION_WORDS
    encoded = name.encode("latin-1", "replace")
    if len(encoded) > 15:
        raise InputError(f"the image name {name!r} is {len(encoded)} bytes long; 15 fit")
    table = [0] * (TABLE_WORDS - 1)
    table[:5] = [TABLE_VERSION, 1, image_offset, 1, partition_offset]
    table[6] = NPU_ID_CODE
    table[10:13] = [PARTIAL_PDI, PARTITION_WORDS << 16 | IMAGE_WORDS << 8 | TABLE_WORDS, IMAGE_WORDS + PARTITION_WORDS]
    table[17] = 1
    image = [0] * (IMAGE_WORDS - 1)
    image[:2] = [partition_offset, 1]
    image[4:8] = unpack_words(encoded.ljust(16, b"\0"))
    image[8] = check_unsigned(image_id, 32, "the image id")
    size, total = len(body) // WORD, (len(body) + len(padding)) // WORD
    partition = [0] * (PARTITION_WORDS - 1)
    partition[:3] = [total, size, total]
    partition[6:11] = [NO_ADDRESS & 0xFFFFFFFF, NO_ADDRESS >> 32, data_offset, CDO_PARTITION << 24 | 0x6, 1]
    return Pdi(
        ImageHeaderTable(tuple(table)),
        (ImageHeader(tuple(image)),),
        (Partition(tuple(partition), body, padding),),
    )


def bif(files: Sequence[str], name: str = IMAGE_NAME, image_id: int = IMAGE_ID) -> str:
    """The boot image format text that makes bootgen build the same PDI from CDO files (`-arch versal`)."""
    listed = " ".join(f"file={path}" for path in files)
    return (
        "all:\n{\n"
        f"  id_code = {NPU_ID_CODE:#x}\n  extended_id_code = 0x01\n"
        "  image\n  {\n"
        f"    name={name}, id={image_id:#x}\n    {{ type=cdo {listed} }}\n"
        "  }\n}\n"
    )


def with_cdo(pdi: Pdi, cdo: Cdo) -> Pdi:
    """`pdi` (one partition) with its configuration replaced; lengths and padding follow."""
    if len(pdi.partitions) != 1 or pdi.rest:
        raise InputError(f"the configuration of a PDI with {len(pdi.partitions)} partitions cannot be replaced")
    old = pdi.partitions[0]
    body = write_cdo(cdo)
    total = align_up(len(body), _ALIGNMENT) // WORD
    words = (total, len(body) // WORD, total, *old.words[3:])
    return replace(pdi, partitions=(Partition(words, body, bytes(total * WORD - len(body))),))


def write_pdi(pdi: Pdi) -> bytes:
    """The file that holds `pdi`; headers that contradict the contents are an InputError."""
    _check(pdi)
    table = pdi.table
    pieces = [(0, pack_words(pdi.bus_width)), (TABLE_OFFSET, _sealed(table.words))]
    for index, image in enumerate(pdi.images):
        pieces.append((WORD * (table.first_image_header + index * IMAGE_WORDS), _sealed(image.words)))
    for index, partition in enumerate(pdi.partitions):
        header = WORD * (table.first_partition_header + index * PARTITION_WORDS)
        pieces.append((header, _sealed(partition.words)))
        pieces.append((WORD * partition.data_offset, partition.data + partition.padding))
    return place([*pieces, *pdi.rest], SIZE_LIMIT)


def read_pdi(data: bytes) -> Pdi:
    """The PDI in `data`; a truncated, foreign or damaged file is a MalformedError that names the place."""
    reader = ByteReader(data, FORMAT)
    covered = Coverage()
    bus_width = _read_bus_width(reader)
    table = _read_table(reader)
    covered.add(0, TABLE_OFFSET + TABLE_WORDS * WORD)
    images = []
    for index in range(table.image_count):
        words = _read_sealed(data, table.first_image_header + index * IMAGE_WORDS, IMAGE_WORDS, "an image header")
        covered.add(WORD * (table.first_image_header + index * IMAGE_WORDS), IMAGE_WORDS * WORD)
        images.append(ImageHeader(words))
    partitions = []
    for index in range(table.partition_count):
        start = table.first_partition_header + index * PARTITION_WORDS
        partition = _read_partition(data, start)
        covered.add(WORD * start, PARTITION_WORDS * WORD)
        covered.add(WORD * partition.data_offset, len(partition.data) + len(partition.padding))
        partitions.append(partition)
    return Pdi(table, tuple(images), tuple(partitions), bus_width, covered.rest(data))


def is_pdi(data: bytes) -> bool:
    """Whether `data` starts like a PDI."""
    return data[: 2 * WORD] == pack_words(BUS_WIDTH[:2])


def _read_bus_width(reader: ByteReader) -> tuple[int, ...]:
    words = reader.words(len(BUS_WIDTH), "the bus-width words")
    for index, (found, expected) in enumerate(zip(words, BUS_WIDTH, strict=True)):
        if found != expected:
            reader.fail(index * WORD, f"{found:#010x}", f"{expected:#010x} (bus width)", "is this a PDI?")
    return words


def _read_table(reader: ByteReader) -> ImageHeaderTable:
    table = ImageHeaderTable(_read_sealed(reader.data, TABLE_OFFSET // WORD, TABLE_WORDS, "the image header table"))
    where = TABLE_OFFSET
    if table.version != TABLE_VERSION:
        reader.fail(where, f"version {table.version:#x}", f"{TABLE_VERSION:#x} (image header table)")
    if table.words[10] != PARTIAL_PDI:
        found = f"{table.words[10]:#x}"
        reader.fail(where + 10 * WORD, found, f'{PARTIAL_PDI:#x} ("PPDI")', "boot images cannot be read")
    for index, limit, what in ((1, MAX_IMAGES, "images"), (3, MAX_PARTITIONS, "partitions")):
        if not 1 <= table.words[index] <= limit:
            reader.fail(where + index * WORD, f"{table.words[index]} {what}", f"1 to {limit}")
    return table


def _read_partition(data: bytes, start: int) -> Partition:
    _refuse_transformed(data, WORD * start)
    words = _read_sealed(data, start, PARTITION_WORDS, "a partition header")
    partition = Partition(words, b"")
    if partition.data_words > partition.total_words:
        found = f"{partition.data_words} words of data"
        ByteReader(data, FORMAT).fail(WORD * (start + 1), found, f"at most the total of {partition.total_words}")
    _inside(data, WORD * (start + 8), partition.data_offset)
    reader = ByteReader(data, FORMAT, WORD * partition.data_offset)
    content = reader.take(WORD * partition.data_words, "a partition's data")
    padding = reader.take(WORD * (partition.total_words - partition.data_words), "a partition's padding")
    return Partition(words, content, padding)


def _refuse_transformed(data: bytes, start: int) -> None:
    """AMD's PDI transform sorts commands and data into zones, marks the header and leaves its checksum stale."""
    mark = data[start + WORD * 28 : start + WORD * 30]
    if len(mark) == 2 * WORD and unpack_words(mark)[0] == 1:
        found = f"a transformed image (command zone of {unpack_words(mark)[1]} bytes)"
        remedy = "images behind AMD's PDI transform cannot be read; take the one from before it"
        ByteReader(data, FORMAT).fail(start + WORD * 28, found, "0 (a plain CDO)", remedy)


def _read_sealed(data: bytes, start: int, count: int, what: str) -> tuple[int, ...]:
    """The words of a header at word `start`, without the checksum, which is verified."""
    if start * WORD > len(data):
        found = f"word offset {start:#x}"
        ByteReader(data, FORMAT).fail(TABLE_OFFSET, found, f"{what} inside the file's {len(data)} bytes")
    reader = ByteReader(data, FORMAT, WORD * start)
    words = reader.words(count, what)
    expected = complement_of_sum(words[:-1])
    if words[-1] != expected:
        where = WORD * (start + count - 1)
        reader.fail(where, f"checksum {words[-1]:#010x}", f"{expected:#010x} ({what})", "the file is damaged")
    return words[:-1]


def _inside(data: bytes, field_at: int, word_offset: int) -> None:
    if word_offset * WORD > len(data):
        found = f"word offset {word_offset:#x}"
        ByteReader(data, FORMAT).fail(field_at, found, f"a place inside the file's {len(data)} bytes")


def _sealed(words: tuple[int, ...]) -> bytes:
    return pack_words([*words, complement_of_sum(words)])


def _check(pdi: Pdi) -> None:
    table = pdi.table
    if (table.image_count, table.partition_count) != (len(pdi.images), len(pdi.partitions)):
        raise InputError(
            f"the table announces {table.image_count} images and {table.partition_count} partitions, "
            f"but there are {len(pdi.images)} and {len(pdi.partitions)}"
        )
    lengths = [(table.words, TABLE_WORDS), *((image.words, IMAGE_WORDS) for image in pdi.images)]
    lengths += [(partition.words, PARTITION_WORDS) for partition in pdi.partitions]
    for words, expected in lengths:
        if len(words) != expected - 1:
            raise InputError(f"a header has {len(words)} words before its checksum, not {expected - 1}")
    for partition in pdi.partitions:
        sizes = (len(partition.data), len(partition.data) + len(partition.padding))
        if sizes != (WORD * partition.data_words, WORD * partition.total_words):
            raise InputError(
                f"a partition header announces {partition.data_words} of {partition.total_words} words, "
                f"but there are {sizes[0]} of {sizes[1]} bytes"
            )
