"""Translations are made once and kept; what is damaged, foreign or cannot be stored does no harm."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from engines import assert_equal, state_of
from programs import DATA, core_for

pytest.importorskip("llvmlite", reason="NOT CHECKED: the translator needs llvmlite (pip install 'xattn[jit]')")

from xattn.sim.core import Core
from xattn.sim.translate import explore, translation
from xattn.sim.translate.explore import Explorer
from xattn.sim.translate.native import cpu
from xattn.sim.translate.translator import Translator

TEXT = """
    mova r20, #50
    .align 16
    again:
    vlda wl0, [p0], #32; vldb wh0, [p1], #32
    vmac cm0, cm0, x0, x0, r8
    add r20, r20, #-1
    jnz r20, #again
    vst wl0, [p1, #64]
    nop*4
"""
REGISTERS = {"r8": 776, "p0": DATA, "p1": DATA + 0x4000, "x0": bytes(64), "cm0": bytes(128)}
DATA_BYTES = np.random.default_rng(7).integers(0, 256, 65536).astype(np.uint8).tobytes()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XATTN_CACHE", str(tmp_path))
    return tmp_path / "translations"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that were compiled."""
    texts: list[str] = []
    compile_ = translation.compiled_object

    def counted(text, *args, **options):
        texts.append(text)
        return compile_(text, *args, **options)

    monkeypatch.setattr(translation, "compiled_object", counted)
    return texts


def core(engine: str = "translator") -> Core:
    return core_for(TEXT, REGISTERS, {DATA: DATA_BYTES}, engine=engine)[0]


def run() -> None:
    """Run on the translator, and compare with the interpreter."""
    cores = core(), core("interpreter")
    first, second = (each.run(0) for each in cores)
    assert (first.engine, first.cycles) == ("translator", second.cycles)
    assert_equal(*map(state_of, cores))


def test_a_program_is_translated_once(folder: Path, made: list[str]) -> None:
    run()
    run()
    assert len(made) == 1
    assert sorted(path.suffix for path in folder.iterdir()) == [".code", ".code"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign"])
def test_damaged_entries_are_made_anew(folder: Path, made: list[str], damage: str) -> None:
    run()
    for path in folder.iterdir():
        data = path.read_bytes()
        middle = len(data) // 2
        flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        path.write_bytes({"cut": data[:-1], "flipped": flipped, "empty": b"", "foreign": b"\0" * len(data)}[damage])
    run()
    run()
    assert len(made) == 2


@pytest.mark.parametrize("failing", ["replace", "fdopen"])
def test_a_full_disk_does_no_harm(folder: Path, made: list[str], failing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, full)
        run()
    assert list(folder.iterdir()) == []
    run()
    run()
    assert len(made) == 2


def test_a_folder_that_cannot_be_made_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XATTN_CACHE", str(tmp_path / "file"))
    run()


def test_killing_a_run_midway_leaves_a_cache_that_works(folder: Path, made: list[str]) -> None:
    """A process that does nothing but store entries is killed while it does."""
    program = (
        "import sys; from pathlib import Path; from xattn.cache import FileCache\n"
        "files = FileCache(Path(sys.argv[1]), '.code', 1 << 30)\n"
        "print('ready', flush=True)\n"
        "while True: files.write('0' * 64, bytes(1 << 20))\n"
    )
    for pause in (0.01, 0.03, 0.05):
        writer = subprocess.Popen(
            [sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True, env=os.environ
        )
        assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
        time.sleep(pause)
        writer.kill()
        writer.wait()
        writer.stdout.close()
    run()
    run()
    assert len(made) == 1


def test_other_sources_make_other_code(folder: Path, made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    monkeypatch.setattr(translation, "sources_digest", lambda: "changed")
    run()
    assert len(made) == 2 and len(list(folder.iterdir())) == 4


@pytest.mark.parametrize("target", ["x86-64", "x86-64-v2", "x86-64-v3"])
@pytest.mark.usefixtures("folder")
def test_code_for_older_cpus(made: list[str], target: str) -> None:
    """Code that counts on nothing but a CPU's name; AVX-512 and byte products are not used."""
    run()
    other = core()
    other._translator = Translator(other._engine, target=target)
    assert other.run(0).engine == "translator"
    assert "llvm.x86" not in made[1] and ("llvm.x86" in made[0]) == (
        {"avx512vnni", "avx512bw", "avx512vl"} <= cpu().enabled
    )
    reference = core("interpreter")
    reference.run(0)
    assert_equal(state_of(other), state_of(reference))


def test_a_kept_translation_loads_within_ten_milliseconds(folder: Path) -> None:
    from xattn.kernels.registry import compiled

    program = compiled("baseline", 64, 64)
    times = []
    for _ in range(6):
        each = Core(engine="translator")
        each.load(program.code)
        each.registers["lr"] = 0xFFFF0
        start = time.process_time()
        each.translator.translation(0, 0xFFFF0)
        times.append(time.process_time() - start)
    print([f"{1000 * t:.1f} ms" for t in times], len(list(folder.iterdir())))
    assert times[0] > min(times[1:])
    assert min(times[1:]) < 0.01


@pytest.mark.usefixtures("folder")
def test_threads_run_at_the_same_time_and_do_not_meet() -> None:
    results: list[tuple[int, bytes]] = []

    def work(seed: int) -> None:
        mine = core()
        mine.write_memory(DATA, bytes([seed]) * 65536)
        for _ in range(3):
            mine.registers["p0"], mine.registers["p1"] = DATA, DATA + 0x4000
            cycles = mine.run(0).cycles
        results.append((seed, mine.read_memory(DATA, 65536) + cycles.to_bytes(4, "little")))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    apart = sorted(results)
    results.clear()
    for seed in range(4):
        work(seed)
    assert sorted(results) == apart and len({data for _, data in apart}) == 4


@pytest.mark.usefixtures("folder")
def test_python_goes_on_while_native_code_runs() -> None:
    """Other threads get the interpreter lock during a run; how far two runs scale is for a quiet machine to say."""
    loop = "again:\nmul r1, r1, r2\nadd r20, r20, #-1\nadd r1, r1, r20\njnz r20, #again\nnop*5"
    mine, _ = core_for(f"movxm r20, #100000000\n.align 16\n{loop}", {"r1": 3, "r2": 5}, engine="translator")
    mine.translator.translation(0, 0xFFFF0)
    times: list[float] = []

    def work() -> None:
        start = time.perf_counter()
        assert mine.run(0, max_cycles=1 << 40).engine == "translator"
        times.extend((start, time.perf_counter()))

    thread, ticks = threading.Thread(target=work), []
    thread.start()
    while thread.is_alive():
        ticks.append(time.perf_counter())
        time.sleep(0.001)
    start, end = times
    quarter = (end - start) / 4
    assert quarter > 0.02, "too short to see anything"
    assert any(start + quarter < tick < end - quarter for tick in ticks)


def test_a_program_with_too_many_states_is_interpreted_and_not_explored_again(
    folder: Path, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    explored: list[int] = []
    follow = Explorer._follow

    def counted(self: Explorer) -> None:
        explored.append(1)
        follow(self)

    monkeypatch.setattr(Explorer, "_follow", counted)
    monkeypatch.setattr(explore, "MOST_NODES", 5)
    twin = core("translator")
    results = [twin.run(0, engine="translator") for _ in range(2)]
    assert [result.engine for result in results] == ["interpreter"] * 2 and len(explored) == 1 and made == []
    assert twin.translator.why_not == "the program has more than 5 states of the pipeline"
    assert results[0].cycles == core("interpreter").run(0, engine="interpreter").cycles
    assert not folder.exists()
