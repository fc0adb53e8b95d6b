"""Where a kernel runs, behind one small interface: `Simulator` (a simulated AIE2 core), `Host` (the integer model).

`xattn.devices.array_simulator` has the simulated array, `xattn.devices.npu` the NPU.
"""

from xattn.devices.device import Device, KernelFaultError, LoadedKernel, RunResult
from xattn.devices.host import Host
from xattn.devices.simulator import Simulator

__all__ = ["Device", "Host", "KernelFaultError", "LoadedKernel", "RunResult", "Simulator"]
