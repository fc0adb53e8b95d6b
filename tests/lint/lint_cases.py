"""Builds for the tests of this folder, whole and with one thing made wrong."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from xattn.array.instructions import InstructionStream, Operation
from xattn.array.transfers import ShimChannel, host_bd, transfer, wait
from xattn.build.artifacts import make_artifacts
from xattn.build.images import Images, assemble_images, build_images
from xattn.build.manifest import BuildRequest
from xattn.isa import assemble_program
from xattn.isa.elf import read_elf
from xattn.isa.elf_writer import write_object
from xattn.lint.files import read_subject
from xattn.lint.rules import Report, lint, rules_named
from xattn.lint.subject import Named, Subject


@lru_cache(maxsize=16)
def built(kernel: str = "qkt", design: str = "tile", size: int = 16, shift: int = 4, symbol: str = "") -> Mapping:
    """The files of a real build, by name."""
    scalars = () if kernel == "matmul_int8" else (("shift", shift),)
    return make_artifacts(BuildRequest(kernel, design, size, size, scalars, symbol=symbol))


def report(files: Mapping[str, bytes], *rules: str, **settings) -> Report:
    """What lints say of files."""
    subject = read_subject(dict(files), "build", lenient=True)
    for name, value in settings.items():
        setattr(subject, name, value)
    return lint(subject, rules_named(rules))


def names(files: Mapping[str, bytes], *rules: str, **settings) -> set[str]:
    """The rules that find something in files."""
    return {finding.rule for finding in report(files, *rules, **settings).findings}


def with_kernel(text: str, design: str = "tile") -> Images:
    """A design of qkt on 16×16 blocks with another function qkt: p0 Q, p1 K, p2 the output (256 bytes)."""
    images = build_images("qkt", design, 16, 16)
    image = read_elf(write_object(assemble_program(f".func qkt\n{text}\n ret lr\n nop*5\n")), "qkt.o")
    return assemble_images(images.placement, images.kernel, image, 16, 16)


def files_of(images: Images) -> dict[str, bytes]:
    """The files that are run."""
    return {"core_0_2.elf": images.cores[0], "qkt.pdi": images.pdi, "insts.bin": images.instructions}


def channel(column: int = 0, number: int = 0, to_array: bool = False) -> ShimChannel:
    """A shim channel, to the host unless it is said."""
    return ShimChannel(column, number, to_array)


def send(column: int, bd: int, argument: int = 0, offset: int = 0, **options) -> list[Operation]:
    """16 words from the host."""
    return transfer(channel(column, to_array=True), bd, host_bd(16), argument, offset, **options)


def fetch(column: int, bd: int, argument: int = 1, offset: int = 0, token: bool = True, **options) -> list[Operation]:
    """16 words to the host, with a token."""
    return transfer(channel(column), bd, host_bd(16), argument, offset, token=token, **options)


def done(column: int, **options) -> list[Operation]:
    """A wait for an output."""
    return [wait(channel(column), **options)]


def stream(*parts: list[Operation]) -> InstructionStream:
    """The operations in order."""
    return InstructionStream(tuple(operation for part in parts for operation in part))


def found_in(operations: InstructionStream, *rules: str) -> list[str]:
    """What lints say of a stream alone."""
    subject = Subject("stream", streams=[Named("stream", operations)])
    return [
        f"{finding.rule}: {finding.where}: {finding.message}" for finding in lint(subject, rules_named(rules)).findings
    ]
