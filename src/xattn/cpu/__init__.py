"""Attention on the host's CPU: the same integers as the `sound` kernel, in NumPy or as native code through LLVM.

`attention.py` is the way in, `native.py` prepares operands and shares out the work, `program.py` is the inner loop
(written with `emit.py` for the CPU that `target.py` describes), `engine.py` compiles it.
"""

from xattn.cpu.attention import attention, sageattn

__all__ = ["attention", "sageattn"]
