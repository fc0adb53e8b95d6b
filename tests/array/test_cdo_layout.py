"""Padding rules, stated as arithmetic on positions in the file."""

from __future__ import annotations

import pytest
from array_strategies import array_commands
from hypothesis import given
from hypothesis import strategies as st

from xattn.array.cdo import Cdo, DmaWrite, End, MaskPoll, MaskWrite, Nop, Write, encode_command
from xattn.array.cdo_layout import bootgen_layout, driver_layout, merge, without_padding

command_lists = st.lists(array_commands(), max_size=15)


def data_positions(cdo: Cdo) -> list[tuple[int, DmaWrite]]:
    """Word position in the file at which the data of each DMA write starts."""
    found = []
    position = 5
    for command in cdo.commands:
        size = len(encode_command(command)) // 4
        if isinstance(command, DmaWrite):
            found.append((position + size - len(command.data) // 4, command))
        position += size
    return found


@given(command_lists)
def test_driver_starts_data_at_16_bytes(commands: list) -> None:  # type: ignore[type-arg]
    cdo = driver_layout(commands)
    for position, command in data_positions(cdo):
        # A DMA write of 253 words is the one length that the driver places one word late.
        assert position % 4 == (1 if len(command.data) // 4 == 253 else 0)
    assert all(command.wide for command in cdo.commands if isinstance(command, (Write, MaskWrite, MaskPoll)))


@given(command_lists)
def test_bootgen_starts_data_like_its_address(commands: list) -> None:  # type: ignore[type-arg]
    cdo = bootgen_layout(Cdo(tuple(commands)))
    for position, command in data_positions(cdo):
        assert position % 4 == (command.address >> 2) % 4
        assert len(command.data) != 4
    assert not any(command.wide for command in cdo.commands if isinstance(command, (Write, MaskWrite, MaskPoll)))
    assert bootgen_layout(cdo) == cdo


@given(command_lists)
def test_padding_changes_nothing_else(commands: list) -> None:  # type: ignore[type-arg]
    plain = without_padding(bootgen_layout(Cdo(tuple(commands))))
    assert without_padding(bootgen_layout(driver_layout(commands))) == plain
    assert without_padding(merge([Cdo(tuple(commands)), Cdo(tuple(commands))])).commands == plain.commands * 2


def test_one_word_copies_become_writes() -> None:
    assert bootgen_layout(Cdo((DmaWrite(0x232000, b"\1\0\0\0"),))).commands == (Write(0x232000, 1),)


def test_nothing_behind_an_end_is_loaded() -> None:
    assert bootgen_layout(Cdo((Write(0, 1), End(), Write(4, 2)))).commands == (Write(0, 1),)


@pytest.mark.parametrize(("options", "kept"), [((), ()), ((0,), ()), ((1, 0), (1,)), ((0, 2), (0, 2))])
def test_zero_options_go(options: tuple[int, ...], kept: tuple[int, ...]) -> None:
    assert bootgen_layout(Cdo((MaskPoll(0, 1, 1, 5, options),))).commands == (MaskPoll(0, 1, 1, 5, kept),)


def test_layout_of_a_bd_behind_two_writes() -> None:
    # Worked by hand: header 5 words, two narrow writes of 3 words; the BD's command head is 3 words, its data starts
    # at word 14, which is 2 modulo 4; the address 0x1D000 wants 0, so two words of NOP go in front.
    bd = DmaWrite(0x21D000, bytes(24))
    commands = (Write(0x21F000, 2), Write(0x21F010, 0), bd)
    assert bootgen_layout(Cdo(commands)).commands == (*commands[:2], Nop(bytes(4)), bd)
