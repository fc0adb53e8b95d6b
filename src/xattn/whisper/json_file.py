"""JSON files that come with a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from xattn.errors import FileFormatError


def read_object(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds; FileFormatError when it cannot be read or holds something else."""
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path}: not JSON ({error})") from None
    if not isinstance(value, dict):
        raise FileFormatError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value
