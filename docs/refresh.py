"""The commands in the documents' console blocks: run them, and put what they print in its place.

    python docs/refresh.py README.md docs/*.md

A block starts with ```console (```console slow: takes a minute). `$ ` begins a command, `> ` continues it, the rest is
what it prints on standard output. All commands of a document run in one empty folder, with the xattn of this Python.
The time of day and the commit behind it are shown as if they were always the same.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Command:
    """One command of a document, and what the document says that it prints."""

    text: str
    output: str
    line: int
    slow: bool


def split(document: str) -> list[str | Command]:
    """The document in pieces: its commands, and the text around them as it stands."""
    pieces: list[str | Command] = []
    block: str | None = None
    for number, line in enumerate(document.splitlines(keepends=True), 1):
        if line.startswith("```"):
            info = line[3:].split()
            block = None if block is not None else " ".join(info)
            pieces.append(line)
        elif block is None or not block.startswith("console"):
            pieces.append(line)
        elif line.startswith("$ "):
            pieces.append(Command(line[2:], "", number, slow="slow" in block.split()))
        else:
            command = pieces[-1]
            assert isinstance(command, Command), f"line {number}: a console block that does not start with a command"
            if line.startswith("> ") and not command.output:
                command.text += line[2:]
            else:
                command.output += line
    return pieces


def commands(document: str) -> list[Command]:
    """The commands of a document, in order."""
    return [piece for piece in split(document) if isinstance(piece, Command)]


def run(command: Command, folder: Path) -> str:
    """What a command prints on standard output. `make bench` stands for what it runs once all is set up."""
    text = command.text.replace("make bench", "xattn bench")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "COLUMNS": "80"}
    environment |= {"XATTN_CACHE": str(folder / ".cache"), "XATTN_DATA": str(folder / ".data")}
    done = subprocess.run(["bash", "-euc", text], cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}: {text}{done.stdout}{done.stderr}")
    return "".join(_steady(line).rstrip() + "\n" for line in done.stdout.splitlines())


def _steady(line: str) -> str:
    """A line without what is another in each run: the time of day, and the commit that follows it."""
    return re.sub(r"20\d\d-\d\d-\d\d \d\d:\d\d  (?:[0-9a-f]{9}[+ ]|– {9})", "2026-11-28 09:30  3f9c1ab20 ", line)


def refreshed(document: str, folder: Path) -> str:
    """The document with every output as it is now."""
    pieces = split(document)
    for piece in pieces:
        if isinstance(piece, Command):
            piece.output = run(piece, folder)
    return "".join(_as_text(piece) for piece in pieces)


def _as_text(piece: str | Command) -> str:
    if isinstance(piece, str):
        return piece
    return "$ " + piece.text.rstrip("\n").replace("\n", "\n> ") + "\n" + piece.output


if __name__ == "__main__":
    for name in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder:
            text = refreshed(Path(name).read_text(encoding="utf-8"), Path(folder))
        Path(name).write_text(text, encoding="utf-8")
