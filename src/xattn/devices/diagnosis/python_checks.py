"""Python, the package, and which of its extras are installed."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Callable, Iterator
from importlib import metadata

from xattn import __version__
from xattn.devices.diagnosis.check import Check

GROUP = "Python"
PACKAGE = "xattn"
_FOR_WORK_ON_XATTN = "dev"
_REQUIREMENT = re.compile(r"([\w.-]+)\s*([^;]*);?(.*)")


def python_checks(
    requirements: Callable[[], list[str]] = lambda: metadata.requires(PACKAGE) or [],
    version_of: Callable[[str], str] = metadata.version,
) -> list[Check]:
    """Python, xattn, extras. `requirements` are those of the package, `version_of` a distribution's version."""
    checks = [
        Check(GROUP, "Python", "ok", f"{platform.python_version()}, {platform.machine()}, {sys.platform}"),
        Check(GROUP, PACKAGE, "ok", __version__),
    ]
    try:
        wanted = requirements()
    except metadata.PackageNotFoundError:
        return [*checks, Check(GROUP, "extras", "unknown", "xattn is not installed as a package")]
    extras: dict[str, list[tuple[str, str]]] = {}
    for name, versions, extra in _of_extras(wanted):
        if extra != _FOR_WORK_ON_XATTN:
            extras.setdefault(extra, []).append((name, versions))
    return [*checks, *(_extra(extra, needs, version_of) for extra, needs in sorted(extras.items()))]


def _of_extras(requirements: list[str]) -> Iterator[tuple[str, str, str]]:
    """Name, versions and extra of each requirement that belongs to one, and to this Python."""
    for text in requirements:
        match = _REQUIREMENT.fullmatch(text.strip())
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", match[3]) if match else None
        if match is None or extra is None:
            continue
        below = re.search(r"python_version\s*<\s*['\"]([\d.]+)['\"]", match[3])
        if below is None or sys.version_info[:2] < _numbers(below[1]):
            yield match[1], match[2].strip(" ()"), extra[1]


def _extra(extra: str, needs: list[tuple[str, str]], version_of: Callable[[str], str]) -> Check:
    found, wrong = [], []
    for name, versions in needs:
        try:
            version = version_of(name)
        except metadata.PackageNotFoundError:
            wrong.append(f"no {name}")
            continue
        found.append(f"{name} {version}")
        if not _allows(versions, version):
            wrong.append(f"{name} {version} is not {versions}")
    install = f'pip install "{PACKAGE}[{extra}]"'
    name = f"extra {extra}"
    if wrong:
        return Check(GROUP, name, "missing", ", ".join(wrong), install)
    return Check(GROUP, name, "ok", ", ".join(found))


def _allows(versions: str, version: str) -> bool:
    """Whether a version is within bounds such as ">=0.50,<0.51"; other kinds of bounds are not looked at."""
    own = _numbers(version)
    for bound in filter(None, re.split(r"\s*,\s*", versions)):
        if bound.startswith(">=") and own < _numbers(bound[2:]):
            return False
        if bound.startswith("<") and not bound.startswith("<=") and own >= _numbers(bound[1:]):
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("+")[0])[:4])
