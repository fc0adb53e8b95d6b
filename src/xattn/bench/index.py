"""The index of stored results, in SQLite: what each file holds, so that a search need not read them all.

It is made of the files and can be deleted at any time; `Index.refresh` brings it up to date with the folder.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xattn.bench.figures import Figure, figures_of
from xattn.bench.record import Result, kind_of
from xattn.bench.results import read_result
from xattn.errors import FileFormatError, InputError

_VERSION = 1  # to be raised when the tables change, or what figures are made of a result
_TABLES = """
create table files (
    id text primary key, stamp text not null, kind text not null, created text not null,
    commit_id text, modified integer, summary text not null
);
create table figures (
    id text not null references files(id), subject text not null, metric text not null, origin text not null,
    value real, low real, high real
);
create index figures_by_subject on figures (subject, metric);
"""


@dataclass(frozen=True)
class Entry:
    """One stored result, as the index knows it."""

    id: str
    kind: str
    created: str
    commit: str | None
    modified: bool
    summary: str


class Index:
    """The index of the result files in one folder. Use it as a context manager."""

    def __init__(self, file: Path, folder: Path) -> None:
        self.file, self.folder = file, folder
        self._db = _connect(file)

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def refresh(self) -> list[str]:
        """Take in new and changed files, forget absent ones. Returns a line for each file that is no result."""
        known = dict(self._db.execute("select id, stamp from files"))
        found = {path.stem: path for path in sorted(self.folder.glob("*.json"))}
        problems = []
        with self._db:
            for name in known.keys() - found.keys():
                self._forget(name)
            for name, path in found.items():
                try:
                    stamp = _stamp(path)
                    if known.get(name) == stamp:
                        continue
                    self._forget(name)
                    self._add(name, stamp, read_result(path))
                except (FileFormatError, OSError) as error:
                    problems.append(str(error))
        return problems

    def entries(self) -> list[Entry]:
        """All results, oldest first."""
        rows = self._db.execute(
            "select id, kind, created, commit_id, modified, summary from files order by created, id"
        )
        return [_entry(row) for row in rows]

    def series(self, subject: str, metric: str) -> list[tuple[Entry, Figure]]:
        """A figure over time, oldest first."""
        rows = self._db.execute(
            "select files.id, kind, created, commit_id, modified, summary, subject, metric, origin, value, low, high "
            "from figures join files using (id) where subject = ? and metric = ? order by created, files.id",
            (subject, metric),
        )
        return [(_entry(row[:6]), Figure(*row[6:])) for row in rows]

    def subjects(self, metric: str) -> list[str]:
        """Everything that has such a figure."""
        rows = self._db.execute("select distinct subject from figures where metric = ? order by subject", (metric,))
        return [row[0] for row in rows]

    def _add(self, name: str, stamp: str, result: Result) -> None:
        made = result.provenance
        summary = ", ".join(dict.fromkeys(figure.subject for figure in figures_of(result)))
        self._db.execute(
            "insert into files values (?, ?, ?, ?, ?, ?, ?)",
            (name, stamp, kind_of(result), made.created, made.commit, made.modified, summary),
        )
        self._db.executemany(
            "insert into figures values (?, ?, ?, ?, ?, ?, ?)",
            [(name, f.subject, f.metric, f.origin, f.value, f.low, f.high) for f in figures_of(result)],
        )

    def _forget(self, name: str) -> None:
        self._db.execute("delete from figures where id = ?", (name,))
        self._db.execute("delete from files where id = ?", (name,))


def open_index(file: Path, folder: Path) -> tuple[Index, list[str]]:
    """The index, up to date with the folder, and a line for each file there that is no result.

    A damaged index is made anew. InputError when it cannot be opened.
    """
    try:
        return _refreshed(file, folder)
    except sqlite3.OperationalError as error:
        raise InputError(f"the index {file} cannot be used: {error}") from None
    except sqlite3.DatabaseError:  # damaged: it holds nothing that the files do not
        file.unlink()
        return _refreshed(file, folder)


def _refreshed(file: Path, folder: Path) -> tuple[Index, list[str]]:
    index = Index(file, folder)
    try:
        return index, index.refresh()
    except sqlite3.Error:
        index.close()
        raise


def _connect(file: Path) -> sqlite3.Connection:
    db = sqlite3.connect(file, timeout=30)
    try:
        if _version(db) != _VERSION:
            with db:
                db.execute("begin immediate")
                if _version(db) != _VERSION:  # another process may have made the tables meanwhile
                    for statement in (*_drops(db), *_statements(_TABLES), f"pragma user_version = {_VERSION}"):
                        db.execute(statement)
    except sqlite3.Error:
        db.close()
        raise
    return db


def _entry(row: Sequence[Any]) -> Entry:
    name, kind, created, commit, modified, summary = row
    return Entry(name, kind, created, commit, bool(modified), summary)


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("pragma user_version").fetchone()[0])


def _drops(db: sqlite3.Connection) -> Iterator[str]:
    for (table,) in db.execute("select name from sqlite_master where type = 'table'").fetchall():
        yield f"drop table {table}"


def _statements(script: str) -> Iterator[str]:
    yield from (statement for statement in script.split(";") if statement.strip())


def _stamp(path: Path) -> str:
    """What changes when a file does."""
    status = path.stat()
    return f"{status.st_mtime_ns} {status.st_size}"
