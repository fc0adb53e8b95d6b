"""What is needed of XRT's Python module pyxrt, with its failures in words that say what to do.

pyxrt comes with XRT, not from a package index; it is imported when an NPU is asked for and not before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from xattn.devices.generations import generation_of_name
from xattn.errors import XattnError

DOCTOR = "`xattn doctor` says what is missing"

# What XRT and the driver say, and what it means. The first that matches counts.
_MEANINGS = (
    (r"no such device|no devices? found", f"XRT sees no NPU; {DOCTOR}"),
    (r"permission denied|err=-?13\b", "this user may not open the NPU; join the group that owns /dev/accel (render)"),
    (
        r"resource temporarily unavailable|cannot allocate memory|err=-?1[12]\b",
        "too little memory may be locked; raise the limit (ulimit -l, memlock in /etc/security/limits.conf)",
    ),
    (
        r"create_hwctx.*err=-?(?:2|16|28)\b|no space left|device or resource busy",
        "all of the NPU's contexts may be taken (an XDNA1 has 6); end other programs that use it",
    ),
    (
        r"firmware|protocol|create_hwctx.*err=-?22\b|not supported|err=-?95\b",
        f"firmware, driver and XRT may not fit each other, or the file not this NPU; {DOCTOR}",
    ),
)


class NpuUnavailableError(XattnError):
    """There is no NPU to run on, or it refuses the program: what is missing, and what to do about it."""


def import_pyxrt() -> Any:
    """The module pyxrt. NpuUnavailableError when it is not there or is not for this Python."""
    try:
        return import_module("pyxrt")
    except ImportError as error:
        raise NpuUnavailableError(
            f"no NPU can be used: pyxrt, the Python module of AMD's XRT, cannot be imported ({error}); {DOCTOR}"
        ) from None


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turn what pyxrt raises while `doing` something into a NpuUnavailableError that says what it may mean."""
    try:
        yield
    except XattnError:
        raise
    except Exception as error:  # pyxrt raises whatever C++ threw
        text = " ".join(str(error).split()) or type(error).__name__
        meanings = (meaning for pattern, meaning in _MEANINGS if re.search(pattern, text, re.IGNORECASE))
        raise NpuUnavailableError(f"{doing} failed: {text}; {next(meanings, DOCTOR)}") from error


def open_device(pyxrt: Any, number: int) -> tuple[Any, str]:
    """An XRT device and its name. NpuUnavailableError when there is none, or it is not an XDNA1."""
    with explained(f"opening XRT device {number}"):
        device = pyxrt.device(number)
        name = str(device.get_info(pyxrt.xrt_info_device.name))
    generation = generation_of_name(name)
    if generation is not None and not generation.is_supported:
        raise NpuUnavailableError(
            f"XRT device {number} is {name!r}, an {generation.title}: programs for the AIE2 cores of XDNA1 "
            "(Phoenix, Hawk Point) do not run there"
        )
    return device, name
