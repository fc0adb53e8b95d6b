"""A pretended pyxrt with a pretended NPU behind it: the simulated array, fed with nothing but what pyxrt was given.

Every call is written down. A buffer has two sides, the host's and the device's, and only `sync` copies between them;
device memory holds 0xFF until then. As was recorded of real NPUs, a wrong call gives a wrong state
or wrong data rather than an exception, and a buffer of a run in flight may not be touched.
"""

from __future__ import annotations

import gc
import weakref
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from xattn.array.image_file import configuration_of
from xattn.array.instructions import read_instructions
from xattn.array.xclbin import SectionKind, read_xclbin
from xattn.array.xclbin_sections import read_connectivity, read_kernel_metadata
from xattn.sim.array.buffers import buffer_bytes
from xattn.sim.array.findings import ArrayError
from xattn.sim.array.machine import Array

FIRST_BUFFER = 3
NO_BANK = 0xFFFF
CONTEXTS = 6


class Flags(Enum):
    normal, cacheable, device_only, host_only, p2p, svm = range(6)


class Direction(Enum):
    XCL_BO_SYNC_BO_TO_DEVICE, XCL_BO_SYNC_BO_FROM_DEVICE = range(2)


class State(Enum):
    ERT_CMD_STATE_NEW = 1
    ERT_CMD_STATE_COMPLETED = 4
    ERT_CMD_STATE_ERROR = 5
    ERT_CMD_STATE_ABORT = 6
    ERT_CMD_STATE_TIMEOUT = 8


class Info(Enum):
    name = "name"


class Bound:
    """A class of pyxrt, bound to a pretended machine by a subclass."""

    fake: Fake


class Fake:
    """One pretended machine. `calls`: what was called; `fails`: call to what XRT says; `states`: of the next runs."""

    def __init__(self, name: str = "NPU Phoenix") -> None:
        self.name, self.devices = name, 1
        self.calls: list[tuple[Any, ...]] = []
        self.fails: dict[str, str] = {}
        self.states: list[State] = []
        self.contexts: weakref.WeakSet[Any] = weakref.WeakSet()
        self.module = self._module()

    def called(self, *call: Any) -> None:
        self.calls.append(call)
        if call[0] in self.fails:
            raise RuntimeError(self.fails[call[0]])

    def names(self) -> list[str]:
        """The calls' names, in order."""
        return [call[0] for call in self.calls]

    def _module(self) -> ModuleType:
        module = ModuleType("pyxrt")
        classes = {"device": Device, "xclbin": Xclbin, "hw_context": Context, "kernel": Kernel, "bo": Bo}
        for name, of in classes.items():
            setattr(module, name, type(name, (of,), {"fake": self}))
        enums = {"xclBOSyncDirection": Direction, "ert_cmd_state": State, "xrt_info_device": Info}
        for name, values in enums.items():
            setattr(module, name, values)
        module.enumerate_devices = lambda: self.devices  # type: ignore[attr-defined]
        return module


class Device(Bound):
    def __init__(self, number: int) -> None:
        self.fake.called("device", number)
        if number != 0:
            raise RuntimeError(f"No such device with index '{number}'")
        self.registered: dict[str, bytes] = {}

    def get_info(self, key: Info) -> str:
        assert key is Info.name
        return self.fake.name

    def load_xclbin(self, _: Any) -> None:
        raise RuntimeError("Operation not supported")

    def register_xclbin(self, xclbin: Xclbin) -> None:
        self.fake.called("register_xclbin")
        self.registered[xclbin.get_uuid()] = xclbin.data


class Xclbin(Bound):
    def __init__(self, path: str) -> None:
        self.fake.called("xclbin", path)
        assert isinstance(path, str)
        self.data = Path(path).read_bytes()

    def get_uuid(self) -> str:
        return str(read_xclbin(self.data).uuid)


class Context(Bound):
    def __init__(self, device: Device, uuid: str) -> None:
        self.fake.called("hw_context", uuid)
        gc.collect()
        if len(self.fake.contexts) == CONTEXTS:
            raise RuntimeError("DRM_IOCTL_AMDXDNA_CREATE_HWCTX IOCTL failed (err=-2): No such file")
        self.fake.contexts.add(self)
        self.data = device.registered[uuid]
        self.array = Array()
        self.array.load(configuration_of("xclbin", self.data))


