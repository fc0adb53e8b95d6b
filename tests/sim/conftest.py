import os
import sys
from pathlib import Path

import pytest

# the plain evaluator of meanings, which the tests of the meanings keep
sys.path.insert(0, str(Path(__file__).parents[1] / "isa" / "semantics"))


@pytest.fixture(scope="session")
def facts() -> Path:
    """The recorded fact files, which are not part of the repository."""
    named = os.environ.get("XATTN_FACTS")
    place = Path(named) if named else Path(__file__).parents[3] / "shared" / "aie2"
    if not place.is_dir():
        pytest.skip(f"NOT CHECKED against recordings of the chip: no directory {place} (set XATTN_FACTS)")
    return place
