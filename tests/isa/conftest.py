import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def facts() -> Path:
    """The recorded fact files, which are not part of the repository."""
    named = os.environ.get("XATTN_FACTS")
    place = Path(named) if named else Path(__file__).parents[3] / "shared" / "aie2"
    if not place.is_dir():
        pytest.skip(f"NOT CHECKED against recorded facts: no directory {place} (set XATTN_FACTS)")
    return place


@pytest.fixture(scope="session")
def foreign_programs() -> list[Path]:
    """ELF executables of another compiler, in the directory XATTN_FOREIGN."""
    named = os.environ.get("XATTN_FOREIGN")
    if not named:
        pytest.skip("NOT CHECKED against foreign programs: set XATTN_FOREIGN to a directory of AIE2 ELF files")
    found = sorted(Path(named).rglob("*.elf"))
    if not found:
        pytest.skip(f"NOT CHECKED against foreign programs: no *.elf below {named}")
    return found
