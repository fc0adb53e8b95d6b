"""The configuration's register writes, read back, and against those of an image that mlir-aie built."""

from __future__ import annotations

from dataclasses import replace

from design_cases import one_core

from xattn.array.buffer_descriptor import BufferDescriptor, LockUse
from xattn.array.cdo import Command, MaskWrite, Write
from xattn.array.cdo_layout import merge, without_padding
from xattn.array.configuration import (
    ChannelStart,
    Circuit,
    Configuration,
    CoreImage,
    LockValue,
    PlacedBd,
    ShimPort,
    TokenRoute,
    configure,
)
from xattn.array.configuration_reader import read_configuration
from xattn.array.design import TileId
from xattn.array.placement import place

SHIM, MEM, CORE = TileId(0, 0), TileId(0, 1), TileId(0, 2)


def configuration() -> Configuration:
    placed = place(one_core())
    cores = (CoreImage(CORE, ((0x20000, bytes(range(64))), (0x8400, bytes(range(32))))),)
    return Configuration(cores, placed.locks, placed.bds, placed.starts, placed.routes, placed.shim_ports)


def commands(configuration: Configuration) -> list[Command]:
    return list(without_padding(merge(configure(configuration))).commands)


def test_a_configuration_is_read_back() -> None:
    assert read_configuration(commands(configuration())) == configuration()


def test_words_of_a_real_image() -> None:
    """Addresses and words of the single-core attention image that mlir-aie built (facts of its register writes)."""
    real = Configuration(
        (),
        (LockValue(CORE, 2, 2), LockValue(CORE, 0, 2)),
        (PlacedBd(CORE, 0, BufferDescriptor(3072, 0x400, acquire=LockUse(0, -1), release=LockUse(1, 1), next_bd=1)),),
        (ChannelStart(CORE, "S2MM_0", 0), ChannelStart(CORE, "MM2S_0", 2)),
        (
            Circuit(SHIM, "South3", "North1"),
            Circuit(SHIM, "North0", "South2"),
            TokenRoute(SHIM),
            Circuit(MEM, "South1", "North1"),
            Circuit(CORE, "South1", "DMA0"),
            Circuit(CORE, "DMA0", "South0"),
        ),
        (ShimPort(SHIM, "South3", True), ShimPort(SHIM, "South2", False)),
    )
    made = [c for c in commands(real) if isinstance(c, (Write, MaskWrite))]
    assert [(c.address, c.value) for c in made if isinstance(c, Write)] == [
        (0x21F020, 2),
        (0x21F000, 2),
        (0x21DE04, 0),
        (0x21DE14, 2),
        (0x03F034, 0x80000005),
        (0x03F114, 0x80000000),
        (0x03F010, 0x8000000E),
        (0x03F138, 0x80000000),
        (0x03F008, 0xC0000045),
        (0x03F100, 0xC0000000),
        (0x03F200, 0x0F1F0135),
        (0x1B0030, 0x80000008),
        (0x1B0120, 0x80000000),
        (0x23F004, 0x80000006),
        (0x23F118, 0x80000000),
        (0x23F014, 0x80000001),
        (0x23F104, 0x80000000),
    ]
    assert [(c.address, c.mask, c.value) for c in made if isinstance(c, MaskWrite)] == [
        (0x21DE00, 0, 1),
        (0x21DE10, 0, 1),
        (0x01F000, 0xC00, 0x400),
        (0x01F004, 0x30, 0x10),
    ]


def test_cores_are_stopped_loaded_reset_and_started() -> None:
    writes = commands(replace(configuration(), bds=(), starts=(), routes=(), shim_ports=(), locks=()))
    masks = [(c.address, c.mask, c.value) for c in writes if isinstance(c, MaskWrite)]
    control = [entry[1:] for entry in masks if entry[0] == 0x232000]
    assert control == [(1, 0), (2, 2), (2, 0), (1, 1)]
    channels = (0x21DE10, 0x21DE18, 0x21DE00, 0x21DE08)
    assert masks[1:5] == [(address, 2, 2) for address in channels]
    assert masks[5:9] == [(address, 2, 0) for address in channels]
    locks = [(c.address, c.value) for c in writes if isinstance(c, Write)]
    assert locks == [(0x21F000 + 16 * number, 0) for number in range(16)]
