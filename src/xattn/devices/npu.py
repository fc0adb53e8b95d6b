"""The NPU as a device: a kernel built into a design, run from its xclbin and instruction stream through XRT.

What the host's buffers hold is the same as for the simulated array, which runs the same bytes (`HostBuffers`). Times
are wall times, measured here; nothing is simulated, and nothing falls back on anything.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from xattn.build.host_buffers import HostBuffers
from xattn.build.images import Images, build_images
from xattn.build.manifest import INSTRUCTIONS, MANIFEST, Manifest, is_as_built, read_manifest
from xattn.devices.device import Int8, RunResult, further_arguments
from xattn.devices.npu_program import DEFAULT_TIMEOUT, NpuProgram
from xattn.errors import FileFormatError, InputError
from xattn.kernels.registry import KernelSpec, Matrix, compiled, kernel_spec
from xattn.numerics.sound import BlockMask, SoundState


@dataclass(frozen=True)
class Npu:
    """An XDNA1 NPU, by XRT's number of it; kernels are built into `design`. `timeout` in seconds, for one run."""

    design: str = "tile"
    device: int = 0
    timeout: float = DEFAULT_TIMEOUT

    @property
    def name(self) -> str:
        """What reports call the device."""
        return f"NPU, {self.design}"

    def load(self, spec: KernelSpec, tokens: int, width: int) -> NpuKernel:
        """Build the kernel for one shape; it goes to the NPU with its first run.

        InputError names the shapes that it takes, or what does not fit.
        """
        return NpuKernel(spec, tokens, width, self)

    def load_folder(self, folder: Path) -> NpuKernel:
        """The kernel in a folder that `xattn build` wrote: its own xclbin and instruction stream, for its own integers.

        FileFormatError for a folder that is none, or whose files are not those of its manifest.
        """
        return NpuKernel.of_folder(folder, self)


@dataclass(frozen=True)
class NpuBlocks:
    """What running many blocks gave: `outputs` `[blocks, rows, columns]`, and measured wall times of each run."""

    outputs: Matrix
    seconds: tuple[float, ...]
    """From a run's submission to its end."""
    host_seconds: tuple[float, ...]
    """Of copying and synchronising buffers."""


@dataclass(frozen=True)
class _Folder:
    """The files of a build, and what its manifest says."""

    manifest: Manifest
    xclbin: Path
    instructions: bytes


