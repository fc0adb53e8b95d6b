"""`xattn run`: call a function of an ELF program, of whatever compiler, on the simulated core."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xattn.cli.files import integer, read_bytes, write_bytes
from xattn.errors import InputError

if TYPE_CHECKING:
    from xattn.isa.elf import ElfImage
    from xattn.sim.core import Core, Result
    from xattn.sim.findings import Finding, Kind, Severity

app = typer.Typer(add_completion=False, rich_markup_mode=None)

STACK_SYMBOL = "_sp_start_value_DM_stack"  # where the linker scripts of mlir-aie put the start of the stack


SHOWN = 20  # findings in the text report


class Locks(str, Enum):
    """What a lock operation does."""

    grant = "grant"
    hold = "hold"


@app.command()
def run(
    file: Annotated[str, typer.Argument(help="ELF executable for an AIE2 core.")],
    call: Annotated[
        str | None,
        typer.Option(help="Function to call: symbol or address [default: run from the entry point until DONE]"),
    ] = None,
    arg: Annotated[
        list[str] | None,
        typer.Option(
            help="Argument, repeatable: 4 (integer), @0x74000 or @symbol (pointer), or p2=…, r5=… (register)."
        ),
    ] = None,
    load: Annotated[
        list[str] | None, typer.Option(help="FILE@ADDRESS: put a file into data memory; repeatable.")
    ] = None,
    dump: Annotated[
        list[str] | None,
        typer.Option(
            help="ADDRESS:LENGTH=FILE: write memory to a file after the run (no =FILE: print it); repeatable."
        ),
    ] = None,
    sp: Annotated[
        str | None, typer.Option(help=f"Start of the stack, which grows upwards [default: {STACK_SYMBOL}, or 0x70000]")
    ] = None,
    stack: Annotated[
        str | None, typer.Option(help="Bytes of stack [default: up to the next symbol, buffer or end of memory]")
    ] = None,
    locks: Annotated[
        Locks, typer.Option(help="Locks are granted at once, or held by somebody who never lets go (an error).")
    ] = Locks.hold,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Every finding is an error, which stops the run (--severity makes exceptions)."),
    ] = False,
    severity: Annotated[
        list[str] | None,
        typer.Option(help="KIND=error, warning or ignore: how severe a kind of finding is, such as stack; repeatable."),
    ] = None,
    max_cycles: Annotated[int, typer.Option(min=1, help="Give up after so many cycles.")] = 100_000_000,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Run a function of an ELF program on the simulated core; print cycles, result and findings.

    Arguments go where the C convention of AIE2 compilers puts them: integers to r0, r1 …, pointers to p0, p1 …, each
    counted on its own. Wherever an address stands, a symbol of the file can stand too, with an offset (table+0x20).
    Results are in r0 or in memory.

    Exit code 0 when the run ended, 1 when it was stopped by a finding or could not go on, 2 for bad input.
    """
    from xattn.isa.elf import load_elf
    from xattn.sim.findings import SimulationError

    image = load_elf(file)
    if image.is_object:
        raise InputError(f"{file}: a relocatable object; make an executable of it first (xattn link)")
    job = _job(image, call, arg or [], load or [], dump or [], sp, stack)
    core = _prepare(image, job, locks, strict, _severities(severity or []))
    problem = None
    result = None
    try:
        with _spinner(f"simulating {job.name} …"):
            result = _execute(core, image, job, max_cycles)
    except SimulationError as error:
        problem = str(error)
    if result is not None:
        _write_dumps(core, job)
    report = _report(file, image, core, job, result, problem)
    typer.echo(json.dumps(report, indent=1) if as_json else _as_text(report), nl=as_json)
    if problem is not None:
        typer.secho(f"xattn: {problem}", fg=typer.colors.RED, err=True)
        raise typer.Exit(1)


# --- what to do -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Dump:
    """Memory to show or write after the run."""

    address: int
    size: int
    file: str | None


@dataclass(frozen=True)
class Job:
    """The command's options, with symbols looked up."""

    name: str
    address: int | None  # None: run from the entry point
    integers: tuple[int, ...]
    pointers: tuple[int, ...]
    registers: tuple[tuple[str, int], ...]
    loads: tuple[tuple[int, bytes], ...]
    dumps: tuple[Dump, ...]
    sp: int
    stack: tuple[int, int]


def _job(
    image: ElfImage,
    call: str | None,
    args: Sequence[str],
    loads: Sequence[str],
    dumps: Sequence[str],
    sp: str | None,
    stack: str | None,
) -> Job:
    integers, pointers, registers = _arguments(image, args)
    contents = tuple(_load(image, text) for text in loads)
    outputs = tuple(_dump(image, text) for text in dumps)
    start = _address(image, sp) if sp is not None else image.addresses().get(STACK_SYMBOL, 0x70000)
    ends = [start + integer(stack)] if stack is not None else _neighbours(image, start, contents, pointers, outputs)
    return Job(
        name=call or "the program",
        address=_address(image, call) if call is not None else None,
        integers=integers,
        pointers=pointers,
        registers=registers,
        loads=contents,
        dumps=outputs,
        sp=start,
        stack=(start, min(ends)),
    )


