"""What files claim of themselves and of each other: columns, syntax, files that belong together."""

from __future__ import annotations

import re
from collections.abc import Iterator

from xattn.array.aie_partition import read_aie_partition
from xattn.array.configuration import TokenRoute
from xattn.array.design import TileId
from xattn.array.picture import used_tiles
from xattn.array.streams import SHIM_PORTS
from xattn.array.xclbin import SectionKind
from xattn.array.xclbin_build import NPU1_COLUMNS
from xattn.lint.finding import Found
from xattn.lint.streams import tasks_of
from xattn.lint.subject import Subject


def idle_columns(subject: Subject) -> Iterator[Found]:
    """Partitions and devices of more columns than the design uses: no other program can have those."""
    remedy = "other programs on the NPU cannot have the rest"
    image = subject.image
    for xclbin in subject.xclbins:
        for section in xclbin.content.sections:
            if section.kind == SectionKind.AIE_PARTITION and image is not None:
                used = {tile.column for tile in used_tiles(image.content.configuration)}
                width = read_aie_partition(section.data).column_width
                if used and width > max(used) + 1:
                    yield Found(
                        xclbin.name,
                        f"it takes {width} columns and uses {max(used) + 1}: {remedy}; build it for {max(used) + 1}",
                    )
    for design in subject.designs:
        width = _columns(design.content.device)
        needed = 1 + max((column for column, _ in design.content.tiles), default=0)
        if design.content.tiles and width > needed:
            yield Found(
                design.name,
                f"device {design.content.device} takes {width} columns, and the tiles lie in {needed}: {remedy}; write "
                f"aie.device(npu1_{needed}col)",
            )


def _columns(device: str) -> int:
    found = re.fullmatch(r"npu1_(\d)col", device)
    return int(found[1]) if found else NPU1_COLUMNS if device == "npu1" else 0


def old_syntax(subject: Subject) -> Iterator[Found]:
    """MLIR text that a mlir-aie of today does not take, unless `xattn build` was asked for it."""
    if subject.manifest is not None:
        return
    for design in subject.designs:
        text = design.content
        found = ["aiex.runtime_sequence, which is aie.runtime_sequence now"] if text.old_sequence else []
        if any(core.link_with for core in text.cores):
            found.append("link_with on a core, which is an attribute of the func.func now")
        if found:
            yield Found(
                design.name,
                f"it has the syntax of 2025: {'; '.join(found)}; change it, or keep a mlir-aie of that time",
            )


def no_instructions(subject: Subject) -> Iterator[Found]:
    """A folder with an xclbin and no instruction stream: nothing can be run."""
    if subject.is_folder and subject.xclbins and not subject.streams:
        yield Found(
            subject.xclbins[0].name,
            "there is no instruction stream (insts.bin) beside it, and without one the NPU does nothing: let the build "
            "write it too (aiecc: --get-npu-insts, before July 2026 --aie-generate-npu-insts)",
        )


def changed_files(subject: Subject) -> Iterator[Found]:
    """Files that are not as the manifest says."""
    if subject.manifest is None:
        return
    for entry in subject.manifest.files:
        digest = subject.digests.get(entry.name)
        if digest is not None and digest != entry.sha256:
            yield Found(
                entry.name,
                f"it has SHA-256 {digest[:16]}…, and the manifest says {entry.sha256[:16]}…: it is not the file of "
                "this build; build anew, or take the manifest of its own build",
            )


def unreadable(subject: Subject) -> Iterator[Found]:
    """Files whose names or first bytes promise something that is not in them."""
    for name, why in subject.unreadable:
        yield Found(name, f"it cannot be read, so nothing in it was checked: {why}")


def other_image(subject: Subject) -> Iterator[Found]:
    """Streams that use shim channels or wait for tokens of which the configuration knows nothing."""
    image, stream = subject.image, subject.stream
    if image is None or stream is None:
        return
    configuration = image.content.configuration
    joined = {(port.tile, port.port, port.to_array) for port in configuration.shim_ports}
    tokens = {route.tile for route in configuration.routes if isinstance(route, TokenRoute)}
    where = f"{stream.name} with {image.name}"
    found = tasks_of(stream.content)
    for channel in found.channels:
        place, port = TileId(channel.column, 0), SHIM_PORTS[channel.to_array][channel.channel]
        if (place, port, channel.to_array) not in joined:
            yield Found(
                where,
                f"the stream uses {channel.name} of column {channel.column}, which the image joins to no stream: the "
                "two are of different builds; take both from one",
            )
    for channel in dict.fromkeys(wait.channel for wait in found.waits):
        if TileId(channel.column, 0) not in tokens:
            yield Found(
                where,
                f"the stream waits for tokens of column {channel.column}, and the image has no way for them to the "
                "controller: the run hangs; take both files from one build",
            )
