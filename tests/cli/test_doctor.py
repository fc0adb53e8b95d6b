"""`xattn doctor`: a table or JSON, and whether an NPU can be used as exit code."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from xattn.cli.main import main
from xattn.devices import diagnosis
from xattn.devices.diagnosis import Diagnosis, Machine

sys.path.insert(0, str(Path(__file__).parents[1] / "devices"))

from fake_pyxrt import Fake
from machine_tree import Tree


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch):
    """Make the command look at a pretended machine."""
    real = diagnosis.diagnose

    def use(root: Path, with_xrt: bool) -> None:
        def look() -> Diagnosis:
            return real(Machine(root, may_open=lambda _: True, is_superuser=False))

        monkeypatch.setattr(diagnosis, "diagnose", look)
        monkeypatch.setitem(sys.modules, "pyxrt", Fake().module if with_xrt else None)
        monkeypatch.setenv("COLUMNS", "160")

    return use


def test_a_machine_with_an_npu(on, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    on(Tree(tmp_path / "root").root, with_xrt=True)
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "XDNA1 (Phoenix or Hawk Point)" in text and "1.5.5.391" in text and "xattn run KERNEL --device npu" in text
    assert main(["doctor", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["npu_usable"] is True
    assert {check["state"] for check in record["checks"] if check["needed"]} == {"ok"}


def test_a_machine_without(on, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    on(tmp_path, with_xrt=False)
    assert main(["doctor"]) == 1
    text = " ".join(capsys.readouterr().out.split())
    assert (
        "no NPU of AMD on the PCI bus" in text
        and "No NPU can be used (NPU, XRT (pyxrt)); everything else works" in text
    )
    assert main(["doctor", "--json"]) == 1
    record = json.loads(capsys.readouterr().out)
    assert record["npu_usable"] is False
    (xrt,) = (check for check in record["checks"] if check["name"] == "XRT (pyxrt)")
    assert (xrt["state"], xrt["needed"], xrt["group"]) == ("missing", True, "NPU") and "install AMD's XRT" in xrt[
        "remedy"
    ]


def test_an_xdna2_cannot_be_used(on, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = Tree(tmp_path / "root")
    tree.device(0x17F0, 0x10, "RyzenAI-npu4", "1.0.0.63")
    on(tree.root, with_xrt=True)
    assert main(["doctor"]) == 1
    assert "XDNA2 (Strix Point)" in capsys.readouterr().out
