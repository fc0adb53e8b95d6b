"""The NPU device against a pretended pyxrt: every call right, every failure in words; no NPU has a part in it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from device_cases import SIDE, operands
from fake_pyxrt import CONTEXTS, Bo, Direction, Fake, Flags, Kernel, State

from xattn.array.instructions import InstructionStream, read_instructions, write_instructions
from xattn.build.artifacts import make_artifacts
from xattn.build.images import build_images
from xattn.build.manifest import BuildRequest
from xattn.devices import KernelFaultError, npu_program
from xattn.devices.npu import Npu, NpuKernel
from xattn.devices.npu_program import NpuProgram
from xattn.devices.xrt import NpuUnavailableError
from xattn.errors import FileFormatError, InputError, XattnError
from xattn.kernels.registry import kernel_spec
from xattn.numerics.sound import SoundState

TO, FROM = Direction.XCL_BO_SYNC_BO_TO_DEVICE, Direction.XCL_BO_SYNC_BO_FROM_DEVICE
INSTRUCTION_GROUP, DATA_GROUP = 0x10001, 0x10000  # slot 1; bank 1 is SRAM, bank 0 HOST


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    machine = Fake()
    monkeypatch.setitem(sys.modules, "pyxrt", machine.module)
    return machine


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build of qkt for shift 5."""
    path = tmp_path_factory.mktemp("built")
    for name, data in make_artifacts(BuildRequest("qkt", "tile", SIDE, SIDE, (("shift", 5),))).items():
        (path / name).write_bytes(data)
    return path


def qkt(**options: float) -> NpuKernel:
    return Npu(**options).load(kernel_spec("qkt"), SIDE, SIDE)  # type: ignore[arg-type]


def is_exact(kernel: NpuKernel, seed: int = 1, shift: int = 4) -> bool:
    q, k, v = operands(seed)
    return np.array_equal(kernel.run(q, k, v, shift).output, kernel.spec.model(q, k, v, shift))


