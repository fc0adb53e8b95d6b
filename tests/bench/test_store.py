"""The store: what is saved is found again, by every name; damage is named and costs nothing else."""

from __future__ import annotations

import sqlite3
import subprocess
from pathlib import Path

import pytest
from result_cases import ladder, measured

from xattn.bench import store as module
from xattn.bench.record import as_json
from xattn.bench.results import decode_result
from xattn.bench.store import Store, data_folder
from xattn.errors import FileFormatError, InputError

A, B = "a" * 40, "b" * 40


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "kept")


def test_the_folder_is_the_users_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XATTN_DATA", str(tmp_path / "chosen"))
    assert data_folder() == tmp_path / "chosen"
    monkeypatch.delenv("XATTN_DATA")
    monkeypatch.setattr(module.sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert data_folder() == tmp_path / "xdg" / "xattn"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_folder() == tmp_path / ".local" / "share" / "xattn"


@pytest.mark.parametrize("result", [ladder(), measured(0.5)], ids=["ladder", "measured"])
def test_a_result_comes_back_as_it_was(result: object, store: Store) -> None:
    name = store.save(result)
    assert store.find(name) == (name, result)
    file = store.results / f"{name}.json"
    assert store.find(str(file)) == (str(file), result)
    assert [path.name for path in store.results.iterdir()] == [file.name]


def test_results_are_found_by_every_name(store: Store) -> None:
    first, second = store.save(ladder(1, commit=A)), store.save(ladder(2, commit=B, tiled=1900))
    third = store.save(ladder(3, commit=B, tiled=1800))
    peers = store.save(measured(0.5))
    expected = {
        first: first, first[:8]: first, first[-6:]: first, "latest": third, "latest~1": second, "ladder~2": first,
        "peers": peers, A: first, A[:7]: first, B[:9]: third,
    }  # fmt: skip
    assert {name: store.find(name)[0] for name in expected} == expected
    for name, message in {
        "latest~3": "latest~3: of kind ladder, 3 results are stored in ",
        "accuracy": "accuracy: of kind accuracy, 0 results are stored in ",
        "202601": f"202601 names 3 results: {first}, {second}, {third}",
        "cafe": "cafe: no file, no stored id and no commit with a result in ",
        A[:6]: "aaaaaa: no file",
    }.items():
        with pytest.raises(InputError, match=f"^{message}"):
            store.find(name)
    with pytest.raises(FileFormatError, match=r"^nowhere\.json: no such file"):
        store.find("nowhere.json")


def test_a_branch_stands_for_its_commits_result(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        who = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        return subprocess.run(
            ["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "-m", "one")
    git("tag", "released")
    git("commit", "--quiet", "--allow-empty", "-m", "two")
    monkeypatch.setattr(module, "git", lambda *arguments: git(*arguments))
    name = store.save(ladder(1, commit=git("rev-parse", "HEAD~1")))
    assert store.find("released")[0] == store.find("HEAD~1")[0] == name
    with pytest.raises(InputError, match="no commit with a result"):
        store.find("HEAD")


def test_a_damaged_file_is_named_and_skipped(tmp_path: Path) -> None:
    warnings: list[str] = []
    store = Store(tmp_path, warn=warnings.append)
    name = store.save(ladder())
    (store.results / "cut.json").write_bytes(as_json(ladder(2))[:700])
    (store.results / "foreign.json").write_text('{"kind": "other"}')
    (store.results / "folder.json").mkdir()
    assert store.find("latest")[0] == name
    assert [line.split(":")[0] for line in warnings] == [
        f"skipped {store.results / broken}.json" for broken in ("cut", "folder", "foreign")
    ]
    with pytest.raises(FileFormatError, match=r"foreign\.json: not a result of xattn \(.*other"):
        store.find(str(store.results / "foreign.json"))


@pytest.mark.parametrize("damage", [b"not a database at all, but long enough to be looked at" * 20, b"", None])
def test_a_damaged_or_lost_index_is_made_anew(damage: bytes | None, store: Store) -> None:
    names = [store.save(ladder(day)) for day in (1, 2)]
    index = store.folder / "index.sqlite"
    if damage is None:
        index.unlink()
    else:
        index.write_bytes(damage)
    with store.index() as opened:
        assert [entry.id for entry in opened.entries()] == names


def test_an_index_of_another_version_is_made_anew(store: Store) -> None:
    name = store.save(ladder())
    with sqlite3.connect(store.folder / "index.sqlite") as db:
        db.execute("drop table figures")
        db.execute("pragma user_version = 99")
    db.close()
    with store.index() as opened:
        assert [entry.id for entry in opened.entries()] == [name]
        assert len(opened.series("tiled 16×16", "cycles")) == 1


def test_the_index_follows_the_files(store: Store) -> None:
    first, second = store.save(ladder(1)), store.save(ladder(2))
    (store.results / f"{first}.json").unlink()
    (store.results / f"{second}.json").write_bytes(as_json(ladder(2, tiled=77)))
    with store.index() as opened:
        assert [figure.value for _, figure in opened.series("tiled 16×16", "cycles")] == [77]
        assert opened.entries()[0].summary == "baseline 16×16, tiled 16×16, vectorized 16×16"


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"cannot write in .*file"):
        Store(tmp_path / "file").require_writable()
    with pytest.raises(InputError, match=r"nothing is stored in .*: xattn bench stores its results there"):
        Store(tmp_path / "empty").find("latest")


def test_every_result_says_where_it_comes_from() -> None:
    for result in (ladder(), measured(1.0)):
        made = decode_result(as_json(result), "text").provenance
        assert made.xattn and made.python.startswith("3.") and made.cpu and made.cpus >= 1 and made.numpy
