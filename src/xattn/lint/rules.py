"""The table of rules: name, severity, what it says in a line, and the function that looks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from xattn.errors import InputError, XattnError
from xattn.lint import claims, execution, host_buffers, linking, loop_end, shift, stack, streams
from xattn.lint.finding import Check, Finding, Severity, Unchecked
from xattn.lint.subject import Subject

ERROR, WARNING = Severity.ERROR, Severity.WARNING


class Rule(NamedTuple):
    """A rule. `runs`: it executes the files on the simulator, which takes a while."""

    name: str
    severity: Severity
    summary: str
    check: Callable[[Subject], Check]
    runs: bool = False


STREAM_RULES = (
    Rule("many-host-buffers", WARNING, "a stream alone uses more than five buffers", host_buffers.more_than_upstream),
    Rule("serial-columns", WARNING, "columns work one after another without need", streams.serial_columns),
    Rule("task-queue-too-deep", ERROR, "more tasks are started than a queue holds", streams.deep_queues),
    Rule("bd-rewritten-in-use", ERROR, "a shim BD is written before its task is done", streams.rewritten_bds),
    Rule("wait-without-token", ERROR, "a wait that nothing ends", streams.waits_without_token),
    Rule("output-not-awaited", WARNING, "a transfer to the host may outlast the stream", streams.outputs_not_awaited),
)
"""Those that need nothing but an instruction stream."""

RULES = (
    Rule("stack-overlaps-buffer", ERROR, "a core's stack grows into a buffer or into data", stack.overlaps_buffer),
    Rule("stack-larger-than-reserved", ERROR, "functions need more stack than is kept", stack.larger_than_reserved),
    Rule("stack-size-unknown", WARNING, "recursion, calls through registers: no bound", stack.cannot_be_known),
    Rule("object-not-linked", ERROR, "a program is linked with another object than meant", linking.other_object),
    Rule("kernel-not-defined", ERROR, "the object does not define the kernel's name", linking.not_defined),
    Rule("shift-differs", ERROR, "program, design, manifest and host name different integers", shift.differing),
    Rule("undeclared-host-buffers", ERROR, "a stream uses more buffers than the xclbin has", host_buffers.undeclared),
    Rule("beyond-host-buffer", ERROR, "a transfer goes past the end of a host buffer", host_buffers.beyond_buffer),
    *STREAM_RULES,
    Rule("stream-of-another-image", ERROR, "a stream does not suit the array's image", claims.other_image),
    Rule("part-word-store-at-loop-end", ERROR, "a byte store that a loop may drop", loop_end.part_word_stores),
    Rule("simulated-run", ERROR, "a run on the simulator fails or hangs", execution.fails, runs=True),
    Rule("simulator-remarks", WARNING, "what the simulator finds in a run", execution.remarks, runs=True),
    Rule("constant-output", ERROR, "an output does not depend on the input", execution.constant_output, runs=True),
    Rule(
        "output-differs-between-calls",
        ERROR,
        "the same input gives another output in the next call",
        execution.depends_on_call,
        runs=True,
    ),
    Rule("idle-columns", WARNING, "more columns are taken than used", claims.idle_columns),
    Rule("old-mlir-syntax", WARNING, "MLIR text that mlir-aie does not take any more", claims.old_syntax),
    Rule("no-instruction-stream", WARNING, "an xclbin with nothing that would run it", claims.no_instructions),
    Rule("changed-since-built", WARNING, "a file is not the one of the manifest", claims.changed_files),
    Rule("unreadable-file", WARNING, "a file that is damaged or a placeholder", claims.unreadable),
)


@dataclass
class Report:
    """What was found in one subject, and what could not be looked at."""

    findings: list[Finding] = field(default_factory=list)
    unchecked: list[Unchecked] = field(default_factory=list)

    @property
    def errors(self) -> int:
        """How many of the findings are errors."""
        return sum(finding.severity is ERROR for finding in self.findings)


def rules_named(names: Sequence[str]) -> tuple[Rule, ...]:
    """The rules with these names, all of them for none; InputError lists the names there are."""
    known = {rule.name: rule for rule in RULES}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(f"no rule is called {unknown[0]!r}; there are {', '.join(known)}")
    return tuple(known[name] for name in names) or RULES


def lint(subject: Subject, rules: Sequence[Rule] = RULES) -> Report:
    """Look at a subject by these rules, in order; what is said of several places becomes one finding."""
    report = Report()
    for rule in rules:
        places: dict[str, list[str]] = {}
        try:
            for found in rule.check(subject):
                if isinstance(found, Unchecked):
                    report.unchecked.append(found)
                else:
                    places.setdefault(found.message, []).append(found.where)
        except XattnError as error:  # a part of a damaged file that only this rule reads
            report.unchecked.append(Unchecked(rule.name, subject.name, str(error)))
        report.findings += [
            Finding(rule.name, rule.severity, "; ".join(dict.fromkeys(where)), message)
            for message, where in places.items()
        ]
    return report
