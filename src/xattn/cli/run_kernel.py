"""`xattn run KERNEL --device …`: a kernel on a device, its output compared with the integer model."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

from xattn.cli.call import spinner
from xattn.cli.files import integer, read_bytes, require_writable, tile_shape, write_bytes
from xattn.errors import FileFormatError, InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xattn.devices.npu import Npu
    from xattn.kernels.registry import KernelSpec, Matrix

OPERANDS = ("q", "k", "v")
OUTPUT = "out"
DEFAULT_SHAPE = "64x64"


class DeviceChoice(str, Enum):
    """Where a kernel runs."""

    npu = "npu"
    array = "array"
    sim = "sim"
    host = "host"


@dataclass(frozen=True)
class Wanted:
    """The command's options, None where not given: `target` is a kernel's name or the folder of a build."""

    target: str
    device: DeviceChoice
    design: str | None
    shape: str | None
    seed: int | None
    runs: int | None
    timeout: float | None
    args: Sequence[str]
    loads: Sequence[str]
    dumps: Sequence[str]
    engine: str

    def __post_init__(self) -> None:
        """InputError for an option that means nothing to the device."""
        if self.device in (DeviceChoice.sim, DeviceChoice.host):
            refuse({"--design": self.design}, f"%s: --device {self.device.value} has no array to build a design for")
        if self.device is not DeviceChoice.npu:
            refuse({"--timeout": self.timeout}, "%s is for --device npu")


@dataclass
class Ran:
    """What the runs gave: outputs `[blocks, rows, columns]` of the last, and each run's cost."""

    outputs: Matrix
    cycles: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    host_seconds: list[float] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    device_name: str = ""


def is_kernel(name: str, device: DeviceChoice | None) -> bool:
    """Whether a kernel is to be run: a device is named, or what is named is no file but a kernel."""
    if device is not None:
        return True
    if name.isidentifier() and not Path(name).exists():
        from xattn.kernels.registry import kernels

        return name in kernels()
    return False


def refuse(options: Mapping[str, object], message: str) -> None:
    """Refuse options that were given and have no meaning here; `%s` in the message stands for them."""
    given = [name for name, value in options.items() if value]
    if given:
        raise InputError(message % " and ".join(given))


def run_kernel(wanted: Wanted, as_json: bool) -> None:
    """Run, compare, say what happened. Exit code 1 when an output is not the model's, or the kernel is faulty."""
    import numpy as np

    from xattn.devices import KernelFaultError

    loaded, spec = _load(wanted)
    shift = _shift(wanted.args, loaded)
    outs = [_dump(text) for text in wanted.dumps]
    operands, sources = _operands(wanted, loaded)
    try:
        with spinner(f"running {spec.name} on {wanted.device.value} …"):
            ran = loaded.run(operands, shift, wanted.runs or 1)
    except KernelFaultError as error:
        typer.secho(f"xattn: {error}", fg=typer.colors.RED, err=True)
        raise typer.Exit(1) from None
    expected = _model(spec, operands, shift)
    wrong = int(np.count_nonzero(ran.outputs != expected))
    for path in outs:
        write_bytes(path, ran.outputs.tobytes())
    report = _report(wanted, loaded, shift, sources, ran, wrong)
    typer.echo(json.dumps(report, indent=1) if as_json else _as_text(report))
    if wrong:
        raise typer.Exit(1)


# --- devices --------------------------------------------------------------------------------------------------------


class _Single:
    """A kernel on a device that runs a block at a time."""

    def __init__(self, spec: KernelSpec, kernel: Any, tokens: int, width: int, is_measured: bool) -> None:
        self.spec, self.kernel, self.tokens, self.width = spec, kernel, tokens, width
        self.design, self.shift, self.blocks = "", None, dict.fromkeys(OPERANDS, 1)
        self._is_measured = is_measured

    def run(self, operands: Sequence[NDArray[Any]], shift: int, runs: int) -> Ran:
        ran = Ran(operands[0])
        for _ in range(runs):
            results = []
            for block in zip(*operands, strict=True):
                start = time.perf_counter()
                results.append(self.kernel.run(*block, shift))
                if self._is_measured:
                    ran.seconds.append(time.perf_counter() - start)
            ran.cycles += [result.cycles for result in results if result.cycles is not None]
            ran.findings += [finding for result in results for finding in result.findings]
            ran.outputs = _stack([result.output for result in results])
        return ran