# --- what is called -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "design"), [("qkt", "array16"), ("matmul_int8", "columns4"), ("baseline", "tile")])
def test_every_design_is_exact(name: str, design: str, fake: Fake) -> None:
    kernel = Npu(design).load(kernel_spec(name), SIDE, SIDE)
    random = np.random.default_rng(3)
    q, k, v = (random.integers(-128, 128, (2 * n, SIDE, SIDE)).astype(np.int8) for n in kernel.blocks.values())
    for shift in (4, 6):
        result = kernel.run_blocks(q, k, v, shift)
        expected = [
            kernel.spec.model(q[n], k[n * len(k) // len(q)], v[n * len(v) // len(q)], shift) for n in range(len(q))
        ]
        assert np.array_equal(result.outputs, np.stack(expected))
        assert len(result.seconds) == len(result.host_seconds) == 2 and min(result.seconds + result.host_seconds) > 0
    assert fake.names().count("hw_context") == (2 if name != "matmul_int8" else 1)  # a shift is part of the program
    assert kernel.device_name == "NPU Phoenix"


def test_the_calls_of_a_run_are_those_that_work(fake: Fake) -> None:
    """Groups, flags, opcode and order as recorded of runs on real NPUs."""
    kernel = qkt()
    assert fake.calls == [], "loading is no use of the NPU"
    assert is_exact(kernel)
    stream = build_images("qkt", "tile", SIDE, SIDE, {"shift": 4}).instructions
    assert [call[0] for call in fake.calls[:5]] == ["device", "xclbin", "register_xclbin", "hw_context", "kernel"]
    assert ("kernel", "MLIR_AIE") in fake.calls
    made = [call[1:] for call in fake.calls if call[0] == "bo"]
    data = (SIDE * SIDE, Flags.host_only, DATA_GROUP)
    assert made == [(len(stream), Flags.cacheable, INSTRUCTION_GROUP), data, data, data]
    (run,) = (call for call in fake.calls if call[0] == "run")
    assert run[1] == 3 and run[3] == len(stream) and len(run) == 7
    at = fake.calls.index(run)
    _, _, instructions, _, q, k, out = run
    before, after = fake.calls[:at], fake.calls[at + 1 :]
    assert [call for call in before if call[0] in ("write", "sync")] == [
        ("write", instructions, stream),
        ("sync", instructions, TO),
        *(
            step
            for bo, data in zip((q, k, out), (operands(1)[0], operands(1)[1], b"\0" * SIDE * SIDE), strict=True)
            for step in (("write", bo, bytes(data)), ("sync", bo, TO))
        ),
    ]
    assert after == [("wait", 10_000), ("sync", out, FROM), ("read", out)]


def test_a_second_run_takes_the_same_buffers_and_sends_no_instructions(fake: Fake) -> None:
    kernel = qkt()
    assert is_exact(kernel, 1)
    made = fake.names().count("bo")
    fake.calls.clear()
    assert is_exact(kernel, 2)
    assert made == 4 and fake.names() == ["write", "sync"] * 3 + ["run", "wait", "sync", "read"]


def test_each_run_in_flight_has_buffers_of_its_own(fake: Fake, folder: Path) -> None:
    program = NpuProgram(folder / "qkt_tile.xclbin", (folder / "insts.bin").read_bytes(), outputs={2})
    size = SIDE * SIDE
    given = [[*(array.tobytes() for array in operands(seed)[:2]), bytes(size)] for seed in range(3)]
    first, second = program.start(given[0]), program.start(given[1])
    results = [first.finish(), second.finish(), program.run(given[2])]
    for seed, result in enumerate(results):
        expected = kernel_spec("qkt").model(*operands(seed), 5)
        assert result.buffers == (*given[seed][:2], expected.tobytes())
    again = [program.start(given[0]), program.start(given[1])]
    assert [run.finish().buffers for run in again] == [result.buffers for result in results[:2]]
    runs = [set(map(id, call[4:])) for call in fake.calls if call[0] == "run"]
    assert not runs[0] & runs[1] and runs[2] in (runs[0], runs[1])
    assert not runs[3] & runs[4]
    assert fake.names().count("bo") == 1 + 2 * 3


def _skip_sync(direction: Direction) -> Callable[[pytest.MonkeyPatch], None]:
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        real = Bo.sync
        monkeypatch.setattr(Bo, "sync", lambda bo, way: None if way is direction else real(bo, way))

    return patch


def _call(change: Callable[[list], list]) -> Callable[[pytest.MonkeyPatch], None]:
    """The kernel called with other arguments than opcode, instructions, size, buffers."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        real = Kernel.__call__
        monkeypatch.setattr(Kernel, "__call__", lambda kernel, *arguments: real(kernel, *change(list(arguments))))

    return patch


def _flag(data: Flags, instructions: Flags) -> Callable[[pytest.MonkeyPatch], None]:
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        real = NpuProgram._buffer
        monkeypatch.setattr(
            NpuProgram,
            "_buffer",
            lambda program, size, _flag, argument: real(
                program, size, instructions if argument == 1 else data, argument
            ),
        )

    return patch


def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    real = NpuProgram._buffer
    monkeypatch.setattr(NpuProgram, "_buffer", lambda program, size, *rest: real(program, size // 2, *rest))


MISTAKES = {
    "opcode": lambda patch: patch.setattr(npu_program, "OPCODE", 2),
    "group of data": lambda patch: patch.setattr(npu_program, "_FIRST_BUFFER", 1),
    "group of instructions": lambda patch: patch.setattr(npu_program, "_INSTRUCTIONS", 3),
    "flag of data": _flag(Flags.cacheable, Flags.cacheable),
    "flag of instructions": _flag(Flags.host_only, Flags.host_only),
    "order of buffers": _call(lambda items: [*items[:3], *items[:2:-1]]),
    "order of arguments": _call(lambda items: [*items[1:], items[0]]),
    "no opcode": _call(lambda items: items[1:]),
    "too few buffers": _call(lambda items: items[:-1]),
    "too many buffers": _call(lambda items: [*items, items[-1]]),
    "wrong size of instructions": _call(lambda items: [*items[:2], items[2] // 4, *items[3:]]),
    "no sync to the device": _skip_sync(TO),
    "no sync from the device": _skip_sync(FROM),
    "buffers too small": _small,
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_pretended_npu_notices(mistake: str, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of these mistakes makes the tests above fail: by an error, or by wrong data."""
    MISTAKES[mistake](monkeypatch)
    with contextlib.suppress(XattnError):
        assert not is_exact(qkt())
    assert "device" in fake.names()


# --- what can go wrong ----------------------------------------------------------------------------------------------


def test_without_pyxrt_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyxrt", None)
    with pytest.raises(NpuUnavailableError, match=r"pyxrt, the Python module of AMD's XRT, .*xattn doctor"):
        is_exact(qkt())


@pytest.mark.parametrize(
    ("call", "said", "meaning"),
    [
        ("device", "No such device with index '0'", "XRT sees no NPU; `xattn doctor`"),
        ("device", "open /dev/accel/accel0 failed: Permission denied", "join the group that owns /dev/accel"),
        ("device", "mmap(len=67108864) failed (err=-11): Resource temporarily unavailable", "ulimit -l"),
        ("hw_context", "DRM_IOCTL_AMDXDNA_CREATE_HWCTX IOCTL failed (err=-22): Invalid argument", "may not fit"),
        ("hw_context", "Incompatible firmware protocol major 6 minor 1", "firmware, driver and XRT may not fit"),
        ("hw_context", "DRM_IOCTL_AMDXDNA_CREATE_HWCTX IOCTL failed (err=-2)", "contexts may be taken"),
        ("register_xclbin", "something else", "`xattn doctor`"),
        ("bo", "Cannot allocate memory", "ulimit -l"),
        ("run", "bad command", "submitting a run failed: bad command"),
    ],
)
def test_what_xrt_says_is_explained(call: str, said: str, meaning: str, fake: Fake) -> None:
    fake.fails[call] = said
    with pytest.raises(NpuUnavailableError) as caught:
        is_exact(qkt())
    assert said in str(caught.value) and meaning in str(caught.value) and "\n" not in str(caught.value)


def test_another_device_number_is_asked_for(fake: Fake) -> None:
    with pytest.raises(NpuUnavailableError, match="opening XRT device 1 failed: No such device"):
        is_exact(qkt(device=1))
    assert fake.calls == [("device", 1)]


@pytest.mark.parametrize("name", ["NPU Strix", "NPU Strix Halo", "RyzenAI-npu6", "NPU Krackan 1"])
def test_an_xdna2_is_refused_before_anything_is_loaded(name: str, fake: Fake) -> None:
    fake.name = name
    with pytest.raises(NpuUnavailableError, match="XDNA2"):
        is_exact(qkt())
    assert fake.names() == ["device"]


@pytest.mark.parametrize("state", [State.ERT_CMD_STATE_ERROR, State.ERT_CMD_STATE_ABORT])
def test_any_state_but_completed_is_a_fault(state: State, fake: Fake) -> None:
    kernel = qkt()
    assert is_exact(kernel)
    fake.states = [state]
    with pytest.raises(KernelFaultError, match=f"ended in state {state.name}, not COMPLETED"):
        is_exact(kernel)
    assert fake.names()[-1] == "wait", "what a failed run left is no result"
    with pytest.raises(InputError, match="load it anew"):
        is_exact(kernel)


@pytest.mark.parametrize("state", [State.ERT_CMD_STATE_TIMEOUT, State.ERT_CMD_STATE_NEW])
def test_a_run_without_end_is_given_up(state: State, fake: Fake) -> None:
    fake.states = [state]
    kernel = qkt(timeout=0.25)
    with pytest.raises(KernelFaultError, match=r"not ended within 0.25 s \(state ERT_CMD_STATE_"):
        is_exact(kernel)
    assert fake.calls[-1] == ("wait", 250)
    kernel.close()
    assert is_exact(kernel), "a new context runs"


def test_contexts_are_few_and_given_back(fake: Fake) -> None:
    kernels = [qkt() for _ in range(CONTEXTS + 1)]
    assert all(map(is_exact, kernels[:-1]))
    with pytest.raises(NpuUnavailableError, match="an XDNA1 has 6"):
        is_exact(kernels[-1])
    kernels[0].close()
    assert is_exact(kernels[-1]) and len(fake.contexts) == CONTEXTS


def test_files_of_two_builds_are_refused(fake: Fake, folder: Path, tmp_path: Path) -> None:
    xclbin, stream = folder / "qkt_tile.xclbin", (folder / "insts.bin").read_bytes()
    with pytest.raises(InputError, match=r"uses 256 bytes of host buffer \d, and there are 256, 256, 128"):
        NpuProgram(xclbin, stream, [256, 256, 128])
    with pytest.raises(InputError, match=r"4 host buffers are used, and qkt_tile\.xclbin declares 3"):
        NpuProgram(xclbin, stream, [256] * 4)
    with pytest.raises(FileFormatError, match=r"none\.xclbin: No such file"):
        NpuProgram(tmp_path / "none.xclbin", stream)
    with pytest.raises(InputError, match="host buffers of 256, 256 bytes; this program was loaded for 256, 256, 256"):
        NpuProgram(xclbin, stream).start([bytes(256)] * 2)
    assert "run" not in fake.names()


def test_an_empty_stream_uses_no_buffers(fake: Fake, folder: Path) -> None:
    empty = write_instructions(InstructionStream((), read_instructions((folder / "insts.bin").read_bytes()).columns))
    with NpuProgram(folder / "qkt_tile.xclbin", empty) as program:
        assert program.run([]).buffers == ()
    assert len(fake.contexts) == 0


# --- folders of builds ----------------------------------------------------------------------------------------------


def test_a_folder_runs_as_it_was_built(fake: Fake, folder: Path) -> None:
    kernel = Npu("array16").load_folder(folder)
    assert (kernel.design, kernel.spec.name) == ("tile", "qkt")
    assert is_exact(kernel, shift=5)
    assert ("xclbin", str(folder / "qkt_tile.xclbin")) in fake.calls
    with pytest.raises(InputError, match="the folder's program shifts by 5, not by 4: build it with -D shift=4"):
        is_exact(kernel, shift=4)


def test_a_folder_with_a_file_of_another_build_is_refused(fake: Fake, folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "insts.bin").write_bytes(build_images("qkt", "columns4", SIDE, SIDE).instructions)
    with pytest.raises(FileFormatError, match=r"insts\.bin is not the file that was built"):
        Npu().load_folder(tmp_path)
    (tmp_path / "insts.bin").unlink()
    with pytest.raises(FileFormatError, match=r"insts\.bin: No such file.*xattn build"):
        Npu().load_folder(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(FileFormatError, match="no manifest"):
        Npu().load_folder(tmp_path)
    with pytest.raises(FileFormatError, match=r"manifest\.json: No such file"):
        Npu().load_folder(tmp_path / "nothing")
    assert fake.calls == []


def test_a_folder_whose_buffers_are_others_is_refused(fake: Fake, folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    manifest = (tmp_path / "manifest.json").read_text()
    (tmp_path / "manifest.json").write_text(
        manifest.replace('"bytes": 256,\n   "blocks"', '"bytes": 512,\n   "blocks"', 1)
    )
    with pytest.raises(
        InputError, match="host buffers of 256, 256, 256 bytes; this program was loaded for 512, 256, 256"
    ):
        is_exact(Npu().load_folder(tmp_path), shift=5)
    assert "run" not in fake.names()


@pytest.mark.slow
def test_a_state_goes_in_and_out(fake: Fake) -> None:
    spec = kernel_spec("sound")
    kernel = Npu().load(spec, 64, 64)
    random = np.random.default_rng(5)
    state: SoundState | None = None
    for _ in range(2):
        data = [random.integers(-128, 128, (64, 64)).astype(np.int8) for _ in range(3)]
        expected = spec.model(*data, 4, state) if state else spec.model(*data, 4)
        assert np.array_equal(kernel.run(*data, 4, state).output, expected)
        state = SoundState.from_matrix(expected)
    assert fake.names().count("run") == 2
