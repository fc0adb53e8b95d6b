"""PDI bytes against Debian's bootgen (package xilinx-bootgen), an independent program, on the same CDOs."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from array_strategies import array_commands
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xattn.array.cdo import Cdo, Command, Delay, DmaWrite, End, MaskPoll, MaskWrite, Nop, Other, Write, write_cdo
from xattn.array.cdo_layout import driver_layout
from xattn.array.pdi import bif, build_pdi, read_pdi, write_pdi

BOOTGEN = shutil.which("bootgen")
pytestmark = pytest.mark.skipif(
    BOOTGEN is None, reason="bootgen is not installed (Debian: apt-get install xilinx-bootgen); PDI bytes not compared"
)


def bootgen(folder: Path, cdos: Sequence[Cdo]) -> bytes:
    """What bootgen makes of these CDO files with the BIF text of `bif`."""
    names = []
    for index, cdo in enumerate(cdos):
        path = folder / f"part{index}.bin"
        path.write_bytes(write_cdo(cdo))
        names.append(str(path))
    (folder / "image.bif").write_text(bif(names))
    out = folder / "image.pdi"
    command = ["bootgen", "-arch", "versal", "-image", str(folder / "image.bif"), "-o", str(out), "-w"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out.read_bytes()


CASES: list[list[list[Command]]] = [
    [[Write(0x232000, 1)]],
    [[Write(0x232000, 1, wide=True), MaskWrite(0x21DE00, 2, 2, wide=True)]],
    [[Write(0x1_0023_2000, 1, wide=True)]],
    [[MaskPoll(0x21DF00, 3, 0, 5, wide=True), MaskPoll(0x21DF00, 3, 0, 5, (1,)), MaskPoll(0x21DF00, 3, 0, 5, (0,))]],
    [[Delay(7), Nop(), Nop(bytes(4 * 300)), Nop(b"abcdefghijkl")]],
    [[DmaWrite(0x220000, b""), DmaWrite(0x220004, b"abcd"), DmaWrite(0x220008, b"abcdefgh")]],
    [[DmaWrite(0x22000C, bytes(4 * count))] for count in (251, 252, 253, 254, 255)],
    [[Write(0x232000, 1), End(), Write(0x232004, 2)], [Write(0x232000, 3)]],
    [[Other(0x10C, bytes(16)), Other(0x1FF, bytes(8))]],
    [[Nop(), MaskWrite(0x232000, 1, 0)], [Nop(), DmaWrite(0x21D000, bytes(24))], [Nop(), MaskWrite(0x232000, 1, 1)]],
]


@pytest.mark.parametrize("number", range(len(CASES)))
def test_same_bytes_as_bootgen(tmp_path: Path, number: int) -> None:
    cdos = [Cdo(tuple(commands)) for commands in CASES[number]]
    assert write_pdi(build_pdi(cdos)) == bootgen(tmp_path, cdos)


@given(st.lists(st.lists(array_commands(), min_size=1, max_size=14), min_size=1, max_size=3), st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_same_bytes_as_bootgen_for_any_configuration(tmp_path: Path, lists: list[list[Command]], driver: bool) -> None:
    cdos = [driver_layout(commands) if driver else Cdo(tuple(commands)) for commands in lists]
    image = bootgen(tmp_path, cdos)
    assert write_pdi(build_pdi(cdos)) == image
    assert write_pdi(read_pdi(image)) == image
