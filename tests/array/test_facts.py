"""Facts of files: the same whatever the order and padding, different where anything differs."""

from __future__ import annotations

import pytest
from design_cases import one_core

from xattn.array.cdo import Cdo, MaskWrite, Nop, Write, write_cdo
from xattn.array.cdo_layout import driver_layout, without_padding
from xattn.array.configuration import Configuration, CoreImage, configure
from xattn.array.facts import facts_of
from xattn.array.host_sequence import host_sequence
from xattn.array.instructions import write_instructions
from xattn.array.operation_text import operation_text
from xattn.array.pdi import build_pdi, write_pdi
from xattn.array.placement import place
from xattn.array.xclbin import write_xclbin
from xattn.array.xclbin_build import build_xclbin
from xattn.errors import FileFormatError

PLACED = place(one_core())
CORE_PROGRAM = CoreImage(PLACED.design.cores[0].tile, ((0x20000, bytes(range(64))),))
CDOS = configure(
    Configuration((CORE_PROGRAM,), PLACED.locks, PLACED.bds, PLACED.starts, PLACED.routes, PLACED.shim_ports)
)
COMMANDS = [command for cdo in CDOS for command in without_padding(cdo).commands]
STREAM = host_sequence(PLACED)


def facts(commands: list) -> dict[str, str]:
    return facts_of(write_cdo(Cdo(tuple(commands))))


def test_order_and_padding_do_not_count() -> None:
    padded = [item for command in COMMANDS for item in (Nop(bytes(8)), command)]
    assert facts(COMMANDS) == facts(padded) == facts_of(write_cdo(driver_layout(COMMANDS)))
    pdi = write_pdi(build_pdi(CDOS))
    assert {k: v for k, v in facts_of(pdi).items() if k != "id code"} == facts(COMMANDS)
    container = facts_of(write_xclbin(build_xclbin(pdi, 1)))
    assert {f"PDI {name}": value for name, value in facts_of(pdi).items()}.items() <= container.items()


def test_every_write_counts() -> None:
    """Leaving any one command out changes the facts, but for those that only repeat what a reset did."""
    whole = facts(COMMANDS)
    silent = [index for index in range(len(COMMANDS)) if facts([*COMMANDS[:index], *COMMANDS[index + 1 :]]) == whole]
    for index in silent:
        command = COMMANDS[index]
        assert isinstance(command, (Write, MaskWrite))
        assert (
            command.value == 0 or isinstance(command, MaskWrite) or command in COMMANDS[:index] + COMMANDS[index + 1 :]
        )
    assert len(silent) < 25


def test_facts_have_names() -> None:
    found = facts(COMMANDS)
    assert found["tile (0, 2) BD 0"] == "3,072 words at 0x0, takes 1 of lock 0, gives 1 of lock 1"
    assert found["tile (0, 2) DMA_MM2S_0_Start_Queue"] == "0x2, Start_BD_ID 2"
    assert found["tile (0, 2) Stream_Switch_Master_Config_DMA0"].endswith("from South0")
    assert found["tile (0, 2) program memory from 0x0"].startswith("64 bytes, SHA-256 fdeab9acf3710362")


def test_operations_in_words() -> None:
    assert [operation_text(operation) for operation in STREAM.operations] == [
        "tile (0, 0): BD 0 = 3,072 words at 0x0",
        "tile (0, 0): BD 0 points to host buffer 0, byte 0",
        "tile (0, 0): MM2S_0 starts BD 0",
        "tile (0, 0): BD 1 = 1,024 words at 0x0",
        "tile (0, 0): BD 1 points to host buffer 1, byte 0",
        "tile (0, 0): tokens of S2MM_0 carry packet id 15",
        "tile (0, 0): S2MM_0 starts BD 1, with a token at the end",
        "tile (0, 0): wait for a token of S2MM_0",
    ]
    found = facts_of(write_instructions(STREAM))
    assert found["operation 7"] == "tile (0, 0): wait for a token of S2MM_0"


def test_foreign_files_are_refused() -> None:
    with pytest.raises(FileFormatError, match="expected an xclbin, a PDI, a CDO or an NPU instruction stream"):
        facts_of(b"\x7fELF")
