"""The calls of the "Attention Optimization Quick Start Guide", on xattn.

Not part of the installed package: for scripts that were written for that guide, run from the root of this repository.
"""
