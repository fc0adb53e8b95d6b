"""What a machine has for this project: Python and extras, the NPU from hardware to XRT, other compilers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xattn.devices.diagnosis.check import Check, State
from xattn.devices.diagnosis.machine import Machine
from xattn.devices.diagnosis.npu_checks import npu_checks
from xattn.devices.diagnosis.python_checks import python_checks
from xattn.devices.diagnosis.tool_checks import tool_checks

__all__ = ["Check", "Diagnosis", "Machine", "State", "diagnose"]


@dataclass(frozen=True)
class Diagnosis:
    """All lines, and what follows from them."""

    checks: Sequence[Check]

    @property
    def is_npu_usable(self) -> bool:
        """Whether everything that an NPU needs is there."""
        return all(check.state == "ok" for check in self.checks if check.is_needed)


def diagnose(machine: Machine | None = None) -> Diagnosis:
    """Look at a machine, this one by default. Nothing is changed, and no program runs on an NPU."""
    return Diagnosis((*python_checks(), *npu_checks(machine or Machine()), *tool_checks()))
