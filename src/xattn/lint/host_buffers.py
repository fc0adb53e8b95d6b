"""Host buffers: how many a stream uses and an xclbin declares, and how large they are."""

from __future__ import annotations

from collections.abc import Iterator

from xattn.array.instructions import AddressPatch, InstructionStream
from xattn.array.xclbin import SectionKind, Xclbin
from xattn.array.xclbin_sections import KernelMetadata, read_kernel_metadata
from xattn.lint.finding import Found
from xattn.lint.subject import Subject
from xattn.sim.array.buffers import buffer_bytes

UPSTREAM_BUFFERS = 5  # host buffers that mlir-aie's xclbins declare, whatever a design has
_BEFORE_BUFFERS = 3  # opcode, instructions, their number


def declared_buffers(xclbin: Xclbin) -> tuple[str, int] | None:
    """The NPU kernel's name and how many host buffers it declares; None when there is not just one such kernel."""
    found: list[KernelMetadata] = []
    for section in xclbin.sections:
        if section.kind == SectionKind.EMBEDDED_METADATA:
            found += read_kernel_metadata(section.data)
    if len(found) != 1:
        return None
    buffers = [argument for argument in found[0].arguments[_BEFORE_BUFFERS:] if argument.is_pointer]
    return found[0].name, len(buffers)


def used_buffers(stream: InstructionStream) -> int:
    """One more than the highest number of a host buffer in the stream."""
    return max((op.argument + 1 for op in stream.operations if isinstance(op, AddressPatch)), default=0)


def undeclared(subject: Subject) -> Iterator[Found]:
    """Streams that patch in more buffers than the xclbin's kernel declares."""
    for stream in subject.streams:
        used = used_buffers(stream.content)
        for xclbin in subject.xclbins:
            declared = declared_buffers(xclbin.content)
            if declared is not None and used > declared[1]:
                name, count = declared
                yield Found(
                    f"{stream.name} with {xclbin.name}",
                    f"the stream uses host buffers 0 to {used - 1}, and kernel {name} declares {count} (bo0 to "
                    f"bo{count - 1}): a host cannot pass the rest; build the xclbin for {used} buffers, or put several "
                    "arrays into one buffer",
                )


def more_than_upstream(subject: Subject) -> Iterator[Found]:
    """Streams that use more buffers than mlir-aie's xclbins declare, with no xclbin to compare with."""
    if subject.xclbins:
        return
    for stream in subject.streams:
        used = used_buffers(stream.content)
        if used > UPSTREAM_BUFFERS:
            yield Found(
                stream.name,
                f"the stream uses {used} host buffers, and xclbins of mlir-aie declare {UPSTREAM_BUFFERS} whatever the "
                "design: name the xclbin too, and see whether it declares them",
            )


def beyond_buffer(subject: Subject) -> Iterator[Found]:
    """Transfers that go past the end of a host buffer as the manifest has it."""
    if subject.manifest is None:
        return
    sizes = {buffer.argument: buffer for buffer in subject.manifest.buffers}
    for stream in subject.streams:
        for number, end in sorted(buffer_bytes(stream.content).items()):
            if number not in sizes:
                yield Found(
                    stream.name,
                    f"the stream uses host buffer {number}, and the manifest lists {len(sizes)}: the files are of two "
                    "builds; build anew",
                )
            elif end > sizes[number].bytes:
                buffer = sizes[number]
                yield Found(
                    stream.name,
                    f"the stream uses {end:,} bytes of host buffer {number} ({buffer.name}), which has "
                    f"{buffer.bytes:,}: make the buffer larger, or the transfers shorter",
                )
