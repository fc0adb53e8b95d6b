"""Where results are kept: one JSON file each in the user's data folder, found again by id, age or git commit."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from xattn.bench.index import Entry, Index, open_index
from xattn.bench.provenance import git
from xattn.bench.record import Result, as_json
from xattn.bench.results import read_result
from xattn.errors import FileFormatError, InputError
from xattn.files import write_whole

DATA_VARIABLE = "XATTN_DATA"

KINDS = ("ladder", "accuracy", "host", "peers")

Warn = Callable[[str], None]
"""Called with a line about a file that was skipped."""


def data_folder() -> Path:
    """The user's folder for what xattn keeps ($XATTN_DATA, else the system's place); it need not exist yet."""
    chosen = os.environ.get(DATA_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "xattn"


def require_writable_folder(folder: Path) -> None:
    """Make a folder where it is missing, and try a file in it. InputError when that does not work."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"cannot write in {folder}: {error.strerror or error}") from None


def file_name(result: Result, data: bytes) -> str:
    """A name that sorts by age and that no other result has: 20261127-221503-3f9c1a.json."""
    moment = re.sub(r"[-:]", "", result.provenance.created[:19]).replace("T", "-")
    return f"{moment}-{hashlib.sha256(data).hexdigest()[:6]}.json"


class Store:
    """Results under one folder. Damaged files in it are named (`warn`) and skipped."""

    def __init__(self, folder: Path | None = None, warn: Warn = lambda _line: None) -> None:
        self.folder = data_folder() if folder is None else folder
        self.warn = warn

    @property
    def results(self) -> Path:
        """Where the JSON files are."""
        return self.folder / "results"

    def require_writable(self) -> None:
        """InputError when results cannot be stored; to be called before work begins."""
        require_writable_folder(self.results)

    def save(self, result: Result) -> str:
        """Store a result; returns its id. InputError when the folder cannot be written."""
        data = as_json(result)
        path = self.results / file_name(result, data)
        self.require_writable()
        try:
            write_whole(path, data)
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror or error}") from None
        with self.index():
            pass  # up to date with the file
        return path.stem

    def index(self) -> Index:
        """The index, up to date with the files. InputError when nothing is stored here."""
        if not self.results.is_dir():
            raise InputError(f"nothing is stored in {self.folder}: xattn bench stores its results there")
        index, problems = open_index(self.folder / "index.sqlite", self.results)
        for problem in problems:
            self.warn(f"skipped {problem}")
        return index

    def find(self, what: str) -> tuple[str, Result]:
        """The result that `what` names, and how to call it.

        `what` is a file; an id, its start or its end; "latest" (the last ladder), "latest~2" (two before it), or
        likewise for another kind of result "peers", "accuracy~1"; or a git commit, branch or tag, whose latest ladder
        (or else other result) it then is. InputError when there is none, or an id's part names several.
        """
        path = Path(what)
        if path.is_file():
            return what, read_result(path)
        if path.suffix == ".json" or os.sep in what:
            raise FileFormatError(f"{what}: no such file")
        with self.index() as index:
            entry = _find(index.entries(), what, self.folder)
        return entry.id, read_result(self.results / f"{entry.id}.json")


def _find(entries: list[Entry], what: str, folder: Path) -> Entry:
    age = re.fullmatch(rf"(latest|{'|'.join(KINDS)})(?:~(\d+))?", what)
    if age:
        kind, back = (KINDS[0] if age[1] == "latest" else age[1]), int(age[2] or 0)
        alike = [entry for entry in entries if entry.kind == kind]
        if back < len(alike):
            return alike[-1 - back]
        raise InputError(f"{what}: of kind {kind}, {len(alike)} {_are(len(alike))} stored in {folder}")
    matching = [entry for entry in entries if entry.id.startswith(what) or entry.id.endswith(f"-{what}")]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise InputError(f"{what} names {len(matching)} results: {_some([entry.id for entry in matching])}")
    return _of_commit(entries, what, folder)


def _of_commit(entries: list[Entry], what: str, folder: Path) -> Entry:
    commit = git("rev-parse", "--verify", "--quiet", f"{what}^{{commit}}") or what
    found = [entry for entry in entries if entry.commit and entry.commit.startswith(commit)]
    if not found or len(commit) < 7:
        known = _some([entry.id for entry in reversed(entries)])
        raise InputError(f"{what}: no file, no stored id and no commit with a result in {folder}; stored: {known}")
    return next((entry for entry in reversed(found) if entry.kind == "ladder"), found[-1])


def _are(count: int) -> str:
    return "result is" if count == 1 else "results are"


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") if names else "nothing"