def _arguments(
    image: ElfImage, texts: Sequence[str]
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[tuple[str, int], ...]]:
    integers, pointers, registers = [], [], []
    for text in texts:
        name, equals, value = text.partition("=")
        if equals:
            registers.append((name.strip(), _address(image, value.strip().removeprefix("@"))))
        elif text.startswith("@"):
            pointers.append(_address(image, text[1:]))
        else:
            integers.append(integer(text))
    return tuple(integers), tuple(pointers), tuple(registers)


def _address(image: ElfImage, text: str) -> int:
    """A number, or a symbol of the file with an optional offset."""
    match = re.fullmatch(r"([A-Za-z_.$][\w.$]*)\s*(?:([+-])\s*(\w+))?", text)
    if not match:
        return integer(text)
    offset = integer(match[3]) if match[3] else 0
    return image.symbol(match[1]).value + (-offset if match[2] == "-" else offset)


def _load(image: ElfImage, text: str) -> tuple[int, bytes]:
    path, at, address = text.rpartition("@")
    if not at or not path:
        raise InputError(f"--load {text}: expected FILE@ADDRESS")
    return _address(image, address), read_bytes(path)


def _dump(image: ElfImage, text: str) -> Dump:
    match = re.fullmatch(r"([^:=]+):([^:=]+)(?:=(.+))?", text)
    if not match:
        raise InputError(f"--dump {text}: expected ADDRESS:LENGTH=FILE or ADDRESS:LENGTH")
    size = integer(match[2])
    if size <= 0:
        raise InputError(f"--dump {text}: length {size}, expected at least 1")
    if match[3] and match[3] != "-" and not Path(match[3]).absolute().parent.is_dir():
        raise InputError(f"--dump {text}: no directory {Path(match[3]).parent}")  # known before the run, not after
    return Dump(_address(image, match[1]), size, match[3])


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


def _neighbours(
    image: ElfImage,
    start: int,
    loads: Sequence[tuple[int, bytes]],
    pointers: Sequence[int],
    dumps: Sequence[Dump],
) -> list[int]:
    """Addresses above the start of the stack where something else is known to be, or memory ends."""
    from xattn.isa.timing import DATA_MEMORY_BASE, DATA_MEMORY_BYTES

    known = [symbol.value for symbol in image.symbols if symbol.kind in ("object", "notype")]
    known += [address for address, _ in (*image.data(), *loads)] + [*pointers, *(dump.address for dump in dumps)]
    return [DATA_MEMORY_BASE + DATA_MEMORY_BYTES, *(address for address in known if address > start)]


# --- doing it -------------------------------------------------------------------------------------------------------


def _prepare(image: ElfImage, job: Job, locks: Locks, strict: bool, severity: dict[Kind | str, Severity | str]) -> Core:
    from xattn.sim.core import Core, grant

    lock = grant if locks is Locks.grant else _hold
    core = Core(strict=strict, severity=severity, stack=job.stack, lock=lock)
    for address, code in image.code():
        core.load(code, address)
    for address, data in (*image.data(), *job.loads):
        core.write_memory(address, data)
    for dump in job.dumps:
        core.read_memory(dump.address, dump.size)  # refuses what is not in memory, before the run
    return core


def _hold(acquire: bool, number: int, value: int) -> int:
    verb = "acquires" if acquire else "releases"
    raise InputError(f"the program {verb} lock {number} ({value:+d}) and nobody else runs; --locks grant hands it over")


def _execute(core: Core, image: ElfImage, job: Job, max_cycles: int) -> Result:
    from xattn.sim.core import Pointer

    core.registers["SP"] = job.sp
    for name, value in job.registers:
        core.registers[name] = value
    if job.address is None:
        return core.run(image.entry, max_cycles=max_cycles)
    args = [*map(Pointer, job.pointers), *job.integers]
    return core.call(job.address, args, sp=job.sp, max_cycles=max_cycles)


def _spinner(text: str) -> Any:
    """A sign of life on a terminal, for runs that take long; nothing where nobody looks."""
    if not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console

    return Console(stderr=True).status(text)


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
    findings = report["findings"]
    lines.append(f"{len(findings)} finding{'' if len(findings) == 1 else 's'}" + (":" if findings else ""))
    for finding in findings[:SHOWN]:
        times = f", {finding['count']:,} times" if finding["count"] > 1 else ""
        lines.append(f"  {finding['severity']}: {finding['kind']} at {finding['pc']:#06x} ({finding['where']}){times}")
        lines.append(f"    first in cycle {finding['cycle']:,}: {finding['cause']}")
        if finding["bundle"]:
            lines.append(f"    {finding['bundle']}")
    if len(findings) > SHOWN:
        lines.append(f"  … and {len(findings) - SHOWN} more; --json lists all")
    return "\n".join(lines) + "\n"
