"""`xattn lint`: mistakes in the files of an NPU build, whoever made them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xattn.cli.call import spinner
from xattn.cli.files import indented_json, scalar_values, tile_shape
from xattn.errors import InputError

if TYPE_CHECKING:
    from xattn.lint.rules import Report, Rule
    from xattn.lint.subject import Subject

app = typer.Typer(add_completion=False, rich_markup_mode=None)


def _show_rules(wanted: bool) -> None:
    if not wanted:
        return
    from xattn.lint.rules import RULES

    width = max(len(rule.name) for rule in RULES)
    for rule in RULES:
        runs = " (runs the files)" if rule.runs else ""
        typer.echo(f"{rule.name.ljust(width)}  {rule.severity.value.ljust(7)}  {rule.summary}{runs}")
    raise typer.Exit


@app.command()
def lint(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|DIR|KERNEL...",
            help="Files of one build (xclbin, PDI, CDO, instruction stream, ELF, MLIR, manifest), folders, or kernels.",
        ),
    ],
    rule: Annotated[
        list[str] | None, typer.Option("--rule", metavar="NAME", help="Only this rule; repeatable.")
    ] = None,
    define: Annotated[
        list[str] | None,
        typer.Option("--define", "-D", metavar="NAME=VALUE", help="What the host takes an integer for; repeatable."),
    ] = None,
    static: Annotated[bool, typer.Option("--static", help="Leave out the rules that run files.")] = False,
    max_cycles: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Give up a run after so many cycles [default: 5000000]")
    ] = None,
    design: Annotated[str, typer.Option(metavar="NAME", help="Kernels: the design to build.")] = "tile",
    shape: Annotated[str, typer.Option(metavar="TxW", help="Kernels: tokens × channels of a block.")] = "64x64",
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 for warnings too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a list of findings as JSON.")] = False,
    show_rules: Annotated[
        bool,
        typer.Option("--list", callback=_show_rules, is_eager=True, help="Show all rules, a line each, and end."),
    ] = False,
) -> None:
    """Look for mistakes in the files of an NPU build: stack, linking, shift, buffers, queues, waits, outputs.

    All files named are taken as those of one build; a folder is a build, and each folder in it too; a kernel is built
    first. Files of any tool are read. What each rule looks for, and how to mend it, is in docs/lints.md.

    Exit code 0 when nothing is found or warnings only, 1 for errors (with --strict for warnings too), 2 for bad input.
    """
    from xattn.lint.rules import lint as look
    from xattn.lint.rules import rules_named
    from xattn.lint.subject import DEFAULT_CYCLES

    del show_rules
    rules = tuple(item for item in rules_named(rule or []) if not (static and item.runs))
    expected = scalar_values(define or [])
    reports = []
    with spinner("looking …"):
        for subject in _subjects(targets, design, shape):
            subject.expected = _expected(subject, expected)
            subject.max_cycles = max_cycles or DEFAULT_CYCLES
            reports.append((subject, look(subject, rules)))
    if as_json:
        typer.echo(indented_json([finding for _, report in reports for finding in report.findings]), nl=False)
    else:
        typer.echo("\n".join(_text(reports, rules)))
    errors = sum(report.errors for _, report in reports)
    found = sum(len(report.findings) for _, report in reports)
    raise typer.Exit(1 if errors or (strict and found) else 0)


def _subjects(targets: Sequence[str], design: str, shape: str) -> list[Subject]:
    from xattn.lint.files import read_subject, subjects_of

    kernels = [target for target in targets if not Path(target).exists() and _is_name(target)]
    subjects = list(subjects_of([Path(target) for target in targets if target not in kernels]))
    for kernel in kernels:
        from xattn.build.cache import build
        from xattn.build.manifest import BuildRequest

        files, _ = build(BuildRequest(kernel, design, *tile_shape(shape)))
        subjects.append(read_subject(files, kernel, lenient=True))
    if not subjects:
        raise InputError("nothing to look at: name files of a build, folders or kernels")
    return subjects


def _expected(subject: Subject, values: dict[str, int]) -> dict[str, int]:
    """What the host expects. InputError for a name that the build's kernel does not have."""
    if subject.manifest is not None:
        for name in values:
            if name not in subject.manifest.scalars:
                known = ", ".join(subject.manifest.scalars) or "none"
                raise InputError(f"--define {name}: kernel {subject.manifest.kernel} takes the integers {known}")
    return values


def _is_name(target: str) -> bool:
    return target.isidentifier()


def _text(reports: Sequence[tuple[Subject, Report]], rules: Sequence[Rule]) -> list[str]:
    lines: list[str] = []
    for subject, report in reports:
        if len(reports) > 1 and (report.findings or report.unchecked):
            lines.append(f"{subject.name}:")
        lines += report_lines(report)
    findings = [finding for _, report in reports for finding in report.findings]
    errors = sum(report.errors for _, report in reports)
    builds = f", {len(reports)} builds" if len(reports) > 1 else ""
    counted = f"{_count(errors, 'error')}, {_count(len(findings) - errors, 'warning')}" if findings else "no findings"
    return [*lines, f"{counted} ({_count(len(rules), 'rule')}{builds})"]


def report_lines(report: Report) -> list[str]:
    """Findings and what was not checked, a line each."""
    rules: dict[tuple[str, str], list[str]] = {}
    for item in report.unchecked:
        rules.setdefault((item.where, item.why), []).append(item.rule)
    unchecked = [f"not checked: {where}: {why} [{', '.join(names)}]" for (where, why), names in rules.items()]
    return [*map(str, report.findings), *unchecked]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
