"""Suites written down: TOML files for `xattn bench --config`."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from xattn.errors import FileFormatError, InputError


class InputConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What the kernels attend to: the options of `xattn bench` of the same names."""

    synthetic: bool = False
    seed: int | None = None
    layer: int | None = None
    head: int | None = None
    token: int | None = None
    audio: str | None = None
    weights: str | None = None


class SuiteConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A suite. Empty lists stand for everything there is."""

    steps: list[str] = []
    kernels: list[str] = []
    shapes: list[str] = msgspec.field(default_factory=lambda: ["64x64"])
    clock: str | None = None
    quick: bool = False
    against: str | None = None
    target: float | None = None
    output_dir: str | None = None
    input: InputConfig = msgspec.field(default_factory=InputConfig)


def read_suite(path: Path) -> SuiteConfig:
    """The suite in a TOML file. FileFormatError when it is no TOML; InputError for a key or a value of no meaning."""
    content = _toml(path)
    _require_known(content, SuiteConfig, str(path), "")
    try:
        return msgspec.convert(content, SuiteConfig)
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: {error}") from None


def _toml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise FileFormatError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{path}: no text (byte {error.start} is not UTF-8)") from None
    try:
        content = msgspec.toml.decode(text)
    except ImportError:
        version = ".".join(map(str, sys.version_info[:2]))
        raise InputError(f'{path}: Python {version} reads TOML with tomli: pip install "xattn[config]"') from None
    except msgspec.DecodeError as error:
        raise FileFormatError(f"{path}: not TOML ({error})") from None
    assert isinstance(content, dict)
    return content


def _require_known(content: Mapping[str, Any], kind: type[msgspec.Struct], file: str, table: str) -> None:
    """Refuse keys that do not exist, naming those that do."""
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
    for key, value in content.items():
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            where = f" in [{table}]" if table else ""
            raise InputError(f"{file}: unknown key {key!r}{where}; {hint}known: {', '.join(fields)}")
        inner = fields[key]
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct) and isinstance(value, Mapping):
            _require_known(value, inner, file, key)