class _Design:
    """A kernel in a design, on the simulated array or the NPU."""

    def __init__(self, spec: KernelSpec, kernel: Any, shift: int | None = None) -> None:
        self.spec, self.kernel, self.shift = spec, kernel, shift
        self.tokens, self.width, self.design, self.blocks = kernel.tokens, kernel.width, kernel.design, kernel.blocks

    def run(self, operands: Sequence[NDArray[Any]], shift: int, runs: int) -> Ran:
        ran = Ran(operands[0])
        try:
            for _ in range(runs):
                result = self.kernel.run_blocks(*operands, shift)
                ran.outputs = result.outputs
                ran.cycles += [run.cycles for run in getattr(result, "runs", ())]
                ran.seconds += getattr(result, "seconds", ())
                ran.host_seconds += getattr(result, "host_seconds", ())
                ran.findings += getattr(result, "findings", ())
            ran.device_name = getattr(self.kernel, "device_name", "")
        finally:
            getattr(self.kernel, "close", lambda: None)()
        return ran


def _load(wanted: Wanted) -> tuple[_Single | _Design, KernelSpec]:
    from xattn.devices import Host, Simulator
    from xattn.devices.array_simulator import ArraySimulator
    from xattn.devices.npu import Npu
    from xattn.kernels.registry import kernel_spec

    design = wanted.design or "tile"
    npu = Npu(design) if wanted.timeout is None else Npu(design, timeout=wanted.timeout)
    if Path(wanted.target).is_dir():
        return _load_folder(wanted, npu)
    spec, shape = kernel_spec(wanted.target), tile_shape(wanted.shape or DEFAULT_SHAPE)
    if wanted.device is DeviceChoice.npu:
        return _Design(spec, npu.load(spec, *shape)), spec
    if wanted.device is DeviceChoice.array:
        return _Design(spec, ArraySimulator(design).load(spec, *shape)), spec
    if wanted.device is DeviceChoice.sim:
        return _Single(spec, Simulator(engine=wanted.engine).load(spec, *shape), *shape, is_measured=False), spec
    return _Single(spec, Host().load(spec, *shape), *shape, is_measured=True), spec


def _load_folder(wanted: Wanted, npu: Npu) -> tuple[_Design, KernelSpec]:
    """The files of a build, as they are: no other design or shape, and no device that would not run those files."""
    if wanted.device is not DeviceChoice.npu:
        raise InputError(
            f"{wanted.target}: the folder of a build runs on --device npu; xattn simulate runs its files on the "
            "simulated array"
        )
    refuse({"--design": wanted.design, "--shape": wanted.shape}, f"%s: {wanted.target} is built already")
    kernel = npu.load_folder(Path(wanted.target))
    return _Design(kernel.spec, kernel, kernel.built_shift), kernel.spec


def _stack(arrays: Sequence[Matrix]) -> Matrix:
    import numpy as np

    return cast("Matrix", np.stack(arrays))


# --- what goes in and comes out -------------------------------------------------------------------------------------


def _shift(args: Sequence[str], loaded: _Single | _Design) -> int:
    """The kernel's only integer: 4 or shift=4; by default what a folder was built for, or 4."""
    from xattn.build.images import DEFAULT_SCALARS

    if len(args) > 1:
        raise InputError(f"a kernel takes one integer, the shift: --arg {' --arg '.join(args)} are too many")
    if not args:
        return DEFAULT_SCALARS["shift"] if loaded.shift is None else loaded.shift
    name, equals, value = args[0].rpartition("=")
    if equals and name.strip() != "shift":
        raise InputError(f"--arg {args[0]}: a kernel's integer is called shift")
    shift = integer(value.strip())
    if not 0 <= shift <= 31:
        raise InputError(f"--arg {args[0]}: a shift is from 0 to 31")
    return shift


def _dump(text: str) -> str:
    name, equals, path = text.partition("=")
    if name != OUTPUT or not equals or not path:
        raise InputError(f"--dump {text}: a kernel has {OUTPUT}=FILE, its output as row-major bytes")
    require_writable(path)
    return path


