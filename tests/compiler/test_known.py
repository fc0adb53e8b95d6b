"""Known schedules: which of them the compiler takes, what becomes of damaged ones, and how files are written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from modulo_oracle import judge, registers_taken

from xattn.compiler import compile as compile_module
from xattn.compiler.compile import CompiledKernel, compile_kernel
from xattn.compiler.dependence import Edge, Graph, build_graph
from xattn.compiler.interval_bounds import least_interval
from xattn.compiler.ir import Loop, Operation
from xattn.compiler.known import KnownSchedule, ScheduleFiles, loop_key, read_entries, usable_schedules
from xattn.compiler.language import Kernel, VectorType, int8
from xattn.compiler.limits import OutOfRegistersError
from xattn.compiler.modulo import ModuloSchedule
from xattn.compiler.schedule import known_loop
from xattn.compiler.scheduled import PipelinedLoop, ScheduledSection
from xattn.errors import InputError

BLOCK = VectorType(int8, 64)


def copy(k: Kernel) -> None:
    """One loop that copies vectors: load, store, two pointer steps."""
    x, out = k.argument("x", BLOCK, (16,), bank=1), k.argument("out", BLOCK, (16,), bank=2)
    for i in k.loop(16, name="copy"):
        out[i] = x[i]


def copy_many(k: Kernel) -> None:
    """Sixteen vectors; there are twelve registers."""
    x, out = k.argument("x", BLOCK, (256,), bank=1), k.argument("out", BLOCK, (256,), bank=2)
    for i in k.loop(16, name="copy"):
        for n in range(16):
            out[16 * i + n] = x[16 * i + n]


ALONE = compile_kernel(copy, "copy")


def the_loop(kernel: CompiledKernel) -> ScheduledSection:
    [loop] = [scheduled for scheduled in kernel.sections if scheduled.section.loop is not None]
    return loop


def operations_of(scheduled: ScheduledSection) -> tuple[list[Operation], Loop]:
    assert scheduled.section.loop is not None
    return scheduled.section.operations, scheduled.section.loop


def searched() -> PipelinedLoop:
    found = the_loop(ALONE)
    assert isinstance(found, PipelinedLoop) and not found.is_known
    return found


def slower() -> ModuloSchedule:
    """One iteration after the other: every result has landed before the next one starts."""
    found = searched()
    return ModuloSchedule(64, list(found.schedule.cycles), list(found.schedule.choices))


@pytest.fixture
def no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiler's own search finds nothing."""
    monkeypatch.setattr("xattn.compiler.schedule.modulo_schedule", lambda *_: None)


def entry(schedule: ModuloSchedule | None = None, graph: Graph | None = None) -> KnownSchedule:
    return KnownSchedule.of("copy", graph or searched().graph, schedule or searched().schedule, "by hand")


# -- which schedule is taken -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_search")
def test_a_known_schedule_is_taken_where_it_is_shorter() -> None:
    schedule = searched().schedule
    asked: list[str] = []

    def known(graph: Graph) -> list[ModuloSchedule]:
        asked.append(loop_key(graph))
        return [slower(), schedule]

    without, found = compile_kernel(copy, "copy"), compile_kernel(copy, "copy", known)
    loop = the_loop(found)
    assert isinstance(loop, PipelinedLoop) and loop.is_known and loop.schedule == schedule
    assert found.code == ALONE.code != without.code
    assert loop.cycles_of_loop < the_loop(without).cycles_of_loop
    assert set(asked) == {loop_key(searched().graph)}  # however often it is asked


def test_a_known_schedule_that_is_no_shorter_changes_nothing() -> None:
    longer = ModuloSchedule(searched().schedule.interval + 1, list(searched().schedule.cycles), [])
    longer.choices = list(searched().schedule.choices)
    found = compile_kernel(copy, "copy", lambda _: [slower(), longer])
    assert found.code == ALONE.code and not the_loop(found).is_known


def test_nothing_is_searched_where_no_interval_can_be_less(monkeypatch: pytest.MonkeyPatch) -> None:
    def search(*_: object) -> None:
        raise AssertionError("searched")

    monkeypatch.setattr("xattn.compiler.schedule.modulo_schedule", search)
    assert least_interval(searched().graph).interval == searched().schedule.interval
    found = compile_kernel(copy, "copy", lambda _: [slower(), searched().schedule])
    assert the_loop(found).is_known and found.code == ALONE.code
    with pytest.raises(AssertionError, match="searched"):
        compile_kernel(copy, "copy", lambda _: [slower()])


