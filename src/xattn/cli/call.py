"""Calling a function of an ELF program on the simulated core: the options that say how, and the doing of it."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xattn.cli.files import integer, read_bytes
from xattn.errors import InputError
from xattn.isa.elf import STACK_SYMBOL

if TYPE_CHECKING:
    from xattn.isa.elf import ElfImage
    from xattn.sim.core import Core, Result
    from xattn.sim.engine import Trace
    from xattn.sim.findings import Kind, Severity


class EngineChoice(str, Enum):
    """What runs the program."""

    auto = "auto"
    interpreter = "interpreter"
    translator = "translator"


class Locks(str, Enum):
    """What a lock operation does."""

    grant = "grant"
    hold = "hold"


CallOption = Annotated[
    str | None, typer.Option(help="Function to call: symbol or address [default: run from the entry point until DONE]")
]
ArgOption = Annotated[
    list[str] | None,
    typer.Option(help="Argument, repeatable: 4 (integer), @0x74000 or @symbol (pointer), or p2=…, r5=… (register)."),
]
LoadOption = Annotated[list[str] | None, typer.Option(help="FILE@ADDRESS: put a file into data memory; repeatable.")]
SpOption = Annotated[
    str | None, typer.Option(help=f"Start of the stack, which grows upwards [default: {STACK_SYMBOL}, or 0x70000]")
]
StackOption = Annotated[
    str | None, typer.Option(help="Bytes of stack [default: up to the next symbol, buffer or end of memory]")
]
LocksOption = Annotated[
    Locks, typer.Option(help="Locks are granted at once, or held by somebody who never lets go (an error).")
]
EngineOption = Annotated[
    EngineChoice,
    typer.Option(
        help="interpreter looks for every kind of finding; translator (needs llvmlite) is far faster and "
        "looks for few; auto is the translator where it can be used."
    ),
]
MaxCyclesOption = Annotated[int, typer.Option(min=1, help="Give up after so many cycles.")]


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


def read_job(
    image: ElfImage,
    call: str | None,
    args: Sequence[str],
    loads: Sequence[str],
    dumps: Sequence[str],
    sp: str | None,
    stack: str | None,
) -> Job:
    """The options of a call, with the program's symbols looked up. InputError for what does not fit the program."""
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


def prepare_core(
    image: ElfImage,
    job: Job,
    locks: Locks,
    strict: bool = False,
    severity: Mapping[Kind | str, Severity | str] | None = None,
    trace: Trace | None = None,
) -> Core:
    """A core with the program and the job's files in memory. `trace` is called before every bundle."""
    from xattn.sim.core import Core, grant

    lock = grant if locks is Locks.grant else _hold
    core = Core(strict=strict, severity=severity, stack=job.stack, lock=lock, trace=trace)
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


def run_job(core: Core, image: ElfImage, job: Job, max_cycles: int, engine: str = "interpreter") -> Result:
    """Call the job's function, or run from the entry point. SimulationError when the program cannot go on."""
    from xattn.sim.core import Pointer

    core.registers["SP"] = job.sp
    for name, value in job.registers:
        core.registers[name] = value
    if job.address is None:
        return core.run(image.entry, max_cycles=max_cycles, engine=engine)
    args = [*map(Pointer, job.pointers), *job.integers]
    return core.call(job.address, args, sp=job.sp, max_cycles=max_cycles, engine=engine)


def spinner(text: str) -> Any:
    """A sign of life on a terminal, for runs that take long; nothing where nobody looks."""
    if not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console

    return Console(stderr=True).status(text)
