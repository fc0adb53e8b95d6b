"""Compiles the native program for this CPU, once a process, and gives its functions."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from xattn.cpu import operands, program
from xattn.cpu.emit import Code
from xattn.cpu.target import Target
from xattn.errors import InputError

Function = Callable[..., None]


def is_available() -> bool:
    """Whether llvmlite is installed (extra `jit`)."""
    try:
        import llvmlite.binding  # noqa: F401
    except ImportError:
        return False
    return True


def is_x86() -> bool:
    """Whether this computer's CPU is of the x86 family."""
    return platform.machine().lower() in ("x86_64", "amd64", "i686")


def sources(target: Target) -> list[Code]:
    """Every function of the program."""
    return [
        program.attend(target),
        operands.largest_magnitudes(),
        operands.quantize_rows(),
        operands.row_corrections(),
        operands.pack_keys(),
        operands.pack_values(),
    ]


def module_text(target: Target) -> str:
    """The program as LLVM IR."""
    functions = sources(target)
    declared = {line: None for code in functions for line in code.declared.values()}
    return "\n".join([*(code.text for code in functions), *declared, ""])


@lru_cache(maxsize=2)
def functions(cpu: str | None = None, features: str | None = None) -> dict[str, Function]:
    """The program's functions by name, for this CPU, or for one with fewer features that this one can run.

    InputError when llvmlite is missing.
    """
    try:
        import llvmlite.binding as llvm
    except ImportError:
        raise InputError('native attention needs llvmlite: pip install "xattn[jit]"') from None
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    if cpu is None:
        cpu, host = llvm.get_host_cpu_name(), llvm.get_host_cpu_features()
        target, features = Target.of(host), host.flatten()
    else:
        target = Target(False, False)
    machine = llvm.Target.from_default_triple().create_target_machine(cpu=cpu, features=features or "", opt=3)
    module = llvm.parse_assembly(module_text(target))
    module.verify()
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(3))
    builder.getModulePassManager().run(module, builder)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return {code.name: _function(engine, code) for code in sources(target)}


def _function(engine: Any, code: Code) -> Function:
    types = [ctypes.c_void_p if value.type == "ptr" else ctypes.c_int64 for value in code.arguments.values()]
    native = ctypes.CFUNCTYPE(None, *types)(engine.get_function_address(code.name))

    def call(*arguments: int) -> None:
        assert len(arguments) == len(types)
        native(*arguments)

    call.engine = engine  # type: ignore[attr-defined]  # the code lives as long as its function
    return call
