"""What the simulator finds wrong with a program: kinds, how severe each is, and the record of what happened where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from xattn.errors import XattnError
from xattn.isa.codec import Bundle


class Kind(str, Enum):
    """What can be found; the value is its name in options and reports."""

    READ_IN_FLIGHT = "read-in-flight"
    UNDEFINED_REGISTER = "undefined-register"
    UNDEFINED_MEMORY = "undefined-memory"
    MISALIGNED = "misaligned"
    OUT_OF_REGION = "out-of-region"
    STACK = "stack"
    PART_WORD_AT_LOOP_END = "part-word-at-loop-end"
    PORT_CONFLICT = "port-conflict"
    WRITE_CONFLICT = "write-conflict"
    BRANCH_IN_DELAY_SLOT = "branch-in-delay-slot"
    LOOP_SETUP = "loop-setup"
    UNALIGNED_TARGET = "unaligned-target"
    UNDEFINED_RESULT = "undefined-result"


class Severity(str, Enum):
    """What happens when something is found."""

    ERROR = "error"  # the run stops with SimulationError
    WARNING = "warning"  # recorded once per place, with a count
    IGNORE = "ignore"


# Compilers read old values on purpose while a new one is on its way, so that alone says nothing of foreign code; and
# following what is on its way takes as long again as everything else.
LENIENT: Mapping[Kind, Severity] = {
    **dict.fromkeys(Kind, Severity.WARNING),
    Kind.READ_IN_FLIGHT: Severity.IGNORE,
    Kind.WRITE_CONFLICT: Severity.IGNORE,
    Kind.MISALIGNED: Severity.ERROR,
    Kind.OUT_OF_REGION: Severity.ERROR,
}
STRICT: Mapping[Kind, Severity] = dict.fromkeys(Kind, Severity.ERROR)


@dataclass
class Finding:
    """One kind of fault at one place. `cycle` is when it was first seen, `count` how often it was seen."""

    kind: Kind
    severity: Severity
    pc: int
    cycle: int
    bundle: Bundle | None
    cause: str
    count: int = 1

    def __str__(self) -> str:
        times = f" ({self.count} times)" if self.count > 1 else ""
        return f"{self.severity.value}: {self.kind.value} at {self.pc:#06x}, cycle {self.cycle}: {self.cause}{times}"


class SimulationError(XattnError):
    """The program cannot go on; `finding` says what was found, where there was a finding."""

    def __init__(self, message: str, finding: Finding | None = None):
        super().__init__(message)
        self.finding = finding


class Findings:
    """Collects findings, one for each kind, place and cause, by the severity that each kind has."""

    def __init__(self, severities: Mapping[Kind, Severity]):
        self.severities = dict(severities)
        self._found: dict[tuple[Kind, int, str], Finding] = {}

    def watches(self, kind: Kind) -> bool:
        """Whether the kind is looked for at all."""
        return self.severities[kind] is not Severity.IGNORE

    def report(self, kind: Kind, pc: int, cycle: int, bundle: Bundle | None, cause: str) -> None:
        """Record a finding; SimulationError when its kind is an error."""
        severity = self.severities[kind]
        if severity is Severity.IGNORE:
            return
        key = (kind, pc, cause)
        finding = self._found.get(key)
        if finding is not None:
            finding.count += 1
            return
        finding = self._found[key] = Finding(kind, severity, pc, cycle, bundle, cause)
        if severity is Severity.ERROR:
            raise SimulationError(str(finding), finding)

    def all(self) -> list[Finding]:
        """Everything found so far, in the order in which it was first seen."""
        return list(self._found.values())
