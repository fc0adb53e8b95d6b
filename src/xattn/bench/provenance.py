"""Where a figure comes from: versions, processor and commit, as every result file says them."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path

import msgspec
import numpy as np

from xattn import __version__

_PACKAGE = Path(__file__).parents[1]


class Provenance(msgspec.Struct, kw_only=True):
    """What made a result, and when."""

    created: str
    """UTC, ISO 8601, to the millisecond."""
    xattn: str
    commit: str | None
    """Of the checkout that this xattn runs from; null for an installed package."""
    modified: bool | None
    """Whether files of that checkout differ from the commit."""
    python: str
    numpy: str
    system: str
    cpu: str
    cpus: int
    """Logical processors that this process may use."""


def provenance() -> Provenance:
    """That of a result made now by this process."""
    commit, modified = source_commit()
    return Provenance(
        created=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        xattn=__version__,
        commit=commit,
        modified=modified,
        python=platform.python_version(),
        numpy=np.__version__,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=cpu_name(),
        cpus=usable_cpus(),
    )


def usable_cpus() -> int:
    """Logical processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@lru_cache(maxsize=1)
def cpu_name() -> str:
    """The processor's name as the system tells it."""
    if sys.platform.startswith("linux"):
        try:
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
        except OSError:
            pass
    return platform.processor() or platform.machine() or "unknown"


@lru_cache(maxsize=1)
def source_commit() -> tuple[str | None, bool | None]:
    """Commit of the checkout that this package's own files are tracked in, and whether they were changed since."""
    if git("ls-files", "--error-unmatch", "__init__.py") is None:
        return None, None
    commit = git("rev-parse", "HEAD")
    changes = git("status", "--porcelain", "--", ".")
    return commit, None if changes is None else changes != ""


def git(*arguments: str, folder: Path = _PACKAGE) -> str | None:
    """What git prints in a folder; None where git is missing or fails."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
