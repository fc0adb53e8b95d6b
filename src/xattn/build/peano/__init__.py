"""Kernels in C, compiled by Peano (llvm-aie): the other way to an object and to programs of cores."""
