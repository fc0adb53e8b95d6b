"""`xattn verify`: tables, JSON, exit codes, and what it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from xattn.bench.layer import Layer
from xattn.cli import verify as module
from xattn.cli.main import main
from xattn.devices import head
from xattn.kernels import sound_layout
from xattn.kernels.registry import kernel_spec
from xattn.numerics.synthetic import synthetic_activations


def verify(*arguments: object) -> int:
    return main(["verify", *(str(argument) for argument in arguments)])


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer of two heads of 100 tokens."""
    made = synthetic_activations(4, heads=2, tokens=100)
    monkeypatch.setattr(
        module, "layer_of", lambda *_: Layer(made.q, made.k, made.v, "a model", "a clip, encoder layer 0", ("slow",))
    )


def test_kernels_beside_their_models(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    assert verify("qkt", "matmul_int8", "--shape", "16x16", "--synthetic", "--json", file) == 0
    out = capfd.readouterr().out
    assert re.search(r"^qkt +\d+ +[\d,]+ +0 +\d+ +yes *$", out, re.MULTILINE)
    assert "nothing ran on an NPU" in out and "input: activations: none: SYNTHETIC" in out
    found = json.loads(file.read_text())
    assert [kernel["name"] for kernel in found["kernels"]] == ["qkt", "matmul_int8"] and found["tokens"] == 16


def test_a_kernel_that_is_wrong_is_exit_code_1(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = kernel_spec("qkt")
    monkeypatch.setitem(vars(right), "model", lambda q, k, v, shift: kernel_spec("matmul_int8").model(q, k, v, shift))
    assert verify("qkt", "--shape", "16x16", "--synthetic") == 1
    out = capfd.readouterr().out
    assert re.search(r"^qkt .* NO *$", out, re.MULTILINE)
    assert "elements differ from the integer model, first S[" in out and re.search(r"qkt: … and \d+ more", out)


@pytest.mark.usefixtures("small")
def test_a_whole_layer(capfd: pytest.CaptureFixture[str]) -> None:
    assert verify("--whole-layer", "--clock", "1GHz", "--json", "-") == 0
    captured = capfd.readouterr()
    found = json.loads(captured.out)
    assert (found["blocks"], found["differences"], len(found["heads"])) == (8, 0, 2)
    text = captured.err
    assert text.startswith("model    a model\ninput    a clip, encoder layer 0, 2 heads of 100 tokens")
    total = rf"^all +8 +{found['rescaled_blocks']} +{found['cycles']:,} +{found['cycles'] / 8:,.0f} +"
    assert re.search(rf"{total}{found['cycles'] / 1e6:,.3f} +0 *$", text, re.MULTILINE)
    assert "ms at 1 GHz" in text and "of 13,200 integers" in text and "note: slow" in text


@pytest.mark.usefixtures("small")
def test_a_layer_with_a_wrong_block_is_exit_code_1(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_limits(q: object, k: object, v: object, mask: object) -> object:
        return sound_layout.pack_masked(q, k, v, mask | True)  # type: ignore[arg-type, operator]

    monkeypatch.setattr(head, "pack_masked", without_limits)  # padding counts
    assert verify("--whole-layer") == 1
    assert re.search(r"^all .* [1-9][\d,]* *$", capfd.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "no kernel is called 'nothing'; there are baseline"),
        (["sound", "--shape", "16x16"], "kernel sound cannot take 16 tokens of width 16"),
        (["sound", "--whole-layer"], "--whole-layer runs the program of sound: leave out sound"),
        (["--whole-layer", "--shape", "16x16"], "leave out --shape"),
        (["sound", "--order", "natural"], "--order is for --whole-layer"),
        (["sound", "--clock", "1GHz"], "--clock is for --whole-layer"),
        (["--whole-layer", "--clock", "0"], "clock '0' is no frequency"),
        (["--whole-layer", "--synthetic", "--layer", "1"], "--layer choose real activations"),
        (["--whole-layer", "--json", "{folder}/no/x.json"], "is not a folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert verify(*(argument.format(folder=tmp_path) for argument in arguments)) == 2
    captured = capfd.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1 and captured.out == ""