class NpuKernel:
    """A kernel in a design on an NPU, a hardware context for each shift. Close it to give those back."""

    def __init__(self, spec: KernelSpec, tokens: int, width: int, npu: Npu, folder: _Folder | None = None) -> None:
        self.spec, self.tokens, self.width = spec, tokens, width
        self.design = npu.design if folder is None else folder.manifest.design
        self._npu, self._folder = npu, folder
        self._images: dict[int, Images] = {}
        self._programs: dict[int, NpuProgram] = {}
        if folder is None:
            self._takes_shift = "shift" in compiled(spec.name, tokens, width).scalars
            self.host = HostBuffers.of_images(spec, self._build(0))
        else:
            self._takes_shift = "shift" in folder.manifest.scalars
            self.host = HostBuffers.of_manifest(folder.manifest)

    @classmethod
    def of_folder(cls, folder: Path, npu: Npu) -> NpuKernel:
        """As `Npu.load_folder`."""
        files = _read_folder(folder)
        return cls(kernel_spec(files.manifest.kernel), files.manifest.tokens, files.manifest.width, npu, files)

    def close(self) -> None:
        """Give the NPU's hardware contexts back."""
        for program in self._programs.values():
            program.close()
        self._programs.clear()

    @property
    def blocks(self) -> Mapping[str, int]:
        """How many blocks of Q, of K and of V one run takes, by "q", "k", "v"."""
        return self.host.blocks

    @property
    def built_shift(self) -> int | None:
        """The only shift that a folder's program does; None where each shift is built when it is wanted."""
        return None if self._folder is None else self._folder.manifest.scalars.get("shift")

    @property
    def device_name(self) -> str:
        """What XRT calls the NPU; "" before the first run."""
        return next((program.device_name for program in self._programs.values()), "")

    def run(
        self,
        q: Int8,
        k: Int8,
        v: Int8,
        shift: int,
        before: SoundState | None = None,
        mask: BlockMask | None = None,
    ) -> RunResult:
        """One block: int8 Q, K, V `[tokens, width]`. `seconds` is the measured wall time of the run.

        InputError for another shape or dtype, a state or mask that the kernel does not take, or a design with room
        for more blocks; NpuUnavailableError where there is no NPU; KernelFaultError when the run fails or does not end
        in time.
        """
        if max(self.host.counts.values()) > 1:
            raise InputError(f"design {self.design} runs {dict(self.blocks)} blocks at once; use run_blocks")
        states = None if before is None else [before]
        masks = None if mask is None else [mask]
        result = self.run_blocks(q[np.newaxis], k[np.newaxis], v[np.newaxis], shift, states, masks)
        return RunResult(result.outputs[0], seconds=result.seconds[0])

    def run_blocks(
        self,
        q: Int8,
        k: Int8,
        v: Int8,
        shift: int,
        before: Sequence[SoundState] | None = None,
        masks: Sequence[BlockMask] | None = None,
    ) -> NpuBlocks:
        """Many blocks, one run after another: as `ArrayKernel.run_blocks`, with errors as those of `run`."""
        further = further_arguments(self.spec, len(q), before, masks)
        launches = list(self.host.launches(q, k, v, further))
        program = self._program(shift if self._takes_shift else 0)
        runs = [program.run(buffers) for buffers in launches]
        outputs = [self.host.unpack(run.buffers) for run in runs]
        return NpuBlocks(
            cast("Matrix", np.concatenate(outputs)),
            tuple(run.seconds for run in runs),
            tuple(run.host_seconds for run in runs),
        )

    def _build(self, shift: int) -> Images:
        """The design for this shift, built when it is first wanted."""
        if shift not in self._images:
            scalars = {"shift": shift} if self._takes_shift else {}
            self._images[shift] = build_images(self.spec.name, self.design, self.tokens, self.width, scalars)
        return self._images[shift]

    def _program(self, shift: int) -> NpuProgram:
        """The files of a shift on the NPU. A folder's program is for one shift alone."""
        if self.built_shift not in (None, shift):
            raise InputError(
                f"the folder's program shifts by {self.built_shift}, not by {shift}: build it with -D shift={shift}"
            )
        if shift not in self._programs:
            if self._folder is not None:
                self._programs[shift] = self._load(self._folder.xclbin, self._folder.instructions)
            else:
                images = self._build(shift)
                with tempfile.TemporaryDirectory(prefix="xattn-") as folder:
                    xclbin = Path(folder) / f"{self.spec.name}_{self.design}.xclbin"
                    xclbin.write_bytes(images.xclbin)
                    self._programs[shift] = self._load(xclbin, images.instructions)
        return self._programs[shift]

    def _load(self, xclbin: Path, instructions: bytes) -> NpuProgram:
        names = list(self.host.sizes)
        changed = {names.index(name) for name in self.spec.outputs}
        sizes = list(self.host.sizes.values())
        return NpuProgram(xclbin, instructions, sizes, changed, self._npu.device, self._npu.timeout)


def _read_folder(folder: Path) -> _Folder:
    """The files that run, as the manifest says that they were built: not one of this build and one of another."""
    try:
        manifest = read_manifest((folder / MANIFEST).read_bytes())
        entries = {e.name: e for e in manifest.files if e.name.endswith((".xclbin", INSTRUCTIONS))}
        data = {name: (folder / name).read_bytes() for name in entries}
    except OSError as error:
        reason = f"{Path(str(error.filename)).name}: {error.strerror}"
        raise FileFormatError(f"{folder} is no folder of a build: {reason}; make one with xattn build") from None
    if len(data) != 2 or INSTRUCTIONS not in data:
        raise FileFormatError(f"{folder} holds no xclbin with its instruction stream; make one with xattn build")
    for name, contents in data.items():
        if not is_as_built(entries[name], contents):
            raise FileFormatError(f"{folder / name} is not the file that was built: build it anew")
    xclbin = next(name for name in data if name != INSTRUCTIONS)
    return _Folder(manifest, folder / xclbin, data[INSTRUCTIONS])