def _operands(wanted: Wanted, loaded: _Single | _Design) -> tuple[list[NDArray[Any]], dict[str, str]]:
    """Q, K, V `[blocks, tokens, width]` int8, and where each is from: a file, or random bytes."""
    import numpy as np

    given: dict[str, str] = {}
    for text in wanted.loads:
        path, at, name = text.rpartition("@")
        if not at or not path or name not in OPERANDS:
            raise InputError(f"--load {text}: a kernel has FILE@q, FILE@k and FILE@v (int8, row-major, or .npy)")
        given[name] = path
    block = loaded.tokens, loaded.width
    found = {name: _read(path, block) for name, path in given.items()}
    runs = max((-(-len(array) // loaded.blocks[name]) for name, array in found.items()), default=1)
    seed = wanted.seed or 0
    random = np.random.default_rng(seed)
    for name in OPERANDS:
        made = random.integers(-128, 128, (runs * loaded.blocks[name], *block)).astype(np.int8)
        found.setdefault(name, made)
    sources = {name: given.get(name, f"random, seed {seed}") for name in OPERANDS}
    counts = {name: len(array) for name, array in found.items()}
    if counts != {name: runs * loaded.blocks[name] for name in OPERANDS}:
        design = f"design {loaded.design} takes {dict(loaded.blocks)} a run" if loaded.design else "as many of each"
        raise InputError(f"{', '.join(f'{counts[name]} of {name}' for name in OPERANDS)} are no whole runs: {design}")
    return [found[name] for name in OPERANDS], sources


def _read(path: str, block: tuple[int, int]) -> NDArray[Any]:
    """Blocks in a file: raw int8, or .npy of int8."""
    import numpy as np

    data = read_bytes(path)
    if data.startswith(b"\x93NUMPY"):
        try:
            array = np.load(BytesIO(data), allow_pickle=False)
        except ValueError as error:
            raise FileFormatError(f"{path}: {error}") from None
        if array.dtype != np.int8:
            raise InputError(f"{path} holds {array.dtype}, expected int8")
    else:
        array = np.frombuffer(data, np.int8)
    size = block[0] * block[1]
    if not array.size or array.size % size:
        raise InputError(f"{path} has {array.size} elements, expected blocks of {block[0]} × {block[1]} = {size}")
    blocks: NDArray[Any] = array.reshape(-1, *block)
    return blocks


def _model(spec: KernelSpec, operands: Sequence[NDArray[Any]], shift: int) -> Matrix:
    """The integer model's outputs: block n of Q meets those of K and V that a design shares with it."""
    q, k, v = operands
    return _stack([spec.model(q[n], k[n * len(k) // len(q)], v[n * len(v) // len(q)], shift) for n in range(len(q))])


# --- saying what happened -------------------------------------------------------------------------------------------

_WHAT = {
    DeviceChoice.npu: "wall time measured on the NPU, from submission to end, launch and transfers included",
    DeviceChoice.array: "cycles simulated: the array, without launch",
    DeviceChoice.sim: "cycles simulated: one core, from call to return",
    DeviceChoice.host: "wall time of the integer model, measured on this host's CPU",
}


def _report(
    wanted: Wanted, loaded: _Single | _Design, shift: int, sources: Mapping[str, str], ran: Ran, wrong: int
) -> dict[str, Any]:
    is_model = wanted.device is DeviceChoice.host
    return {
        "kernel": loaded.spec.name,
        "device": wanted.device.value,
        "device_name": ran.device_name or None,
        "design": loaded.design or None,
        "tokens": loaded.tokens,
        "width": loaded.width,
        "shift": shift,
        "blocks": len(ran.outputs),
        "inputs": dict(sources),
        "exact": None if is_model else wrong == 0,
        "elements": int(ran.outputs.size),
        "wrong_elements": None if is_model else wrong,
        "figures": _WHAT[wanted.device],
        "cycles": ran.cycles or None,
        "seconds": ran.seconds or None,
        "host_seconds": ran.host_seconds or None,
        "findings": list(dict.fromkeys(ran.findings)),
    }


def _as_text(report: Mapping[str, Any]) -> str:
    where = report["device"] + (f" ({report['device_name']})" if report["device_name"] else "")
    where += f", design {report['design']}" if report["design"] else ""
    blocks = f"{report['blocks']} block{'' if report['blocks'] == 1 else 's'}"
    lines = [
        f"{report['kernel']} on {where}: {blocks} of {report['tokens']}×{report['width']}, shift {report['shift']}"
    ]
    lines.append("inputs: " + ", ".join(f"{name} {source}" for name, source in report["inputs"].items()))
    if report["exact"] is None:
        lines.append("output: that of the integer model itself; nothing to compare it with")
    elif report["exact"]:
        lines.append(f"exact: all {report['elements']:,} elements are the integer model's")
    else:
        lines.append(f"NOT EXACT: {report['wrong_elements']:,} of {report['elements']:,} elements are not the model's")
    lines.append(f"{_cost(report)} ({report['figures']})")
    if report["host_seconds"]:
        lines.append(f"host copies and synchronisation besides: {_spread(report['host_seconds'])}")
    lines += [f"finding: {finding}" for finding in report["findings"]]
    return "\n".join(lines)


def _cost(report: Mapping[str, Any]) -> str:
    if report["seconds"]:
        return _spread(report["seconds"])
    cycles = report["cycles"]
    first = f"{cycles[0]:,} cycles"
    if len(cycles) == 1:
        return first
    return f"{first} in the first of {len(cycles)} runs, {cycles[-1]:,} in the last"


def _spread(seconds: Sequence[float]) -> str:
    if len(seconds) == 1:
        return f"{1e6 * seconds[0]:,.1f} µs"
    middle = sorted(seconds)[len(seconds) // 2]
    return (
        f"{1e6 * middle:,.1f} µs median, {1e6 * min(seconds):,.1f} to {1e6 * max(seconds):,.1f} in {len(seconds)} runs"
    )
