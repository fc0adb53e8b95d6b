"""Proves that machine code computes what its program in order computes, value by value. Knows no scheduler."""

from __future__ import annotations

from xattn.compiler.dataflow.checker import EXECUTIONS, assert_dataflow, check_dataflow
from xattn.compiler.dataflow.difference import DataflowError, Difference

__all__ = ["EXECUTIONS", "DataflowError", "Difference", "assert_dataflow", "check_dataflow"]
