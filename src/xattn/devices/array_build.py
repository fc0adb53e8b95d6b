"""A build's files on the simulated array, as they lie in their folder: what an NPU would load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xattn.array.image_file import configuration_of
from xattn.array.instructions import InstructionStream, read_instructions
from xattn.build.host_buffers import HostBuffers
from xattn.build.manifest import INSTRUCTIONS, MANIFEST, Manifest, is_as_built, read_manifest
from xattn.devices.array_simulator import BlocksResult, run_on_array
from xattn.devices.device import Int8, further_arguments
from xattn.errors import FileFormatError
from xattn.kernels.registry import Matrix
from xattn.numerics.sound import BlockMask, SoundState
from xattn.sim.array.machine import Array


@dataclass(frozen=True)
class ArrayBuild:
    """A build: the manifest, the host's buffers, an array with the xclbin in it, and the stream of a run."""

    manifest: Manifest
    host: HostBuffers
    array: Array
    stream: InstructionStream

    @classmethod
    def read(cls, folder: Path, *, strict: bool = False, engine: str = "auto") -> ArrayBuild:
        """Load what `xattn build` wrote into a folder; `strict` and `engine` as `Array` takes them.

        FileFormatError for a folder without a manifest, and for files that are not there or not those of the manifest.
        """
        manifest = read_manifest(_contents(folder / MANIFEST))
        name = f"{manifest.kernel}_{manifest.design}.xclbin"
        array = Array(strict=strict, engine=engine)
        array.load(configuration_of(str(folder / name), _built(manifest, folder, name)))
        stream = read_instructions(_built(manifest, folder, INSTRUCTIONS))
        return cls(manifest, HostBuffers.of_manifest(manifest), array, stream)

    @property
    def shift(self) -> int:
        """What the kernel shifts scores by; 0 where it does not take a shift."""
        return self.manifest.scalars.get("shift", 0)

    def run_blocks(
        self,
        q: Int8,
        k: Int8,
        v: Int8,
        before: Sequence[SoundState] | None = None,
        masks: Sequence[BlockMask] | None = None,
    ) -> BlocksResult:
        """As `ArrayKernel.run_blocks`, with the shift of the build."""
        return run_on_array(self.host, self.array, self.stream, (q, k, v), before, masks)

    def expected(
        self,
        q: Int8,
        k: Int8,
        v: Int8,
        before: Sequence[SoundState] | None = None,
        masks: Sequence[BlockMask] | None = None,
    ) -> Matrix:
        """What the integer model makes of the same blocks."""
        return self.host.expected(q, k, v, self.shift, further_arguments(self.host.spec, len(q), before, masks))


def _contents(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileFormatError(
            f"{path}: {error.strerror or error}; expected a folder that `xattn build` wrote"
        ) from None


def _built(manifest: Manifest, folder: Path, name: str) -> bytes:
    """A file of the build; FileFormatError where it is another one."""
    data = _contents(folder / name)
    if not any(entry.name == name and is_as_built(entry, data) for entry in manifest.files):
        raise FileFormatError(f"{folder / name}: not the file of which {MANIFEST} tells: build it anew")
    return data
