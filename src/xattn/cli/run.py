"""`xattn run`: call a function of an ELF program, of whatever compiler, on the simulated core; or run a kernel."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xattn.cli.call import (
    ArgOption,
    CallOption,
    EngineChoice,
    EngineOption,
    Job,
    LoadOption,
    Locks,
    LocksOption,
    MaxCyclesOption,
    SpOption,
    StackOption,
    prepare_core,
    read_job,
    run_job,
    spinner,
)
from xattn.cli.files import write_bytes
from xattn.cli.run_kernel import DeviceChoice, Wanted, is_kernel, refuse, run_kernel
from xattn.errors import InputError

if TYPE_CHECKING:
    from xattn.isa.elf import ElfImage
    from xattn.sim.core import Core, Result
    from xattn.sim.findings import Finding, Kind, Severity

app = typer.Typer(add_completion=False, rich_markup_mode=None)

SHOWN = 20  # findings in the text report


@app.command()
def run(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE|KERNEL", help="ELF executable for an AIE2 core; or a kernel by name, or a build."),
    ],
    call: CallOption = None,
    arg: ArgOption = None,
    load: LoadOption = None,
    dump: Annotated[
        list[str] | None,
        typer.Option(
            help="ADDRESS:LENGTH=FILE: write memory to a file after the run (no =FILE: print it); repeatable."
        ),
    ] = None,
    sp: SpOption = None,
    stack: StackOption = None,
    locks: LocksOption = Locks.hold,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Every finding is an error, which stops the run (--severity makes exceptions)."),
    ] = False,
    severity: Annotated[
        list[str] | None,
        typer.Option(help="KIND=error, warning or ignore: how severe a kind of finding is, such as stack; repeatable."),
    ] = None,
    engine: EngineOption = EngineChoice.interpreter,
    max_cycles: MaxCyclesOption = 100_000_000,
    device: Annotated[
        DeviceChoice | None,
        typer.Option(
            help="Run a kernel: on the NPU (through XRT), the simulated array, a simulated core, or as its integer "
            "model on the host. There is no falling back. [default: sim]",
            show_default=False,
        ),
    ] = None,
    design: Annotated[
        str | None, typer.Option(metavar="NAME", help="Kernel on npu or array: how it is built. [default: tile]")
    ] = None,
    shape: Annotated[
        str | None, typer.Option(metavar="TxW", help="Kernel: tokens × channels of a block. [default: 64x64]")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="S", help="Kernel: random bytes for what --load does not give. [default: 0]")
    ] = None,
    runs: Annotated[int | None, typer.Option(min=1, help="Kernel: run it so often. [default: 1]")] = None,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0.001, help="Kernel on npu: give a run up. [default: 10]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Run a function of an ELF program on the simulated core, or a kernel on a device.

    For a kernel, --load FILE@q, @k and @v give int8 blocks, --arg 4 the shift, --dump out=FILE keeps the output, which
    is compared with the integer model.

    An ELF program's arguments go where the C convention of AIE2 compilers puts them: integers to r0, r1 …, pointers to
    p0, p1 …, each counted on its own. Wherever an address stands, a symbol of the file can stand too, with an offset
    (table+0x20). Results are in r0 or in memory.

    Exit code 0 when the run ended, 1 when it was stopped by a finding or could not go on, or when a kernel's output is
    not the model's; 2 for bad input, and where the device is missing.
    """
    if is_kernel(file, device):
        of_programs = {"--call": call, "--sp": sp, "--stack": stack, "--strict": strict, "--severity": severity}
        refuse(of_programs, f"{file} is a kernel; only ELF programs take %s")
        where = device or DeviceChoice.sim
        options = Wanted(
            file, where, design, shape, seed, runs, timeout, arg or [], load or [], dump or [], engine.value
        )
        run_kernel(options, as_json)
        return
    of_kernels = {"--design": design, "--shape": shape, "--seed": seed, "--runs": runs, "--timeout": timeout}
    refuse(of_kernels, f"{file} is no kernel; only kernels take %s")
    if Path(file).is_dir():
        raise InputError(f"{file} is a folder: if xattn build wrote it, run it with --device npu")
    from xattn.isa.elf import load_elf
    from xattn.sim.findings import SimulationError

    image = load_elf(file)
    if image.is_object:
        raise InputError(f"{file}: a relocatable object; make an executable of it first (xattn link)")
    job = read_job(image, call, arg or [], load or [], dump or [], sp, stack)
    core = prepare_core(image, job, locks, strict, _severities(severity or []))
    problem = None
    result = None
    try:
        with spinner(f"simulating {job.name} …"):
            result = run_job(core, image, job, max_cycles, engine.value)
    except SimulationError as error:
        problem = str(error)
    if result is not None:
        _write_dumps(core, job)
    report = _report(file, image, core, job, result, problem) | _engine_report(core, engine, result)
    typer.echo(json.dumps(report, indent=1) if as_json else _as_text(report), nl=as_json)
    if problem is not None:
        typer.secho(f"xattn: {problem}", fg=typer.colors.RED, err=True)
        raise typer.Exit(1)


