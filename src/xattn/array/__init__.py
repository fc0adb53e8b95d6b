"""The tile array: designs (tiles, FIFOs, routes), and the files that an XDNA1 NPU loads, readers beside writers.

Registers and buffer descriptors (`registers`, `buffer_descriptor`), configuration commands (`cdo`), the image that
carries them (`pdi`), the container that XRT loads (`xclbin`) and the run-time instruction stream (`instructions`).
"""
