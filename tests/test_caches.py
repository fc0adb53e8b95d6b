"""Every cache on disk when things go wrong: killed while it is written, a full disk, many processes, damage anywhere.

Each cache has to leave something that the next run can use: the old entry, the new one, or none.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from xattn import cache
from xattn.build import cache as builds
from xattn.build.manifest import BuildRequest
from xattn.cache import FileCache, cache_folder
from xattn.isa import assemble_program
from xattn.sim import Core
from xattn.whisper.cache import ActivationCache

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="NOT CHECKED: these tests fork processes")

SHAPE = (1, 30, 4)
REQUEST = BuildRequest("qkt", "tile", 16, 16, (("shift", 4),))
PROGRAM = "mova r20, #50\n.align 16\nagain:\nadd r20, r20, #-1\njnz r20, #again\nadd r0, r0, #3\nnop*4\nret lr\nnop*5"


def file_cache(largest: int = 1 << 20) -> FileCache:
    return FileCache(cache_folder() / "things", ".thing", largest)


def contents(key: str) -> bytes:
    return key.encode() * 2000


@dataclass(frozen=True)
class Job:
    """Work that takes its result from a cache, or makes it and stores it.

    `work` raises when the result is wrong, and says whether it was in the cache. `writes`: how files are written.
    """

    work: Callable[[], bool]
    folder: str
    points: tuple[str, ...] = ("begun", "half", "written", "unnamed", "renamed")


def thing() -> bool:
    made: list[str] = []

    def make() -> bytes:
        made.append("thing")
        return contents("thing")

    assert file_cache().kept("thing", make) == contents("thing")
    return not made


def translation() -> bool:
    from xattn.sim.translate import translation as module

    made: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        compile_ = module.compiled_object
        patch.setattr(module, "compiled_object", lambda *args, **options: made.append("") or compile_(*args, **options))
        core = Core(engine="translator")
        core.load(assemble_program(PROGRAM).code)
        result = core.call(0, [7])
    assert (result.value, result.engine) == (157, "translator"), core.translator.why_not
    return not made


def activations() -> bool:
    cache = ActivationCache()
    entry = tuple(np.full(SHAPE, n, np.float32) for n in range(3))
    found = cache.read("key", SHAPE)
    if found is None:
        try:
            cache.write("key", entry)  # type: ignore[arg-type]
        except OSError:
            return False  # the caller has what it wanted to keep
        return False
    assert all(np.array_equal(a, b) for a, b in zip(found, entry, strict=True))
    return True


def build() -> bool:
    files, was_kept = builds.build(REQUEST)
    assert files["insts.bin"] and set(files) >= {"manifest.json", "insts.bin"}
    return was_kept


JOBS = {
    "things": Job(thing, "things"),
    "translations": Job(translation, "translations"),
    "activations": Job(activations, "activations"),
    "builds": Job(build, "builds", ("begun", "half", "unnamed", "renamed")),
}
_NEEDS = pytest.mark.skipif(
    importlib.util.find_spec("llvmlite") is None, reason="NOT CHECKED: translations need llvmlite"
)
every_job = pytest.mark.parametrize(
    "job", [pytest.param(job, id=name, marks=[_NEEDS] if name == "translations" else []) for name, job in JOBS.items()]
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XATTN_CACHE", str(tmp_path))
    return tmp_path


def in_processes(*works: Callable[[], object]) -> list[int | None]:
    """Exit codes of processes that do this, all at once; minus the signal for one that was killed."""
    processes = [multiprocessing.get_context("fork").Process(target=work) for work in works]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        process.kill()
    return [process.exitcode for process in processes]


# --- killed ---------------------------------------------------------------------------------------------------------


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dying_at(point: str, work: Callable[[], object]) -> Callable[[], None]:
    """Work in a process that is killed at a point of writing its first file."""

    def write_half(path: Path, data: bytes) -> None:
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
        die()

    def half_a_file(handle: int, _mode: str) -> object:
        file = os.fdopen_(handle, "wb")  # type: ignore[attr-defined]
        write, flush = file.write, file.flush

        class Half:
            def __enter__(self) -> Half:
                return self

            def __exit__(self, *_: object) -> None: ...

            def write(self, data: bytes) -> None:
                write(data[: len(data) // 2])
                flush()
                die()

        return Half()

    def run() -> None:
        os.fdopen_ = os.fdopen  # type: ignore[attr-defined]
        replace = os.replace
        if point == "begun":
            os.fdopen, Path.write_bytes = die, die  # type: ignore[assignment]
        elif point == "half":
            os.fdopen, Path.write_bytes = half_a_file, write_half  # type: ignore[assignment]
        elif point == "written":
            os.chmod = die  # type: ignore[assignment]
        elif point == "unnamed":
            os.replace = die  # type: ignore[assignment]
        else:
            os.replace = lambda *names: die(replace(*names))
        work()

    return run


@every_job
def test_a_process_killed_while_it_writes_does_no_harm(job: Job, folder: Path) -> None:
    for point in job.points:
        shutil.rmtree(folder)
        folder.mkdir()
        assert in_processes(dying_at(point, job.work)) == [-signal.SIGKILL], f"not killed when {point}"
        assert list(folder.rglob("*")), point
        job.work()
        assert job.work(), f"killed when {point}: the next run stored nothing"


@every_job
def test_a_process_killed_while_it_repairs_does_no_harm(job: Job, folder: Path) -> None:
    """The entry was damaged, and what is killed is the process that makes it anew."""
    job.work()
    for point in job.points:
        for path in (folder / job.folder).rglob("*"):
            if path.is_file():
                path.write_bytes(path.read_bytes()[:-1])
        assert in_processes(dying_at(point, job.work)) == [-signal.SIGKILL], f"not killed when {point}"
        job.work()
        assert job.work(), f"killed when {point}: the next run stored nothing"


def test_the_old_entry_or_the_new_one_is_there() -> None:
    for point in JOBS["things"].points:
        file_cache().write("thing", b"old")
        assert in_processes(dying_at(point, lambda: file_cache().write("thing", b"new"))) == [-signal.SIGKILL]
        assert file_cache().read("thing") == (b"new" if point == "renamed" else b"old")


def test_files_are_counted_once_a_process_and_when_there_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    drop = cache.drop_oldest
    monkeypatch.setattr(cache, "drop_oldest", lambda *a: counted.append(1) or drop(*a))
    monkeypatch.setattr(cache, "_counted", {})
    kept = FileCache(cache_folder() / "counted", ".bin", 20 * 100)
    for number in range(19):  # of 32 bytes and a digest of 32
        kept.write(str(number), bytes(32))
    assert len(counted) == 1
    for number in range(19, 40):
        kept.write(str(number), bytes(32))
        assert sum(path.stat().st_size for path in kept.folder.iterdir()) <= kept.largest
    assert len(counted) > 1 and kept.read("39") == bytes(32) and kept.read("0") is None


@every_job
def test_what_a_killed_process_left_is_swept_up_later(job: Job, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert in_processes(dying_at("half", job.work)) == [-signal.SIGKILL]
    (left,) = (folder / job.folder).iterdir()
    assert left.name.startswith(".")
    job.work()
    assert left.exists(), "it may still be on its way"
    shutil.rmtree(folder / job.folder)
    assert in_processes(dying_at("half", job.work)) == [-signal.SIGKILL]
    (left,) = (folder / job.folder).iterdir()
    hours_ago = time.time() - 7200
    os.utime(left, (hours_ago, hours_ago))
    monkeypatch.setattr("xattn.cache._counted", {})  # as a process that comes later
    job.work()
    assert not left.exists() and list((folder / job.folder).iterdir())


# --- a full disk ----------------------------------------------------------------------------------------------------


def with_little_room(size: int, work: Callable[[], object]) -> Callable[[], None]:
    """Work in a process whose files the system lets grow to so many bytes only: a write ends in the middle."""
    import resource

    def run() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # an error of the write, then, and no signal
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        work()

    return run


@every_job
def test_a_full_disk_does_no_harm(job: Job, folder: Path) -> None:
    for size in (0, 1, 200):
        assert in_processes(with_little_room(size, job.work)) == [0]
        left = [path.name for path in folder.rglob("*") if path.is_file()]
        assert not any(name.startswith(".") for name in left), f"half-written on a disk with {size} bytes"
        assert not (left and size < 200)  # a small entry may fit
    assert not job.work()
    assert job.work()


@every_job
def test_what_is_there_is_used_on_a_full_disk(job: Job) -> None:
    job.work()

    def used() -> None:
        assert job.work()

    assert in_processes(with_little_room(0, used)) == [0]


# --- many processes -------------------------------------------------------------------------------------------------


@every_job
def test_many_processes_at_once(job: Job) -> None:
    assert in_processes(*[job.work] * 4) == [0] * 4
    assert job.work()


def test_many_processes_that_read_write_and_drop() -> None:
    """Six processes in a cache with room for three of the entries: each reads what is whole and right, or nothing."""

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        cache, found = file_cache(3 * len(contents("10")) + 200), 0
        for _ in range(150):
            key = str(10 + random.integers(8))
            kept = cache.read(key)
            assert kept in (None, contents(key))
            found += kept is not None
            cache.kept(key, lambda key=key: contents(key))
        assert found > 10, "nothing was ever kept"

    assert in_processes(*[lambda seed=seed: work(seed) for seed in range(6)]) == [0] * 6
    left = list(file_cache().folder.iterdir())
    assert all(not path.name.startswith(".") for path in left)
    assert all(file_cache().read(path.stem) == contents(path.stem) for path in left)


def test_processes_that_are_killed_among_others() -> None:
    """Some die at every point of writing while others work: those notice nothing."""
    works: list[Callable[[], object]] = [thing, thing]
    works += [
        dying_at(point, lambda: file_cache().write("thing", contents("thing"))) for point in JOBS["things"].points
    ]
    codes = in_processes(*works)
    assert codes == [0, 0] + [-signal.SIGKILL] * 5
    thing()
    assert thing()


# --- damage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["cut", "flipped", "longer"])
def test_damage_anywhere_is_noticed(damage: str) -> None:
    cache = file_cache()
    cache.write("thing", b"twelve bytes")
    path = cache.path("thing")
    whole = path.read_bytes()
    for at in range(len(whole)):
        flipped = whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :]
        path.write_bytes({"cut": whole[:at], "flipped": flipped, "longer": whole + whole[: at + 1]}[damage])
        assert cache.read("thing") is None
        assert cache.kept("thing", lambda: b"twelve bytes") == b"twelve bytes"
        assert path.read_bytes() == whole


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_damaged_activations_are_never_believed(damage: str) -> None:
    cache = ActivationCache()
    activations()
    path = cache.folder / "key.npz"
    whole = path.read_bytes()
    expected = cache.read("key", SHAPE)
    assert expected is not None
    for at in range(0, len(whole), 7):
        flipped = whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :]
        path.write_bytes({"cut": whole[:at], "flipped": flipped}[damage])
        found = cache.read("key", SHAPE)
        assert found is None or all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
        assert damage != "cut" or found is None


def test_something_else_in_the_place_of_an_entry() -> None:
    cache = file_cache()
    cache.path("thing").mkdir(parents=True)
    assert cache.read("thing") is None
    assert cache.kept("thing", lambda: b"made") == b"made"


@pytest.mark.skipif(sys.platform == "win32", reason="NOT CHECKED: folders of another user")
def test_a_folder_that_is_a_file_is_no_hindrance(folder: Path) -> None:
    (folder / "things").write_text("in the way")
    assert not thing() and not thing()
