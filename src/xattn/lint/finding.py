"""What a lint finds: a rule's name, how bad it is, where, and a line that says found, expected and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

import msgspec


class Severity(str, Enum):
    """An error is a mistake for sure, or a result that cannot be right; a warning may have a good reason."""

    ERROR = "error"
    WARNING = "warning"


class Finding(msgspec.Struct, frozen=True):
    """One mistake. `where`: files, and in them the tile, address, operation or line."""

    rule: str
    severity: Severity
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.severity.value}: {self.where}: {self.message} [{self.rule}]"


class Unchecked(msgspec.Struct, frozen=True):
    """What could not be looked at, and why."""

    rule: str
    where: str
    why: str


class Found(NamedTuple):
    """What a rule says of one place; the registry adds its name and severity."""

    where: str
    message: str


Check = Iterator["Found | Unchecked"]
