"""Machine code to native code: whole programs through LLVM, from the same meanings that the interpreter executes.

Needs llvmlite (extra `jit`). `xattn.sim.core.Core` with `engine="translator"` is the way in.
"""
