"""What is looked at together: the files of one build, read, or as many of them as there are.

A rule takes from it what it needs and says nothing where that is not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Generic, TypeVar

from xattn.array.cdo import Cdo
from xattn.array.configuration import Configuration
from xattn.array.configuration_reader import read_configuration
from xattn.array.instructions import InstructionStream
from xattn.array.xclbin import Xclbin
from xattn.build.manifest import Manifest
from xattn.isa.elf import ElfImage
from xattn.lint.mlir_text import MlirText

if TYPE_CHECKING:
    from xattn.lint.execution import Runs

DEFAULT_CYCLES = 5_000_000  # of a run on the simulator: some ten seconds of scalar code on one core

Content = TypeVar("Content", covariant=True)


@dataclass(frozen=True)
class Named(Generic[Content]):
    """A file's contents and its name, as far as it tells it from the others."""

    name: str
    content: Content


@dataclass(frozen=True)
class Image:
    """A configuration of the array: a PDI's, an xclbin's, a CDO's."""

    cdo: Cdo

    @cached_property
    def configuration(self) -> Configuration:
        """What it sets up."""
        return read_configuration(self.cdo.commands)


@dataclass
class Subject:
    """The files. `sizes` and `digests` are of all files by name; `expected` what the host expects of integer
    arguments by name; `max_cycles` how long a run on the simulator may take."""

    name: str
    manifest: Manifest | None = None
    programs: list[Named[ElfImage]] = field(default_factory=list)
    objects: list[Named[tuple[ElfImage, ...]]] = field(default_factory=list)
    images: list[Named[Image]] = field(default_factory=list)
    xclbins: list[Named[Xclbin]] = field(default_factory=list)
    streams: list[Named[InstructionStream]] = field(default_factory=list)
    designs: list[Named[MlirText]] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    expected: Mapping[str, int] = field(default_factory=dict)
    max_cycles: int = DEFAULT_CYCLES
    is_folder: bool = False
    runs: Runs | None = None  # kept here by `execution` once it has run the files

    @property
    def image(self) -> Named[Image] | None:
        """The configuration, if all images of the subject say the same."""
        first = self.images[0] if self.images else None
        same = all(image.content.cdo.commands == first.content.cdo.commands for image in self.images) if first else True
        return first if same else None

    @property
    def stream(self) -> Named[InstructionStream] | None:
        """The instruction stream, if there is one and no other."""
        return self.streams[0] if len(self.streams) == 1 else None
