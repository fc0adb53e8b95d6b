"""Running the steps of a benchmark: what options and a suite's file say, the running, showing and storing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from xattn.cli.files import write_bytes
from xattn.cli.progress import progress_bar
from xattn.cli.results import save, say
from xattn.errors import InputError, XattnError

if TYPE_CHECKING:
    from rich.console import Console

    from xattn.bench.config import SuiteConfig
    from xattn.bench.record import BenchRecord, Result
    from xattn.bench.steps import Job, Step
    from xattn.bench.store import Store


@dataclass(frozen=True)
class Against:
    """What the ladder's kernels stand against, and by how much they should win."""

    name: str
    target: float | None

    @classmethod
    def of(cls, name: str | None, target: float | None, chosen_kernels: Sequence[str]) -> Against | None:
        """From the options. InputError for names or a target that cannot be used."""
        from xattn.bench.verdict import RECORDED
        from xattn.kernels.registry import kernel_spec, kernels

        if name is None and target is None:
            return None
        chosen = name or "baseline"
        attending = [k for k, spec in kernels().items() if spec.computes == "attention"]
        if chosen not in (*attending, RECORDED):
            raise InputError(f"--against {chosen}: expected {RECORDED} or one of {', '.join(attending)}")
        for kernel in chosen_kernels:
            if (computes := kernel_spec(kernel).computes) != "attention":
                raise InputError(f"nothing to put {kernel} against: it computes a {computes}, not a whole attention")
        if target is not None and not 0 < target < 1e6:
            raise InputError(f"--target {target:g}: expected a speed-up above 0, such as 2")
        return cls(chosen, target)


@dataclass(frozen=True)
class Outputs:
    """Where results go."""

    console: Console
    store: Store | None
    json: str | None
    folder: Path | None


def run_steps(steps: Sequence[Step], job: Job, against: Against | None, outputs: Outputs) -> bool:
    """Run the steps, and show and keep what each gives. Returns whether all went well.

    Of several steps one that fails does not stop the others.
    """
    from xattn.bench.show import print_result

    good = True
    for i, step in enumerate(steps):
        if len(steps) > 1:
            typer.secho(("\n" if i else "") + f"== {step.name}: {step.summary}", err=outputs.json == "-")
        try:
            with progress_bar(step.name) as progress:
                results = step.run(replace(job, progress=progress))
        except XattnError as error:
            if len(steps) == 1:
                raise
            say(f"{step.name}: {error}")
            good = False
            continue
        for result in results:
            print_result(result, outputs.console)
            job.done.append(result)
            save(outputs.store, result)
            good &= result.passed
    good &= _show_verdicts(job.done, against, outputs)
    _write(job.done, outputs)
    return good


def _show_verdicts(results: Sequence[Result], against: Against | None, outputs: Outputs) -> bool:
    """Print a box for each kernel; whether all reach the target."""
    from xattn.bench.record import BenchRecord
    from xattn.bench.verdict import box, verdicts

    if against is None:
        return True
    ladders: list[BenchRecord] = [result for result in results if isinstance(result, BenchRecord)]
    found = [verdict for ladder in ladders for verdict in verdicts(ladder, against.name, against.target)]
    for verdict in found:
        typer.echo("\n" + box(verdict), err=outputs.json == "-")
    return all(verdict.achieved for verdict in found)


def _write(results: Sequence[Result], outputs: Outputs) -> None:
    from xattn.bench.record import as_json

    texts = [as_json(result) for result in results]
    if outputs.folder is not None:
        for result, text in zip(results, texts, strict=True):
            write_bytes(str(outputs.folder / f"{piece_name(result)}.json"), text)
        say(f"{len(texts)} files written to {outputs.folder}")
    if outputs.json is not None:
        write_bytes(outputs.json, texts[0] if len(texts) == 1 else b"[" + b",".join(texts) + b"]\n")


def piece_name(result: Result) -> str:
    """What a result is called in an output folder: ladder_64x64, accuracy, peers …"""
    from xattn.bench.record import BenchRecord, MeasuredRecord

    if isinstance(result, BenchRecord):
        return f"ladder_{result.input.tokens}x{result.input.width}"
    return result.what if isinstance(result, MeasuredRecord) else "accuracy"


def suite_of(path: str | None) -> SuiteConfig:
    """The suite in a file, or the one that says nothing."""
    from xattn.bench.config import SuiteConfig, read_suite

    return SuiteConfig() if path is None else read_suite(Path(path))
