"""xattn: INT8 attention for AMD XDNA NPUs (AIE2 cores), from Python alone."""

__version__ = "0.1.0"
