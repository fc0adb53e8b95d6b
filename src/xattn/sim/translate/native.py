"""LLVM at work: IR text to an object file for one CPU, and object files to functions that can be called."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from xattn.errors import InputError


def llvm() -> Any:
    """llvmlite's binding, ready for use. InputError where it is not installed."""
    try:
        import llvmlite.binding as binding
    except ImportError as error:
        raise InputError(
            f"the translator needs llvmlite ({error}): pip install 'xattn[jit]', or choose the interpreter"
        ) from None
    _initialize(binding)
    return binding


@lru_cache(maxsize=1)
def _initialize(binding: Any) -> None:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()


@dataclass(frozen=True)
class Cpu:
    """What code is made for: LLVM's name of the CPU, and its features where they were asked of this machine."""

    name: str
    features: str

    @property
    def enabled(self) -> frozenset[str]:
        """Names of the features that the code may count on beyond the name's."""
        return frozenset(f[1:] for f in self.features.split(",") if f.startswith("+"))

    @property
    def key(self) -> str:
        """What tells code for this CPU from other code."""
        binding = llvm()
        return f"{binding.get_default_triple()} {self.name} {self.features} LLVM {binding.llvm_version_info}"


@lru_cache(maxsize=8)
def cpu(name: str | None = None) -> Cpu:
    """This machine's CPU, or one by LLVM's name for it (x86-64-v2 …): then nothing beyond its name is counted on."""
    if name is not None:
        return Cpu(name, "")
    binding = llvm()
    return Cpu(binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten())


_LOCK = threading.RLock()  # llvmlite's global context is one for all threads


def compiled_object(text: str, target: Cpu, *, thorough: bool = True) -> bytes:
    """The object file of a module of IR. `thorough`: optimized as a whole, which takes longer."""
    binding = llvm()
    with _LOCK:
        module = binding.parse_assembly(text)
        machine = _machine(target)
        options = binding.create_pipeline_tuning_options(speed_level=1)
        options.loop_unrolling = options.slp_vectorization = options.loop_vectorization = False
        builder = binding.create_pass_builder(machine, options)
        if thorough:
            passes = builder.getModulePassManager()
        else:
            passes = binding.create_new_module_pass_manager()
            passes.add_always_inliner_pass()
            passes.add_sroa_pass()
            passes.add_aggressive_dce_pass()
        passes.run(module, builder)
        return bytes(machine.emit_object(module))


def _machine(target: Cpu) -> Any:
    binding = llvm()
    triple = binding.Target.from_default_triple()
    return triple.create_target_machine(cpu=target.name, features=target.features, opt=1, reloc="pic", jit=True)


@lru_cache(maxsize=1)
def _jit() -> Any:
    return llvm().create_lljit_compiler()


_numbers = itertools.count()


class Code:
    """An object file in memory. `address(name)` is that of a function; valid as long as this object lives."""

    def __init__(self, image: bytes, names: tuple[str, ...]):
        binding = llvm()
        with _LOCK:
            builder = binding.JITLibraryBuilder().add_object_img(image).add_current_process()
            for name in names:
                builder.export_symbol(name)
            self._tracker = builder.link(_jit(), f"xattn{next(_numbers)}")

    def address(self, name: str) -> int:
        """The address of an exported function."""
        return int(self._tracker[name])