class Kernel(Bound):
    def __init__(self, context: Context, name: str) -> None:
        self.fake.called("kernel", name)
        container = read_xclbin(context.data)
        (self.metadata,) = read_kernel_metadata(container.section(SectionKind.EMBEDDED_METADATA).data)
        if name != self.metadata.name:
            raise RuntimeError(f"No such kernel '{name}'")
        self.context = context
        connections = read_connectivity(container.section(SectionKind.CONNECTIVITY).data)
        self.banks = {connection.argument: connection.memory for connection in connections}

    def group_id(self, argument: int) -> int:
        if not 0 <= argument < len(self.metadata.arguments):
            raise RuntimeError(f"no argument {argument}")
        return 1 << 16 | self.banks.get(argument, NO_BANK)

    def __call__(self, *arguments: Any) -> Run:
        self.fake.called("run", *arguments)
        # pyxrt does not look at how many there are: XRT then runs off the end of its list
        assert len(arguments) <= len(self.metadata.arguments), "XRT would crash: more arguments than declared"
        return Run(self, arguments)


class Bo(Bound):
    flags = Flags

    def __init__(self, device: Device, size: int, flags: Flags, group: int) -> None:
        self.fake.called("bo", size, flags, group)
        assert isinstance(device, Device) and isinstance(flags, Flags) and size > 0
        self.flag, self.group = flags, group
        self.host, self.device = bytearray(size), bytearray(b"\xff" * size)
        self.busy = False

    def write(self, data: bytes, seek: int) -> None:
        self.fake.called("write", self, bytes(data))
        assert not self.busy, "a buffer of a run in flight is written"
        assert seek + len(data) <= len(self.host), "beyond the end of the buffer"
        self.host[seek : seek + len(data)] = data

    def sync(self, direction: Direction) -> None:
        self.fake.called("sync", self, direction)
        assert not self.busy, "a buffer of a run in flight is synchronised"
        if direction is Direction.XCL_BO_SYNC_BO_TO_DEVICE:
            self.device[:] = self.host
        else:
            assert direction is Direction.XCL_BO_SYNC_BO_FROM_DEVICE
            self.host[:] = self.device

    def read(self, size: int, skip: int) -> np.ndarray:
        self.fake.called("read", self)
        assert not self.busy, "a buffer of a run in flight is read"
        assert skip + size <= len(self.host), "beyond the end of the buffer"
        return np.frombuffer(bytes(self.host[skip : skip + size]), np.int8)


class Run:
    def __init__(self, kernel: Kernel, arguments: tuple[Any, ...]) -> None:
        self.buffers = [item for item in arguments[FIRST_BUFFER:] if isinstance(item, Bo)]  # instructions may be shared
        assert not any(bo.busy for bo in self.buffers), "a buffer of a run in flight is used by another run"
        self.fake = kernel.fake
        self.state = self.fake.states.pop(0) if self.fake.states else execute(kernel, arguments)
        for bo in self.buffers:
            bo.busy = True

    def wait(self, timeout_ms: int) -> State:
        self.fake.called("wait", timeout_ms)
        assert isinstance(timeout_ms, int) and timeout_ms > 0, "0 waits for ever"
        for bo in self.buffers:
            bo.busy = self.state is State.ERT_CMD_STATE_TIMEOUT
        return self.state


def execute(kernel: Kernel, arguments: tuple[Any, ...]) -> State:
    """Run the stream on device memory as it is. A command that the firmware cannot make sense of: ERROR."""
    opcode, instructions, count, *data = (*arguments, None, None, None)[: max(3, len(arguments))]
    if opcode != 3 or not isinstance(instructions, Bo) or not all(isinstance(bo, Bo) for bo in data):
        return State.ERT_CMD_STATE_ERROR
    if instructions.flag is not Flags.cacheable or instructions.group != kernel.group_id(1):
        return State.ERT_CMD_STATE_ERROR
    if count != len(instructions.device) or instructions.device == b"\xff" * count:
        return State.ERT_CMD_STATE_ERROR
    stream = read_instructions(bytes(instructions.device))
    if any(n >= len(data) or len(data[n].device) < size for n, size in buffer_bytes(stream).items()):
        return State.ERT_CMD_STATE_ERROR
    memory = [seen(bo, kernel.group_id(FIRST_BUFFER + n)) for n, bo in enumerate(data)]
    try:
        result = kernel.context.array.run(stream, memory)
    except ArrayError:
        return State.ERT_CMD_STATE_TIMEOUT
    for bo, after in zip(data, result.buffers, strict=True):
        if bo.flag is Flags.host_only:
            bo.device[:] = after
    return State.ERT_CMD_STATE_COMPLETED


def seen(bo: Bo, group: int) -> bytes:
    """What the NPU finds in a data buffer: 0xFF in one of a wrong group, zeros in one that is cacheable."""
    if bo.group != group:
        return b"\xff" * len(bo.device)
    return bytes(bo.device) if bo.flag is Flags.host_only else bytes(len(bo.device))