@pytest.mark.usefixtures("no_search")
def test_more_iterations_under_way_than_trips_are_not_taken() -> None:
    cycles = list(searched().schedule.cycles)
    cycles[-1] += 16 * searched().schedule.interval
    late = ModuloSchedule(searched().schedule.interval, cycles, list(searched().schedule.choices))
    assert late.stages > 16
    found = compile_kernel(copy, "copy", lambda _: [late])
    assert not isinstance(the_loop(found), PipelinedLoop)


@pytest.mark.usefixtures("no_search")
def test_a_schedule_that_needs_too_many_registers_is_not_taken() -> None:
    graph = build_graph(*operations_of(the_loop(compile_kernel(copy_many, "copy"))))
    loads = [n for n, operation in enumerate(graph.operations) if operation.opcode.slot == "ldb"]
    stores = [n for n, operation in enumerate(graph.operations) if operation.opcode.slot == "st"]
    (step,) = {*range(len(graph.operations))} - {*loads, *stores}
    taken = {}
    for wait in (7, 20, 30):  # from a load, one each cycle, to its store
        cycles = [0] * len(graph.operations)
        for place, (load, store) in enumerate(zip(loads, stores, strict=True)):
            cycles[load], cycles[store] = place, place + wait
        cycles[step] = max(cycles)
        choices = [0] * len(cycles)
        choices[step] = next(n for n, timing in enumerate(graph.timings[step]) if timing.slot == "lda")
        late = ModuloSchedule(len(loads), cycles, choices)
        judge(graph, late)
        need = registers_taken(graph, late, frozenset())["x"]
        loop = the_loop(compile_kernel(copy_many, "copy", lambda _, late=late: [late]))
        taken[need] = isinstance(loop, PipelinedLoop) and loop.is_known
    assert len(taken) == 3 and {True, False} == set(taken.values()), taken
    assert all(known == (need <= 12) for need, known in taken.items()), taken


@pytest.mark.usefixtures("no_search")
def test_known_schedules_go_first_when_registers_or_memory_run_out(monkeypatch: pytest.MonkeyPatch) -> None:
    schedule, without = searched().schedule, compile_kernel(copy, "copy")

    def known(_: Graph) -> list[ModuloSchedule]:
        return [schedule]

    def allocate(sections: list[ScheduledSection], *others: object) -> object:
        if any(isinstance(section, PipelinedLoop) and section.is_known for section in sections):
            raise OutOfRegistersError("no register is left", "x")
        return original(sections, *others)

    original = compile_module.allocate
    with monkeypatch.context() as patch:
        patch.setattr(compile_module, "allocate", allocate)
        assert compile_kernel(copy, "copy", known).code == without.code
    with monkeypatch.context() as patch:
        patch.setattr(compile_module, "PROGRAM_MEMORY_BYTES", len(without.code))
        assert len(ALONE.code) > len(without.code)
        assert compile_kernel(copy, "copy", known).code == without.code
    assert compile_kernel(copy, "copy", known).code == ALONE.code


# -- keys ------------------------------------------------------------------------------------------------------------


def test_the_key_is_that_of_the_loop_alone() -> None:
    graph = searched().graph
    key = loop_key(graph)
    again = the_loop(compile_kernel(copy, "other"))
    assert loop_key(again.graph) == key  # other virtual registers, the same loop
    edge = graph.edges[0]
    slower_edge = Edge(edge.source, edge.target, edge.latency + 1, edge.distance)
    timing = graph.timings[0][0]
    other = replace(timing, ports=(*timing.ports, ("bank 3", 4, True)))
    assert loop_key(Graph(graph.operations, graph.timings, [slower_edge, *graph.edges[1:]])) != key
    assert loop_key(Graph(graph.operations, [(other, *graph.timings[0][1:]), *graph.timings[1:]], graph.edges)) != key
    assert loop_key(the_loop(compile_kernel(copy_many, "copy")).graph) != key


def test_the_key_is_the_same_in_every_process() -> None:
    code = "import test_known as t; print(t.loop_key(t.searched().graph))"
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == loop_key(searched().graph)


# -- files -----------------------------------------------------------------------------------------------------------