def _severities(texts: Sequence[str]) -> dict[Kind | str, Severity | str]:
    from xattn.sim.findings import Kind, Severity

    chosen: dict[Kind | str, Severity | str] = {}
    for text in texts:
        kind, _, level = text.partition("=")
        kinds, levels = [k.value for k in Kind], [level.value for level in Severity]
        if kind not in kinds or level not in levels:
            raise InputError(
                f"--severity {text}: expected KIND=LEVEL, {', '.join(levels)} for one of {', '.join(kinds)}"
            )
        chosen[Kind(kind)] = Severity(level)
    return chosen


def _write_dumps(core: Core, job: Job) -> None:
    for dump in job.dumps:
        if dump.file is not None:
            write_bytes(dump.file, core.read_memory(dump.address, dump.size))


# --- saying what happened -------------------------------------------------------------------------------------------


def _report(
    file: str, image: ElfImage, core: Core, job: Job, result: Result | None, problem: str | None
) -> dict[str, Any]:
    report: dict[str, Any] = {
        "file": file,
        "call": job.name if job.address is not None else None,
        "address": image.entry if job.address is None else job.address,
        "sp": job.sp,
        "stack_bytes": job.stack[1] - job.stack[0],
        "problem": problem,
        "findings": [_finding(group, image) for group in _by_place(core.findings)],
        "dumps": [],
    }
    if result is not None:
        names = ("cycles", "bundles", "bank_stalls", "lock_stalls", "value", "stopped")
        report |= {name: getattr(result, name) for name in names}
        report["dumps"] = [
            asdict(dump) if dump.file else asdict(dump) | {"hex": core.read_memory(dump.address, dump.size).hex()}
            for dump in job.dumps
        ]
    return report


def _engine_report(core: Core, wanted: EngineChoice, result: Result | None) -> dict[str, Any]:
    """Which engine did the run, what that one does not look for, and why it is not the one that was asked for."""
    from xattn.sim.core import LEFT_OUT, chosen_engine

    used = result.engine if result is not None else "interpreter"
    left_out = sorted(kind.value for kind in LEFT_OUT) if used == "translator" else []
    note = None
    if used == "interpreter" and wanted is not EngineChoice.interpreter:
        asked = chosen_engine(wanted.value) == "translator"
        note = core.translator.why_not if asked else "llvmlite is not installed (pip install 'xattn[jit]')"
    return {"engine": used, "engine_note": note, "not_looked_for": left_out}


def _by_place(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Findings of one kind at one bundle together (a loop can read many undefined bytes there), in order of time."""
    places: dict[tuple[Kind, int], list[Finding]] = {}
    for finding in findings:
        places.setdefault((finding.kind, finding.pc), []).append(finding)
    return list(places.values())


def _finding(group: Sequence[Finding], image: ElfImage) -> dict[str, Any]:
    from xattn.isa.disassembly import bundle_text

    first = group[0]
    return {
        "kind": first.kind.value,
        "severity": first.severity.value,
        "pc": first.pc,
        "where": _where(image, first.pc),
        "cycle": first.cycle,
        "count": sum(finding.count for finding in group),
        "cause": first.cause,
        "bundle": bundle_text(first.bundle) if first.bundle is not None else None,
    }


def _where(image: ElfImage, pc: int) -> str:
    """Function and offset of an address."""
    functions = [s for s in image.symbols if s.kind == "func" and s.value <= pc]
    if not functions:
        return f"{pc:#x}"
    nearest = max(functions, key=lambda symbol: symbol.value)
    return f"{nearest.name}+{pc - nearest.value:#x}"


def _as_text(report: dict[str, Any]) -> str:
    lines = []
    name = report["call"] or "the program"
    if report["problem"] is None:
        lines.append(
            f"{name}: {report['cycles']:,} cycles (simulated): {report['bundles']:,} bundles, "
            f"{report['bank_stalls']:,} bank stalls, {report['lock_stalls']:,} lock stalls"
        )
        how = "stopped at DONE" if report["stopped"] else "returned"
        lines.append(f"{how}, r0 = {report['value']:#x}; stack at {report['sp']:#x}, {report['stack_bytes']:,} bytes")
    for dump in report["dumps"]:
        target = f"written to {dump['file']}" if dump["file"] else dump["hex"]
        lines.append(f"{dump['address']:#x}, {dump['size']} bytes: {target}")
    if report["engine_note"]:
        lines.append(f"run by the interpreter: {report['engine_note']}")
    findings = report["findings"]
    unseen = " (not looked for by the translator: see --json)" if report["not_looked_for"] else ""
    lines.append(f"{len(findings)} finding{'' if len(findings) == 1 else 's'}{unseen}" + (":" if findings else ""))
    for finding in findings[:SHOWN]:
        times = f", {finding['count']:,} times" if finding["count"] > 1 else ""
        lines.append(f"  {finding['severity']}: {finding['kind']} at {finding['pc']:#06x} ({finding['where']}){times}")
        lines.append(f"    first in cycle {finding['cycle']:,}: {finding['cause']}")
        if finding["bundle"]:
            lines.append(f"    {finding['bundle']}")
    if len(findings) > SHOWN:
        lines.append(f"  … and {len(findings) - SHOWN} more; --json lists all")
    return "\n".join(lines) + "\n"
