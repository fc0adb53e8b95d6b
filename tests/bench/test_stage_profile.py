"""A profile beside the simulator's own counters, and its trace and flame graph beside the formats' descriptions."""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from bench_cases import two_stages

from xattn.bench import cut_tile, synthetic_activations
from xattn.bench.profile import Profile, Recording, as_json, as_text, profile_kernel
from xattn.bench.profile.chrome import chrome_trace
from xattn.bench.profile.loops import LoopPlace, loops_of, paths_at
from xattn.bench.profile.recording import Recorder, Slice, Span, Stall
from xattn.bench.profile.speedscope import speedscope_file
from xattn.bench.stages import stage_cycles
from xattn.compiler.compile import compile_kernel
from xattn.compiler.ir import Array, Stage
from xattn.devices import Simulator
from xattn.isa.codec import Bundle
from xattn.isa.timing import FETCH_BYTES
from xattn.kernels.registry import compiled, kernel_spec
from xattn.numerics.compat import DEFAULT_SHIFT
from xattn.sim.core import Core, Pointer

CLOCK = 1.25e9  # a cycle is 0.8 ns

Measured = tuple[Profile, Recording]


@pytest.fixture(scope="module", params=["vectorized_pv", "baseline"])
def measured(request: pytest.FixtureRequest) -> Measured:
    return profile_kernel(request.param, 16, 16, CLOCK)


# --- figures --------------------------------------------------------------------------------------------------------


def test_the_figures_are_those_that_the_core_counts(measured: Measured) -> None:
    """The recorder follows the trace; the core counts bundles and stalls by itself."""
    profile, recording = measured
    tile = cut_tile(synthetic_activations(0), 0, 16, 16)
    device = Simulator().load(kernel_spec(profile.name), 16, 16)
    result = device.run(tile.q, tile.k, tile.v, DEFAULT_SHIFT)
    counts = device.core.counts
    assert profile.exact and profile.findings == []
    assert profile.stages.cycles == recording.cycles == result.cycles
    assert profile.stall_cycles == result.stalls == recording.stalls_at.total()
    assert recording.executed == {address: count.executed for address, count in counts.items()}
    assert recording.stalls_at == Counter({a: count.stalled for a, count in counts.items() if count.stalled})
    assert profile.stages == stage_cycles(compiled(profile.name, 16, 16), result.cycles_at, recording.stalls_at)
    assert profile.seconds == pytest.approx(result.cycles / CLOCK)


def test_spans_follow_one_another_and_hold_every_cycle(measured: Measured) -> None:
    profile, recording = measured
    spans = recording.spans
    assert spans[0].first == 0 and spans[-1].behind == recording.cycles
    for before, after in itertools.pairwise(spans):
        assert before.behind == after.first and (before.path, before.stages) != (after.path, after.stages)
    for stage in profile.stages.stages:
        of_it = [s for s in spans if stage.name in {each.name for each in s.stages}]
        assert sum(s.behind - s.first for s in of_it) == stage.cycles
        slices = [s for _, s in recording.stage_slices(lambda each, n=stage.name: n if each.name == n else None)]
        assert sum(s.active for s in slices) == stage.cycles
        assert all(a.behind <= b.first for a, b in itertools.pairwise(slices))


def test_loops_are_entered_as_often_as_their_trips_say(measured: Measured) -> None:
    profile, recording = measured
    entered = Counter(name for _, name, _, _ in recording.loop_slices())
    if profile.name == "baseline":  # 16 rows; of each two groups of eight keys, and sixteen columns
        assert entered == {
            "rows": 1, "key groups": 16, "keys": 32, "dot": 256, "max": 16, "exp": 16, "normalise": 16,
            "columns": 16, "weighted sum": 256,
        }  # fmt: skip
    else:
        assert entered["rows"] == 2  # of softmaxes, and of the output
        assert entered["max"] == entered["exp"] == entered["normalise"] == 16
    for (depth, _, _, outer), (inner_depth, _, _, inner) in itertools.pairwise(recording.loop_slices()):
        assert inner_depth <= depth + 1
        if inner_depth > depth:
            assert outer.first <= inner.first < inner.behind <= outer.behind


