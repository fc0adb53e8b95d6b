"""What `xattn inspect` says about a build's text files: MLIR designs and exp tables in C."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from xattn.errors import FileFormatError

_OPERATION = re.compile(r"^\s*(?:%[\w, %]+ = )?((?:aie|aiex|func|scf|arith|memref)\.[\w.]+)", re.MULTILINE)
_DEVICE = re.compile(r"aie\.device\((\w+)\)")
_FUNCTION = re.compile(r"func\.func private @(\w+)(\([^)]*\))")
_TABLE = re.compile(r"(\w+)\s*\[\s*(\d*)\s*\]\s*=\s*\{([^}]*)\}")


def is_text_file(data: bytes) -> bool:
    """Whether this is a text that is explained here."""
    start = data[:4096].lstrip()
    return start.startswith((b"module", b"#ifndef", b"//")) and b"\0" not in data


def describe_text(data: bytes) -> dict[str, Any]:
    """The contents as plain data. FileFormatError for other texts."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise FileFormatError(f"no text: byte {error.start} is not UTF-8") from None
    if "aie.device" in text:
        return _mlir(text)
    found = _TABLE.search(text)
    if found is None:
        raise FileFormatError("text with neither an aie.device (MLIR) nor a table (C header)")
    return _table(found)


def text_lines(found: dict[str, Any]) -> list[str]:
    """The contents for people."""
    if found["format"] == "C table":
        made = f", scale {found['scale']}" if found["scale"] is not None else ", of no known scale"
        lines = [f"C table {found['name']}: {found['entries']} entries, {found['minimum']} to {found['maximum']}"]
        return [lines[0] + (made if found["entries"] == 256 else "")]
    lines = [f"MLIR for mlir-aie, device {found['device']}, as of {' or '.join(found['times']) or 'an unknown time'}"]
    lines += [f"kernel {name}{arguments}" for name, arguments in found["kernels"].items()]
    return [*lines, *(f"{count:>5,}  {name}" for name, count in found["operations"].items())]


def _mlir(text: str) -> dict[str, Any]:
    device = _DEVICE.search(text)
    return {
        "format": "MLIR",
        "device": device[1] if device else None,
        "times": _times(text),
        "kernels": dict(_FUNCTION.findall(text)),
        "operations": dict(Counter(_OPERATION.findall(text)).most_common()),
    }


def _times(text: str) -> list[str]:
    """The times whose syntax the text has."""
    from xattn.array.mlir_dialect import Dialect

    if "aiex.runtime_sequence" in text:
        return [Dialect.late_2025.value]
    if re.search(r"aie\.use_lock\([^)]*, %\w+\)|aie\.dma_bd\([^)]* len = ", text):
        return [Dialect.late_2026.value]
    return [Dialect.early_2026.value] if "aie.runtime_sequence" in text else []


def _table(found: re.Match[str]) -> dict[str, Any]:
    from xattn.numerics.lut import DEFAULT_SCALE, exp_table

    words = re.findall(r"\b(?:0x[0-9a-fA-F]{1,16}|[0-9]{1,20})\b", found[3])  # a longer one is no number of a table
    numbers = [int(word, 16 if word.startswith("0x") else 10) for word in words]
    if not numbers or (found[2] and found[2].lstrip("0") != str(len(numbers))):
        raise FileFormatError(f"table {found[1]}: {len(numbers)} numbers, {found[2] or 'some'} announced")
    known = numbers == exp_table().tolist()
    return {
        "format": "C table",
        "name": found[1],
        "entries": len(numbers),
        "minimum": min(numbers),
        "maximum": max(numbers),
        "scale": DEFAULT_SCALE if known else None,
    }
