"""The file of a sweep: a first line that says what it is, then one line a finished point, written at once.

Whatever is killed when, every line that was finished stays, and a line that was cut off is written anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from xattn.bench.provenance import Provenance, provenance, source_commit
from xattn.bench.sweep.points import Point, Row
from xattn.errors import FileFormatError, InputError


class _Head(msgspec.Struct, kw_only=True, tag_field="kind", tag="sweep"):
    """The first line."""

    provenance: Provenance


_head, _row = msgspec.json.Decoder(_Head), msgspec.json.Decoder(Row)


class SweepLog:
    """The rows of a sweep, in a file of JSON lines. Use it as a context manager."""

    def __init__(self, file: Path, *, restart: bool = False, warn: Callable[[str], None] = lambda _line: None) -> None:
        """Open a file, or begin it. Lines that are no rows are named (`warn`) and do not count.

        FileFormatError for a file that is no sweep; InputError for one that another version of xattn began (`restart`
        empties it first), or that cannot be written.
        """
        self.file = file
        self.rows: dict[Point, Row] = {}
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._stream = file.open("r+b" if file.exists() else "w+b")
        except OSError as error:
            raise InputError(f"cannot write {file}: {error.strerror or error}") from None
        try:
            if restart:
                self._stream.truncate(0)
            self._read(warn)
        except BaseException:
            self._stream.close()
            raise

    def __enter__(self) -> SweepLog:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def add(self, row: Row) -> None:
        """Write a row; when this returns it is on the disk. InputError when the disk is full or the like."""
        self._write(msgspec.json.encode(row))
        self.rows[row.point] = row

    def _read(self, warn: Callable[[str], None]) -> None:
        content = self._stream.read()
        whole = content[: content.rfind(b"\n") + 1]
        if not whole:
            self._require_begun_here(content)
            self._stream.seek(0)
            self._stream.truncate()
            self._write(msgspec.json.encode(_Head(provenance=provenance())))
            return
        first, *lines = whole.splitlines()
        self._require_same_program(first)
        if lines and source_commit()[1]:
            warn(f"{self.file}: this xattn differs from its commit; finished points may be of other code (--restart)")
        if len(whole) < len(content):
            warn(f"{self.file}: its last line was cut off; that point is done again")
        self._stream.seek(len(whole))
        self._stream.truncate()
        for number, line in enumerate(lines, 2):
            row = _row_of(line)
            if isinstance(row, str):
                warn(f"{self.file}, line {number}: skipped, not a row ({row})")
            else:
                self.rows[row.point] = row

    def _require_begun_here(self, content: bytes) -> None:
        """Refuse to overwrite a foreign file without a line end; the beginning of a first line may go."""
        expected = b'{"kind":"sweep"'
        if content and not content.startswith(expected[: len(content)]):
            raise FileFormatError(f"{self.file}: not a sweep of xattn")

    def _require_same_program(self, line: bytes) -> None:
        try:
            made = _head.decode(line).provenance
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise FileFormatError(f"{self.file}: not a sweep of xattn ({error})") from None
        now = provenance()
        if (made.xattn, made.commit) != (now.xattn, now.commit):
            raise InputError(
                f"{self.file}: begun by xattn {_program(made)}, this is {_program(now)}; "
                "--restart begins it anew, or choose another --out"
            )

    def _write(self, line: bytes) -> None:
        try:
            self._stream.write(line + b"\n")
            self._stream.flush()
            os.fsync(self._stream.fileno())
        except OSError as error:
            raise InputError(f"cannot write {self.file}: {error.strerror or error}") from None


def _row_of(line: bytes) -> Row | str:
    """The row in a line, or why there is none."""
    try:
        row: Row = _row.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return str(error)
    return row


def _program(made: Provenance) -> str:
    return made.xattn if made.commit is None else f"{made.xattn} (commit {made.commit[:9]})"
