"""`xattn lut`: the table as text and as a C header."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from xattn.cli.main import main


def values(scale: float) -> list[int]:
    """The definition, in plain Python: scale * exp(x / scale), truncated, clamped to a byte."""
    return [int(min(255, scale * math.exp(x / scale))) for x in range(-128, 128)]


def test_the_table_is_printed_with_its_size_and_range(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lut"]) == 0
    lines = capsys.readouterr().out.splitlines()
    printed = [int(word) for line in lines[:-1] for word in line.partition(":")[2].split()]
    assert printed == values(64)
    assert lines[-1] == "256 bytes, 8 to 255"


@pytest.mark.parametrize("scale", [64, 32.5])
def test_the_header_holds_the_table(scale: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "exp_lut.h"
    assert main(["lut", "--scale", str(scale), "--out", str(out)]) == 0
    text = out.read_text()
    body = re.search(r"EXP_LUT\[256\] = \{(.*)\}", text, re.DOTALL)
    assert body and [int(n) for n in re.findall(r"\d+", body[1])] == values(scale)
    assert "wrote" in capsys.readouterr().out
    assert main(["lut", "--scale", str(scale), "--out", "-"]) == 0
    assert capsys.readouterr().out == text


def test_a_bad_scale_is_refused_and_nothing_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "exp_lut.h"
    for scale in ("0", "-3", "nan", "inf"):
        assert main(["lut", "--scale", scale, "--out", str(out)]) == 2
        assert "expected a positive finite number" in capsys.readouterr().err
    assert not out.exists()
