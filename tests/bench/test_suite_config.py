"""Suites in TOML: read in full; a key or value without meaning is refused with those that have one."""

from __future__ import annotations

from pathlib import Path

import pytest

from xattn.bench.config import SuiteConfig, read_suite
from xattn.errors import FileFormatError, InputError


def read(tmp_path: Path, text: str) -> SuiteConfig:
    file = tmp_path / "suite.toml"
    file.write_text(text)
    return read_suite(file)


def test_every_key_is_read(tmp_path: Path) -> None:
    suite = read(
        tmp_path,
        """
        steps = ["ladder"]
        kernels = ["tiled", "vectorized"]
        shapes = ["16x16"]
        clock = "1.03GHz"
        quick = true
        against = "tiled"
        target = 2
        output_dir = "out"
        [input]
        synthetic = true
        seed = 3
        token = 64
        """,
    )
    assert (suite.steps, suite.kernels, suite.shapes) == (["ladder"], ["tiled", "vectorized"], ["16x16"])
    assert (suite.clock, suite.quick, suite.against, suite.target) == ("1.03GHz", True, "tiled", 2.0)
    assert (suite.output_dir, suite.input.synthetic, suite.input.seed, suite.input.token) == ("out", True, 3, 64)
    assert read(tmp_path, "") == SuiteConfig()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kernel = ['a']", "unknown key 'kernel'; did you mean kernels? known: steps, kernels, shapes, clock, quick"),
        ("zzz = 1", "unknown key 'zzz'; known: steps"),
        ("[input]\nsed = 1", "unknown key 'sed' in [input]; did you mean seed? known: synthetic, seed, layer"),
        ("quick = 'yes'", "Expected `bool`, got `str` - at `$.quick`"),
        ("input = 3", "Expected `object`, got `int` - at `$.input`"),
    ],
)
def test_what_has_no_meaning_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as found:
        read(tmp_path, text)
    assert str(found.value).startswith(f"{tmp_path / 'suite.toml'}: {message}")


def test_what_is_no_toml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"suite\.toml: not TOML"):
        read(tmp_path, "steps = [")
    (tmp_path / "suite.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(FileFormatError, match="byte 0 is not UTF-8"):
        read_suite(tmp_path / "suite.toml")
    with pytest.raises(FileFormatError, match=r"nowhere\.toml: No such file"):
        read_suite(tmp_path / "nowhere.toml")