def test_loops_of_a_program_are_those_of_its_source() -> None:
    program = compiled("baseline", 16, 16)
    loops = {loop.name: loop for loop in loops_of(program)}
    assert loops["dot"].hardware and not loops["rows"].hardware
    assert loops["dot"].where.startswith("scalar_attention.py:") and loops["rows"].where.startswith("baseline.py:")
    paths = paths_at(program)
    assert [loop.name for loop in paths[loops["dot"].first]] == ["rows", "key groups", "keys", "dot"]
    assert paths[0] == () and paths[len(program.code) - FETCH_BYTES] == ()


def test_stages_in_one_loop_are_under_way_at_once() -> None:
    program = compile_kernel(two_stages, "two")
    (loop,) = loops_of(program)
    recorder = Recorder(program)
    for cycle, bundle in enumerate(program.bundles):  # straight through, as if nothing looped
        recorder.step(cycle, cycle * FETCH_BYTES, bundle)
    recording = recorder.finish(len(program.bundles))
    times = defaultdict(list)
    for name, time in recording.stage_slices(lambda stage: stage.name):
        times[name].append(time)
    first, behind = loop.first // FETCH_BYTES, loop.behind // FETCH_BYTES
    (one,), (other,) = (
        [time for time in times[name] if first < time.behind and time.first < behind] for name in ("in", "out")
    )
    assert one.first < other.first < one.behind <= other.behind <= behind


def test_a_recording_by_hand() -> None:
    """Stalls are the gaps between bundles; a stage in a loop lasts from its first to its last cycle there."""
    outer = LoopPlace("outer", "k.py", 1, 0, 96, hardware=False)
    inner = LoopPlace("inner", "k.py", 2, 16, 64, hardware=True)
    a, b = Stage("a"), Stage("b")
    spans = [
        Span(0, 2, (outer,), frozenset([a])),
        Span(2, 4, (outer, inner), frozenset([a])),
        Span(4, 5, (outer, inner), frozenset([b])),
        Span(5, 9, (outer, inner), frozenset([a, b])),
        Span(9, 10, (outer,), frozenset()),
        Span(10, 12, (outer, inner), frozenset([a])),
        Span(12, 13, (), frozenset([b])),
    ]
    recording = Recording(13, spans, [Stall(3, 4, 16)], {})
    assert sorted(recording.stage_slices(lambda stage: stage.name), key=lambda item: (item[0], item[1].first)) == [
        ("a", Slice(0, 9, 8)),
        ("a", Slice(10, 12, 2)),
        ("b", Slice(4, 9, 5)),
        ("b", Slice(12, 13, 1)),
    ]
    assert [(name, time.first, time.behind) for _, name, _, time in recording.loop_slices()] == [
        ("outer", 0, 12),
        ("inner", 2, 9),
        ("inner", 10, 12),
    ]


