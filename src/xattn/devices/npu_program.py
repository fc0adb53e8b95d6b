"""An xclbin with its instruction stream on an NPU, through XRT: loaded once, run on host buffers as often as one likes.

Each run in flight has buffers of its own, which are taken up again by later runs. A run's state is always looked at: an
NPU that has done nothing leaves buffers that look like a result.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xattn.array.instructions import read_instructions
from xattn.array.words import WORD
from xattn.array.xclbin import SectionKind, read_xclbin
from xattn.array.xclbin_sections import KernelMetadata, read_kernel_metadata
from xattn.devices.device import KernelFaultError
from xattn.devices.xrt import explained, import_pyxrt, open_device
from xattn.errors import FileFormatError, InputError
from xattn.sim.array.buffers import buffer_bytes

# The kernel's arguments: opcode, instructions, their size, then host buffers.
OPCODE = 3  # "run the instruction stream in the buffer"
_INSTRUCTIONS, _FIRST_BUFFER = 1, 3
DEFAULT_TIMEOUT = 10.0


@dataclass(frozen=True)
class NpuRun:
    """What a run gave: all host buffers after it, and wall times measured on the host."""

    buffers: tuple[bytes, ...]
    seconds: float
    """From the submission to the driver's word that the run has ended: launch, transfers and computation."""
    host_seconds: float
    """Copying and synchronising buffers, before and after."""


