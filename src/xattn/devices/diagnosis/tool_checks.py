"""The other compiler for AIE2 cores, which is not needed: Peano, the headers of the AIE API, mlir-aie."""

from __future__ import annotations

from xattn.build.peano.tools import Tools
from xattn.devices.diagnosis.check import Check

GROUP = "compilers"
_PEANO = "pip install llvm-aie from the releases of Xilinx/llvm-aie, or set PEANO_INSTALL_DIR"
_MLIR_AIE = "pip install mlir_aie from the releases of Xilinx/mlir-aie"


def tool_checks(tools: Tools | None = None) -> list[Check]:
    """None of them is needed: xattn compiles, links and builds by itself."""
    tools = tools or Tools.here()
    peano, mlir_aie, headers = tools.peano(), tools.mlir_aie(), tools.aie_api()
    return [
        Check(GROUP, "Peano (llvm-aie)", "ok", f"{peano.version}; {peano.path}")
        if peano
        else Check(GROUP, "Peano (llvm-aie)", "missing", "only xattn build --toolchain peano needs it", _PEANO),
        Check(GROUP, "AIE API headers", "ok", str(headers))
        if headers
        else Check(GROUP, "AIE API headers", "missing", "only C++ kernels of your own need them", _MLIR_AIE),
        Check(GROUP, "mlir-aie", "ok", f"{mlir_aie.version}; {mlir_aie.path}")
        if mlir_aie
        else Check(GROUP, "mlir-aie", "missing", "only xattn's MLIR texts need it", _MLIR_AIE),
    ]