def test_stalls_of_a_run_are_those_that_the_core_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler that does not know of banks puts both arrays in one, where loads and stores of one loop meet."""

    def badly_placed(arrays: Iterable[Array]) -> dict[str, int]:
        return {array.name: 0x74000 + 0x1000 * place for place, array in enumerate(arrays)}

    monkeypatch.setattr("xattn.compiler.compile.place_arrays", badly_placed)
    program = compile_kernel(two_stages, "meeting")
    recorder = Recorder(program)
    core = Core(trace=recorder.step)
    core.load(program.code)
    core.write_memory(program.addresses["a"], bytes(64 * 8))
    result = core.call(0, [Pointer(program.addresses[name]) for name in program.arguments])
    recording = recorder.finish(result.cycles)
    assert result.bank_stalls > 2
    assert recording.stalls_at == Counter({a: c.stalled for a, c in core.counts.items() if c.stalled})
    found = stage_cycles(program, recording.cycles_at, recording.stalls_at)
    assert found.cycles == result.cycles and all(stage.waiting >= 2 for stage in found.stages)


def test_stalls_are_gaps_between_bundles() -> None:
    program = compiled("qkt", 16, 16)
    recorder = Recorder(program)
    nothing: Bundle = program.bundles[0]
    for cycle, address in ((100, 0), (101, 16), (104, 32), (105, 48)):
        recorder.step(cycle, address, nothing)
    recording = recorder.finish(8)
    assert recording.stalls == [Stall(2, 4, 16), Stall(6, 8, 48)]
    assert recording.cycles_at == {0: 1, 16: 3, 32: 1, 48: 3}


# --- text and JSON --------------------------------------------------------------------------------------------------


def test_the_text_shows_every_stage_and_part(measured: Measured) -> None:
    profile, _ = measured
    text = as_text(profile)
    assert "simulated" in text and "at 1.25 GHz" in text and "µs" in text
    for stage in profile.stages.stages:
        assert any(line.startswith(stage.name) and f"{stage.cycles:,}" in line for line in text.splitlines())
    for part in ("max", "exp", "sum", "normalise"):
        assert f"\n  {part}  " in text
    rows = [line for line in text.splitlines() if line.startswith(("at once", "no stage"))]
    assert len(rows) == len(profile.stages.overlaps) + 1
    wrong = msgspec.structs.replace(profile, exact=False, findings=["a finding"])
    assert "THE OUTPUT IS WRONG" in as_text(wrong) and "finding: a finding" in as_text(wrong)


def test_json_has_the_whole_profile(measured: Measured) -> None:
    profile, _ = measured
    assert msgspec.json.decode(as_json(profile), type=Profile) == profile


# --- Trace Event Format ---------------------------------------------------------------------------------------------
# Its description: github.com/catapult-project/catapult, tracing, "Trace Event Format" (JSON object format, complete
# events, metadata events). Slices of one track must lie in each other or apart.


def check_trace(contents: bytes) -> dict[str, list[dict[str, Any]]]:
    """What is wrong fails; the complete events by the name of their track."""
    trace = json.loads(contents)
    assert set(trace) <= {"traceEvents", "displayTimeUnit", "otherData"}
    assert trace["displayTimeUnit"] in ("ms", "ns")
    names: dict[int, str] = {}
    slices: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for event in trace["traceEvents"]:
        assert isinstance(event["pid"], int) and isinstance(event["tid"], int) and isinstance(event["name"], str)
        assert isinstance(event["ts"], (int, float)) and event["ts"] >= 0
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name", "thread_sort_index")
            if event["name"] == "thread_name":
                names[event["tid"]] = event["args"]["name"]
        else:
            assert event["ph"] == "X" and event["dur"] >= 0 and isinstance(event["args"], dict)
            assert isinstance(event["cat"], str)
            slices[event["tid"]].append(event)
    assert set(slices) <= set(names), "a track without a name"
    for events in slices.values():
        check_nesting(events)
    return {name: slices[number] for number, name in names.items()}


def check_nesting(events: list[dict[str, Any]]) -> None:
    ends: list[float] = []
    for event in sorted(events, key=lambda e: (e["ts"], -e["dur"])):
        while ends and ends[-1] <= event["ts"] + 1e-9:
            ends.pop()
        assert not ends or event["ts"] + event["dur"] <= ends[-1] + 1e-9, "slices that overlap without nesting"
        ends.append(event["ts"] + event["dur"])


def test_the_trace_is_of_the_documented_format(measured: Measured) -> None:
    profile, recording = measured
    tracks = check_trace(chrome_trace(profile, recording))
    assert list(tracks)[:2] == ["call", "loops"] and list(tracks)[-1] == "stalls"
    assert {"Q·Kᵀ", "softmax", "softmax: max", "softmax: exp", "P·V"} <= set(tracks)
    (call,) = tracks["call"]
    assert call["dur"] == pytest.approx(profile.stages.cycles * 0.8e-3)  # µs
    for stage in profile.stages.stages:
        assert sum(event["args"]["active_cycles"] for event in tracks[stage.name]) == stage.cycles
    for events in tracks.values():
        for event in events:
            assert event["ts"] == pytest.approx(event["args"]["first_cycle"] * 0.8e-3)
            assert event["dur"] == pytest.approx(event["args"]["cycles"] * 0.8e-3)
    assert sum(event["args"]["cycles"] for event in tracks["stalls"]) == profile.stall_cycles


def test_stalls_have_a_track() -> None:
    profile, recording = profile_kernel("qkt", 16, 16, CLOCK)
    recording.stalls.append(Stall(5, 9, 64))
    (stall,) = check_trace(chrome_trace(profile, recording))["stalls"]
    assert stall["ts"] == pytest.approx(4e-3) and stall["dur"] == pytest.approx(3.2e-3)
    assert stall["args"] == {"first_cycle": 5, "cycles": 4, "bundle": "0x40"}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda event: event.pop("ts"),
        lambda event: event.update(ph="Z"),
        lambda event: event.update(dur=-1),
        lambda event: event.update(ts=event["ts"] + event["dur"] / 2),
        lambda event: event.update(tid=99),
    ],
)
def test_the_check_of_traces_sees(spoil: Any) -> None:
    profile, recording = profile_kernel("qkt", 32, 32, CLOCK)
    trace = json.loads(chrome_trace(profile, recording))
    event = next(e for e in trace["traceEvents"] if e["ph"] == "X" and e["tid"] == 2)
    outer = {**event, "ts": event["ts"], "dur": event["dur"]}
    spoil(event)
    trace["traceEvents"].append(outer)
    with pytest.raises((AssertionError, KeyError)):
        check_trace(json.dumps(trace).encode())


# --- speedscope -----------------------------------------------------------------------------------------------------
# Its description: github.com/jlfwong/speedscope, "Importing from custom sources" and file-format-spec.ts.


def check_speedscope(contents: bytes) -> list[dict[tuple[str, ...], float]]:
    """What is wrong fails; for each profile the time by stack."""
    file = json.loads(contents)
    assert file["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    assert set(file) <= {"$schema", "shared", "profiles", "name", "activeProfileIndex", "exporter"}
    frames = file["shared"]["frames"]
    for frame in frames:
        assert set(frame) <= {"name", "file", "line", "col"} and isinstance(frame["name"], str)
        assert isinstance(frame.get("line", 1), int)
    assert 0 <= file["activeProfileIndex"] < len(file["profiles"])
    return [_check_evented(profile, frames) for profile in file["profiles"]]


def _check_evented(profile: dict[str, Any], frames: list[dict[str, Any]]) -> dict[tuple[str, ...], float]:
    assert set(profile) == {"type", "name", "unit", "startValue", "endValue", "events"}
    assert profile["type"] == "evented"
    assert profile["unit"] in ("none", "nanoseconds", "microseconds", "milliseconds", "seconds", "bytes")
    now, stack, times = profile["startValue"], [], defaultdict(float)
    for event in profile["events"]:
        assert set(event) == {"type", "frame", "at"} and 0 <= event["frame"] < len(frames)
        assert now <= event["at"] <= profile["endValue"]
        times[tuple(frames[frame]["name"] for frame in stack)] += event["at"] - now
        now = event["at"]
        if event["type"] == "O":
            stack.append(event["frame"])
        else:
            assert event["type"] == "C" and stack.pop() == event["frame"], "closed in another order than opened"
    assert not stack and now == profile["endValue"]
    return times


def test_the_flame_graph_is_of_the_documented_format(measured: Measured) -> None:
    profile, recording = measured
    by_stage, by_loop = check_speedscope(speedscope_file(profile, recording))
    for times in (by_stage, by_loop):
        assert sum(times.values()) == pytest.approx(profile.stages.cycles * 0.8)  # ns
    for stage in profile.stages.stages:
        alone = sum(time for stack, time in by_stage.items() if stack[1:2] == (stage.name,))
        assert alone == pytest.approx(stage.alone * 0.8)
    entered = {name for _, name, _, _ in recording.loop_slices()}
    assert entered == {frame[5:] for stack in by_loop for frame in stack if frame.startswith("loop ")}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda events: events.pop(),
        lambda events: events[1].update(at=events[-1]["at"] + 1),
        lambda events: events[1].update(frame=1000),
        lambda events: events[0].update(type="C"),
    ],
)
def test_the_check_of_flame_graphs_sees(spoil: Any) -> None:
    file = json.loads(speedscope_file(*profile_kernel("qkt", 16, 16, CLOCK)))
    spoil(file["profiles"][0]["events"])
    with pytest.raises((AssertionError, IndexError)):
        check_speedscope(json.dumps(file).encode())