class NpuProgram:
    """An xclbin on an NPU, in a hardware context of its own. Use it as a context manager, or close it.

    `sizes` are the bytes of the host buffers by number (default: what the stream uses of them), `outputs` the numbers
    of those that a run changes (default: all); only those are read back. `timeout` is in seconds, for one run.
    FileFormatError, InputError for files that do not fit each other; NpuUnavailableError when XRT or the NPU refuses.
    """

    def __init__(
        self,
        xclbin: Path,
        instructions: bytes,
        sizes: Sequence[int] | None = None,
        outputs: Collection[int] | None = None,
        device: int = 0,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        kernel = _only_kernel(xclbin)
        self.buffer_bytes = _sizes(kernel, instructions, xclbin, sizes)
        self._outputs = frozenset(range(len(self.buffer_bytes)) if outputs is None else outputs)
        self._timeout = timeout
        self._idle: list[list[Any]] = []
        self._lost: list[list[Any]] = []  # of runs that failed: the NPU may still write to them
        self._stuck = ""
        self._pyxrt = pyxrt = import_pyxrt()
        self._device, self.device_name = open_device(pyxrt, device)
        with explained(f"loading {xclbin.name}"):
            container = pyxrt.xclbin(str(xclbin))
            self._device.register_xclbin(container)
        with explained(f"making a hardware context for {xclbin.name}"):
            self._context = pyxrt.hw_context(self._device, container.get_uuid())
            self._kernel = pyxrt.kernel(self._context, kernel.name)
        with explained("putting the instruction stream into memory"):
            self._instructions = self._buffer(len(instructions), pyxrt.bo.flags.cacheable, _INSTRUCTIONS)
            self._instructions.write(instructions, 0)
            self._instructions.sync(pyxrt.xclBOSyncDirection.XCL_BO_SYNC_BO_TO_DEVICE)
        self._instruction_bytes = len(instructions)  # what hosts in Python pass; those in C++ pass words

    def __enter__(self) -> NpuProgram:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the hardware context back, of which an NPU has few; whatever hangs on it goes first."""
        self._stuck = "the program was closed"
        self._idle.clear()
        self._lost.clear()
        self._instructions = self._kernel = self._context = self._device = None

    def run(self, buffers: Sequence[bytes]) -> NpuRun:
        """One run: all host buffers in, all out. Errors are those of `start` and of `RunInFlight.finish`."""
        return self.start(buffers).finish()

    def start(self, buffers: Sequence[bytes]) -> RunInFlight:
        """Submit a run. InputError for other buffers than the stream uses, NpuUnavailableError when XRT refuses."""
        if self._stuck:
            raise InputError(f"no more runs: {self._stuck}; load it anew")
        _check_buffers(buffers, self.buffer_bytes)
        to_device = self._pyxrt.xclBOSyncDirection.XCL_BO_SYNC_BO_TO_DEVICE
        before = time.perf_counter()
        with explained("handing buffers to the NPU"):
            objects = self._idle.pop() if self._idle else self._data_buffers()
            for number, data in enumerate(buffers):
                objects[number].write(data, 0)
                # outputs too: what of them is in the processor's cache must not be written back over the result
                objects[number].sync(to_device)
        submitted = time.perf_counter()
        with explained("submitting a run"):
            run = self._kernel(OPCODE, self._instructions, self._instruction_bytes, *objects)
        return RunInFlight(self, run, objects, tuple(buffers), before, submitted)

    def _data_buffers(self) -> list[Any]:
        flag = self._pyxrt.bo.flags.host_only
        return [self._buffer(size, flag, _FIRST_BUFFER + number) for number, size in enumerate(self.buffer_bytes)]

    def _buffer(self, size: int, flag: Any, argument: int) -> Any:
        return self._pyxrt.bo(self._device, size, flag, self._kernel.group_id(argument))


class RunInFlight:
    """A run that was submitted. Its buffers belong to it until it is finished."""

    def __init__(
        self,
        program: NpuProgram,
        run: Any,
        objects: list[Any],
        given: tuple[bytes, ...],
        before: float,
        submitted: float,
    ) -> None:
        self._program, self._run, self._objects = program, run, objects
        self._given, self._before, self._submitted = given, before, submitted

    def finish(self) -> NpuRun:
        """Wait for the end, look at the state, read the outputs.

        KernelFaultError when the run does not end in time, or ends in any state but "completed"; its buffers are then
        not used again, and after a time-out the whole program is not.
        """
        program, pyxrt = self._program, self._program._pyxrt
        with explained("waiting for a run"):
            state = self._run.wait(max(1, round(1000 * program._timeout)))
        ended = time.perf_counter()
        if state != pyxrt.ert_cmd_state.ERT_CMD_STATE_COMPLETED:
            program._lost.append(self._objects)
            raise KernelFaultError(self._fault(state))
        from_device = pyxrt.xclBOSyncDirection.XCL_BO_SYNC_BO_FROM_DEVICE
        after = list(self._given)
        with explained("reading buffers back"):
            for number in sorted(program._outputs):
                self._objects[number].sync(from_device)
                after[number] = bytes(self._objects[number].read(program.buffer_bytes[number], 0))
        program._idle.append(self._objects)
        host = self._submitted - self._before + time.perf_counter() - ended
        return NpuRun(tuple(after), ended - self._submitted, host)

    def _fault(self, state: Any) -> str:
        """What is said of a run that did not complete."""
        name = str(getattr(state, "name", state))
        unfinished = ("TIMEOUT", "NEW", "QUEUED", "SUBMITTED", "RUNNING")
        if not name.endswith(unfinished):
            self._program._stuck = f"a run ended in state {name}"
            return (
                f"the run ended in state {name}, not COMPLETED: the NPU did not carry out the instruction stream; "
                "run the same files on the simulated array (--device array) to see whether they are at fault"
            )
        self._program._stuck = "a run did not end"
        return (
            f"the run has not ended within {self._program._timeout:g} s (state {name}): cores or DMA wait for each "
            "other, or the NPU hangs; the simulated array (--device array) finds deadlocks"
        )


def _only_kernel(xclbin: Path) -> KernelMetadata:
    """The one kernel that an xclbin declares; the file is looked at here, before XRT is."""
    try:
        data = xclbin.read_bytes()
    except OSError as error:
        raise FileFormatError(f"{xclbin}: {error.strerror or error}") from None
    kernels = read_kernel_metadata(read_xclbin(data).section(SectionKind.EMBEDDED_METADATA).data)
    if len(kernels) != 1:
        names = ", ".join(kernel.name for kernel in kernels) or "none"
        raise InputError(f"{xclbin} declares {len(kernels)} kernels ({names}), expected one")
    return kernels[0]


def _sizes(kernel: KernelMetadata, instructions: bytes, xclbin: Path, given: Sequence[int] | None) -> tuple[int, ...]:
    """Bytes of each host buffer, by number.

    More buffers than an xclbin declares cannot be handed over: XRT would go beyond its list of arguments.
    """
    used = buffer_bytes(read_instructions(instructions))
    declared = len(kernel.arguments) - _FIRST_BUFFER
    count = max(max(used, default=-1) + 1, len(given or ()))
    if count > declared:
        raise InputError(
            f"{count} host buffers are used, and {xclbin.name} declares {declared}: "
            "xclbin and instruction stream are not of the same build"
        )
    if given is None:
        return tuple(used.get(number, WORD) for number in range(count))
    small = [number for number, size in used.items() if number >= len(given) or size > given[number]]
    if small:
        raise InputError(
            f"the instruction stream uses {used[small[0]]} bytes of host buffer {small[0]}, "
            f"and there are {', '.join(map(str, given))}: the files are not of the same build"
        )
    return tuple(given)


def _check_buffers(buffers: Sequence[bytes], sizes: Sequence[int]) -> None:
    if [len(data) for data in buffers] != list(sizes):
        raise InputError(
            f"host buffers of {', '.join(str(len(data)) for data in buffers) or 'no'} bytes; "
            f"this program was loaded for {', '.join(map(str, sizes))}"
        )
