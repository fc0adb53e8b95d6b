"""Files that other tools built, from a folder named by XATTN_FOREIGN: read, explained in full, written back unchanged.

None of them is part of the project. Any folder with .pdi, .xclbin, insts.txt or insts.bin files will do.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest

from xattn.array.aie_partition import read_aie_partition, write_aie_partition
from xattn.array.cdo import Cdo, Command, DmaWrite, MaskWrite, Nop, Other, Write, write_cdo
from xattn.array.cdo_layout import driver_layout
from xattn.array.configuration import configure
from xattn.array.configuration_reader import read_configuration
from xattn.array.instructions import is_instruction_stream, read_instructions, write_instructions
from xattn.array.pdi import build_pdi, is_pdi, read_pdi, write_pdi
from xattn.array.registers import OFFSET_MASK, describe, split_address
from xattn.array.words import MalformedError
from xattn.array.xclbin import SectionKind, is_xclbin, read_xclbin, write_xclbin

FOLDER = os.environ.get("XATTN_FOREIGN", "")
pytestmark = pytest.mark.skipif(
    not (FOLDER and Path(FOLDER).is_dir()),
    reason="XATTN_FOREIGN names no folder with files of other tools; the formats are not compared with them",
)


@cache
def contents(pattern: str) -> list[tuple[Path, bytes]]:
    return [(path, path.read_bytes()) for path in sorted(Path(FOLDER).rglob(pattern)) if path.is_file()]


def images() -> list[tuple[str, bytes]]:
    """Every PDI: the files, and those inside xclbins. Images behind AMD's PDI transform are left out."""
    found = [(str(path), data) for path, data in contents("*.pdi") if is_pdi(data)]
    for path, data in contents("*.xclbin"):
        for section in read_xclbin(data).sections if is_xclbin(data) else ():
            if section.kind == SectionKind.AIE_PARTITION:
                found += [(str(path), pdi.image) for pdi in read_aie_partition(section.data).pdis]
    return [(name, data) for name, data in found if not is_transformed(data)]


def is_transformed(data: bytes) -> bool:
    try:
        read_pdi(data)
    except MalformedError as error:
        return "transformed image" in error.found
    return False


def unexplained(command: Command) -> list[str]:
    """What the register table does not know about this command's writes."""
    match command:
        case Write(address, value) | MaskWrite(address, _, value):
            written = [(address, value)]
        case DmaWrite(address, _):
            written = [(address + 4 * index, word) for index, word in enumerate(command.words())]
        case Other():
            return [str(command)]
        case _:
            return []
    found = [describe(split_address(address).kind, address, value) for address, value in written]
    return [str(item) for item in found if not item.known or (item.fields and item.other_bits)]


def test_images_survive_and_are_explained() -> None:
    checked = images()
    if not checked:
        pytest.skip(f"{FOLDER} holds no PDI")
    commands = 0
    for name, data in checked:
        pdi = read_pdi(data)
        assert write_pdi(pdi) == data, name
        assert pdi.rest == (), name
        cdo = pdi.cdo()
        assert write_cdo(cdo) == pdi.partitions[0].data, name
        assert [text for command in cdo.commands for text in unexplained(command)] == [], name
        commands += len(cdo.commands)
    print(f"{len(checked)} PDIs, {commands} commands: read, explained and written back unchanged")


def test_images_are_rebuilt_from_their_writes() -> None:
    """mlir-aie's images again, from their register writes alone: the driver's layout, then bootgen's."""
    checked = [(name, data) for name, data in images() if Path(name).name == "main.pdi"]
    if not checked:
        pytest.skip(f"{FOLDER} holds no main.pdi of mlir-aie")
    for name, data in checked:
        assert any(write_pdi(build_pdi(parts)) == data for parts in splits(read_pdi(data).cdo())), name
    print(f"{len(checked)} images rebuilt byte for byte from their register writes")


def test_images_are_rebuilt_from_what_they_configure() -> None:
    """mlir-aie's images a second time, from programs, locks, BDs, channels and routes alone."""
    checked = [(name, data) for name, data in images() if Path(name).name == "main.pdi"]
    if not checked:
        pytest.skip(f"{FOLDER} holds no main.pdi of mlir-aie")
    for name, data in checked:
        configuration = read_configuration(read_pdi(data).cdo().commands)
        assert write_pdi(build_pdi(configure(configuration))) == data, name
    print(f"{len(checked)} images rebuilt byte for byte from their configurations")


def splits(cdo: Cdo) -> list[list[Cdo]]:
    """The ways to cut the commands into mlir-aie's three files, each of which opens with a bare NOP."""
    commands = cdo.commands
    opens = [index for index, command in enumerate(commands) if command == Nop()]
    ways = []
    for first in opens[1:]:
        for second in (index for index in opens if index > first):
            parts = (commands[:first], commands[first:second], commands[second:])
            if all(isinstance(command, (Nop, MaskWrite)) for command in parts[2]) and not any(
                map(configures, parts[0])
            ):
                ways.append([driver_layout([Nop(), *(c for c in part if not isinstance(c, Nop))]) for part in parts])
    return ways


def configures(command: Command) -> bool:
    """Whether a block write goes to registers; the first file fills memories only."""
    return isinstance(command, DmaWrite) and command.address & OFFSET_MASK >= 0x24000


def test_containers_survive() -> None:
    checked = [(path, data) for path, data in contents("*.xclbin") if is_xclbin(data)]
    if not checked:
        pytest.skip(f"{FOLDER} holds no xclbin")
    for path, data in checked:
        xclbin = read_xclbin(data)
        assert write_xclbin(xclbin) == data, path
        for section in xclbin.sections:
            if section.kind == SectionKind.AIE_PARTITION:
                assert write_aie_partition(read_aie_partition(section.data)) == section.data, path
    print(f"{len(checked)} xclbins read and written back unchanged")


def test_streams_survive() -> None:
    candidates = [*contents("insts*.txt"), *contents("insts*.bin"), *contents("*.seq")]
    checked = [(path, data) for path, data in candidates if is_instruction_stream(data)]
    if not checked:
        pytest.skip(f"{FOLDER} holds no binary instruction stream")
    for path, data in checked:
        assert write_instructions(read_instructions(data)) == data, path
    print(f"{len(checked)} instruction streams read and written back unchanged")
