"""Integer arguments of a kernel, the shift first of all: programs, design, manifest and host have to mean the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from xattn.lint.finding import Found
from xattn.lint.kernel_calls import kernel_calls
from xattn.lint.programs import core_programs
from xattn.lint.subject import Subject

SHIFT = "shift"

_Said = dict[str, dict[int, list[str]]]  # argument: value: who says so


def differing(subject: Subject) -> Iterator[Found]:
    """Arguments for which two of them name two values."""
    for argument, values in _said(subject).items():
        if len(values) > 1:
            texts = [f"{value} ({', '.join(dict.fromkeys(who))})" for value, who in sorted(values.items())]
            meant = f"; a shift of n divides by 2^n: {_divisors(list(values))}" if argument == SHIFT else ""
            yield Found(
                subject.name,
                f"{argument} is {' and '.join(texts)}{meant}: settle on one, and build all files from it",
            )


def _divisors(values: list[int]) -> str:
    return ", ".join(f"{value} by {2**value}" for value in sorted(values) if 0 <= value < 32)


def _said(subject: Subject) -> _Said:
    said: _Said = defaultdict(lambda: defaultdict(list))
    names = _names(subject)
    for name, value in subject.expected.items():
        said[name][value].append("the host")
    if subject.manifest is not None:
        for name, value in subject.manifest.scalars.items():
            said[name][value].append("the manifest")
    for who, integers in _calls(subject):
        for index, number in enumerate(integers):
            if number is not None:
                said[_name(names, index)][number].append(who)
    return said


def _calls(subject: Subject) -> Iterator[tuple[str, tuple[int | None, ...]]]:
    """Who calls a kernel, and with which integers."""
    for design in subject.designs:
        for core in design.content.cores:
            yield from ((design.name, call.integers) for call in core.calls)
    for program in core_programs(subject):
        for call in kernel_calls(program):
            yield f"the program of {program.where}", call.integers[: _count(subject)]


def _count(subject: Subject) -> int:
    """How many integers the kernel takes; a compiler may leave other constants in the registers behind them."""
    if subject.manifest is not None:
        return len(subject.manifest.scalars)
    counts = [len(call.integers) for d in subject.designs for core in d.content.cores for call in core.calls]
    return max([len(subject.expected), *counts])


def _names(subject: Subject) -> list[str]:
    if subject.manifest is not None:
        return list(subject.manifest.scalars)
    return list(subject.expected)


def _name(names: list[str], index: int) -> str:
    if index < len(names):
        return names[index]
    return SHIFT if index == 0 else f"integer {index}"
