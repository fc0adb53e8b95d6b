"""What the array simulator finds wrong with a configuration or an instruction stream, and how severe that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from xattn.errors import XattnError
from xattn.sim.findings import Severity


class ArrayKind(str, Enum):
    """What can be found; the value is its name in options and reports."""

    BD_INVALID = "bd-invalid"
    BD_REWRITTEN = "bd-rewritten-in-use"
    BD_CHANNEL = "bd-of-other-channels"
    DMA_UNDEFINED = "dma-reads-undefined"
    DMA_OUTSIDE = "dma-outside-memory"
    HOST_OUTSIDE = "outside-host-buffer"
    TASK_QUEUE = "task-queue-full"
    UNROUTED = "stream-goes-nowhere"
    LOCK_RANGE = "lock-out-of-range"
    NO_TOKEN = "token-has-no-route"
    UNFINISHED = "host-transfer-unfinished"
    UNKNOWN_REGISTER = "unknown-register"


ERRORS = frozenset(
    {
        ArrayKind.BD_INVALID,
        ArrayKind.BD_CHANNEL,
        ArrayKind.DMA_OUTSIDE,
        ArrayKind.HOST_OUTSIDE,
        ArrayKind.TASK_QUEUE,
        ArrayKind.LOCK_RANGE,
    }
)
"""Those that the hardware has no sensible answer to: they end the run. The others are warnings unless it is strict."""


@dataclass
class ArrayFinding:
    """One kind of fault at one place. `cycle`: when it was first seen; `count`: how often."""

    kind: ArrayKind
    severity: Severity
    where: str
    cycle: int
    cause: str
    count: int = 1

    def __str__(self) -> str:
        times = f" ({self.count} times)" if self.count > 1 else ""
        return f"{self.severity.value}: {self.kind.value} at {self.where}, cycle {self.cycle:,}: {self.cause}{times}"


class ArrayError(XattnError):
    """The run cannot go on: an error was found, or everybody waits for somebody else."""


class ArrayFindings:
    """Collects findings, one for each kind, place and cause."""

    def __init__(self, strict: bool = False, severity: Mapping[ArrayKind, Severity] | None = None):
        self._strict = strict
        self._severity = dict(severity or {})
        self._found: dict[tuple[ArrayKind, str, str], ArrayFinding] = {}

    def severity_of(self, kind: ArrayKind) -> Severity:
        """What happens when this is found."""
        default = Severity.ERROR if self._strict or kind in ERRORS else Severity.WARNING
        return self._severity.get(kind, default)

    def report(self, kind: ArrayKind, where: str, cycle: int, cause: str) -> None:
        """Record a finding; ArrayError when its kind is an error."""
        severity = self.severity_of(kind)
        if severity is Severity.IGNORE:
            return
        finding = self._found.get((kind, where, cause))
        if finding is not None:
            finding.count += 1
            return
        finding = self._found[kind, where, cause] = ArrayFinding(kind, severity, where, cycle, cause)
        if severity is Severity.ERROR:
            raise ArrayError(str(finding))

    def all(self) -> list[ArrayFinding]:
        """Everything found so far, in the order in which it was first seen."""
        return list(self._found.values())