def test_what_is_stored_is_found_again(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "schedules"
    assert ScheduleFiles(folder).schedules(searched().graph) == []
    first = ScheduleFiles(folder)
    first.store("copy", (16, 64), [entry(), entry(slower())])
    files = ScheduleFiles(folder)
    assert files != first and files == ScheduleFiles(folder) and hash(files) == hash(ScheduleFiles(folder))
    assert files.schedules(searched().graph) == [searched().schedule, slower()]
    assert files.schedules(the_loop(compile_kernel(copy_many, "copy")).graph) == []
    assert [path.name for path in folder.iterdir()] == ["copy-16x64.json"]
    assert len((folder / "copy-16x64.json").read_text().splitlines()) == 4  # one entry a line
    files.store("copy", (16, 64), [])
    assert list(folder.iterdir()) == [] and ScheduleFiles(folder).entries == []


@pytest.mark.parametrize("interrupted", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_write_leaves_the_old_file(
    interrupted: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ScheduleFiles(tmp_path).store("copy", (16, 64), [entry()])
    before = (tmp_path / "copy-16x64.json").read_bytes()

    def interrupt(*_: object) -> None:
        raise interrupted

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(interrupted):
        ScheduleFiles(tmp_path).store("copy", (16, 64), [entry(slower())])
    assert [path.name for path in tmp_path.iterdir()] == ["copy-16x64.json"]
    assert (tmp_path / "copy-16x64.json").read_bytes() == before


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "schedules").write_text("a file")
    with pytest.raises(InputError, match=r"cannot keep schedules in .*copy-16x64\.json: "):
        ScheduleFiles(tmp_path / "schedules").store("copy", (16, 64), [entry()])


def _damaged(document: list[dict[str, Any]]) -> st.SearchStrategy[bytes]:
    """A file of schedules with something wrong: numbers, fields, lengths, or bytes."""
    numbers = st.one_of(st.integers(-3, 80), st.sampled_from([10**9, -(10**9), 10**30]))
    good = document[0]

    @st.composite
    def changed(draw: st.DrawFn) -> bytes:
        fields = json.loads(json.dumps(good))
        for field in draw(st.lists(st.sampled_from(["interval", "cycles", "choices"]), min_size=1, max_size=3)):
            if field == "interval":
                fields[field] = draw(numbers)
            elif draw(st.booleans()):
                place = draw(st.integers(0, len(good[field]) - 1))
                fields[field] = list(good[field])
                fields[field][place : place + 1] = draw(st.lists(numbers, max_size=2))
            else:
                fields[field] = draw(
                    st.one_of(st.none(), st.text(max_size=3), st.lists(st.integers(0, 20), max_size=6))
                )
        return json.dumps([fields, draw(st.one_of(st.none(), st.just(good), st.integers()))]).encode()

    text = json.dumps(document).encode()
    cut = st.integers(0, len(text) - 1).map(lambda end: text[:end])
    flipped = st.tuples(st.integers(0, len(text) - 1), st.integers(0, 255)).map(
        lambda at: text[: at[0]] + bytes([at[1]]) + text[at[0] + 1 :]
    )
    return st.one_of(changed(), cut, flipped, st.binary(max_size=40))


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_a_file_holds_only_legal_schedules_are_used(data: st.DataObject, tmp_path: Path) -> None:
    good = json.loads(msgspec.json.encode(entry()))
    (tmp_path / "copy-16x64.json").write_bytes(data.draw(_damaged([good])))
    files = ScheduleFiles(tmp_path)
    for schedule in files.schedules(searched().graph):
        if max(schedule.cycles) < 10_000:
            judge(searched().graph, schedule)
    found = known_loop(searched(), files.schedules, lambda _: True)
    assert found is None or found.cycles_of_loop < searched().cycles_of_loop


@pytest.mark.usefixtures("no_search")
@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"nonsense", b"\xff\xfe", b'[{"loop": 1}]', b"["])
def test_a_damaged_file_changes_nothing(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "copy-16x64.json").write_bytes(content)
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "nowhere.json").symlink_to(tmp_path / "no such file")
    without = compile_kernel(copy, "copy")
    assert read_entries(tmp_path / "copy-16x64.json") == []
    (tmp_path / "deep.json").write_bytes(b"[" * 100_000)
    assert read_entries(tmp_path / "deep.json") == []
    assert compile_kernel(copy, "copy", ScheduleFiles(tmp_path).schedules).code == without.code


def test_entries_of_other_loops_do_not_count() -> None:
    other = the_loop(compile_kernel(copy_many, "copy")).graph
    wrong_key = entry(graph=other)
    assert usable_schedules(searched().graph, [wrong_key]) == []
    assert usable_schedules(other, [wrong_key]) == []  # its key, and another loop's schedule
    assert usable_schedules(searched().graph, [entry()]) == [searched().schedule]
