"""The report as one HTML file that needs nothing else: pictures, styles and the little script are in it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from xattn import __version__
from xattn.bench.report import charts
from xattn.bench.report.contents import Contents, KernelPage, Traced
from xattn.bench.report.heatmap import geometry, heatmap
from xattn.bench.report.pipeline import Cell, Pipeline
from xattn.bench.report.style import PALETTE, as_svg, drawing, for_page, role_of
from xattn.bench.report.tables import Table, accuracy_table, ladder_table, roofline_table, stage_table
from xattn.bench.single import INPUT
from xattn.bench.table import footer_lines, header_lines
from xattn.kernels.stages import OUTPUT, SCORES, SOFTMAX

_OF_BLOCKS = "A kernel that carries state is measured over all keys that it has attended to, not over one tile alone."


@dataclass(frozen=True)
class Part:
    """A section with one chart."""

    id: str
    title: str
    lead: str
    picture: str
    table: Table
    notes: list[str] = field(default_factory=list)


def html_page(contents: Contents, made: datetime | None = None) -> str:
    """The whole page. `made`: the time that it shows (default: now)."""
    made = made or datetime.now(timezone.utc)
    parts = _parts(contents)
    sections = [
        *((part.id, part.title) for part in parts),
        ("pipelines", "Pipelines"),
        ("method", "What these figures are"),
    ]
    tile = contents.bench.input
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page: str = environment.get_template("page.html").render(
        version=__version__,
        shape=f"{tile.tokens}×{tile.width}",
        facts=[*_facts(contents), ("figures", contents.source)],
        warnings=_warnings(contents),
        sections=sections,
        parts=parts,
        legend=_legend(contents),
        kernels=[_kernel(page) for page in contents.pages],
        palette=PALETTE,
        clock=f"{contents.bench.clock_hz / 1e9:g} GHz",
        traced_input=INPUT,
        made=f"{made:%Y-%m-%d %H:%M} UTC",
    )
    return page


def _legend(contents: Contents) -> list[tuple[str, str]]:
    """The stages that occur in pipelines, with their colours' roles."""
    pipelines = [page.traced.pipeline for page in contents.pages if page.traced is not None]
    stages = {cell.stage for pipeline in pipelines if pipeline is not None for cell in pipeline.cells}
    order = [*(stage for stage in (SCORES, SOFTMAX, OUTPUT) if stage in stages), *sorted(filter(None, stages))]
    found = [(stage, role_of(stage)) for stage in dict.fromkeys(order)]
    return [*found, ("no stage", role_of(None))] if None in stages else found


def _facts(contents: Contents) -> list[tuple[str, str]]:
    """The header of the benchmark's table, as names and texts."""
    lines = [line.split(maxsplit=1) for line in header_lines(contents.bench) if line]
    return [(name, text) for name, text in lines]


def _warnings(contents: Contents) -> list[str]:
    found = []
    if contents.bench.input.source != "speech":
        found.append("The activations are SYNTHETIC: accuracy here says nothing of a real model.")
    for page in contents.pages:
        found += [f"{page.record.name}: {fault}" for fault in page.record.faults]
        if page.traced is not None and not page.traced.explanation.exact:
            found.append(f"{page.record.name}: the output of the traced run is not the integer model's")
        if page.differs and page.traced is not None:
            found.append(
                f"{page.record.name}: the benchmark says {page.record.cycles:,} cycles, the traced run took "
                f"{page.traced.explanation.cycles:,}: another version, or cycles that depend on the input."
            )
    return found


def _parts(contents: Contents) -> list[Part]:
    with drawing() as new:
        pictures = {name: as_svg(draw(contents, new), name) for name, draw in CHARTS.items()}
    return [
        Part(
            "ladder",
            "The ladder",
            "Simulated cycles of each kernel on one tile, beside the cycles that the multiplier alone would take.",
            for_page(pictures["ladder"], "ladder", "Dot chart: simulated cycles of each kernel; the table has them"),
            ladder_table(contents),
            [line for line in footer_lines(contents.bench) if line],
        ),
        Part(
            "roofline",
            "Roofline",
            "How fast a kernel multiplies, over how much it multiplies for each byte that its loads and stores move "
            "between registers and local memory. Above it lies what one core allows: 256 multiply-accumulates a cycle, "
            "and two loads and a store of 32 bytes.",
            for_page(pictures["roofline"], "roofline", "Roofline chart of the kernels; the table has its points"),
            roofline_table(contents),
        ),
        Part(
            "stages",
            "Stages",
            "Where the cycles of each kernel go, by stage of attention. Stages that a loop does at once are shown so.",
            for_page(pictures["stages"], "stages", "Bar chart: shares of stages in each kernel; the table has them"),
            stage_table(contents),
        ),
        Part(
            "accuracy",
            "Accuracy",
            "How far the integer arithmetic of each kernel is from float attention on the same activations.",
            for_page(pictures["accuracy"], "accuracy", "Bar chart: relative L2 error of kernels; the table has it"),
            accuracy_table(contents),
            [_OF_BLOCKS] if any(kernel.computes == "block" for kernel in contents.bench.kernels) else [],
        ),
    ]


CHARTS = {
    "ladder": charts.ladder,
    "roofline": charts.roofline,
    "stages": charts.stages,
    "accuracy": charts.accuracy,
}


def _kernel(page: KernelPage) -> dict[str, Any]:
    """What the template shows of one kernel's pipeline."""
    known: dict[str, Any] = {"name": page.record.name, "summary": page.record.summary, "missing": page.missing}
    if page.traced is None:
        return known
    known["about"] = _about(page.traced)
    pipeline = page.traced.pipeline
    if pipeline is None:
        return {**known, "picture": None}
    name = f"pipeline-{page.record.name}"
    with drawing() as new:
        svg = as_svg(heatmap(pipeline, new), name)
    label = f"Steady state of loop {pipeline.loop}: {pipeline.cycles} cycles, {len(pipeline.cells)} operations"
    return {
        **known,
        "picture": for_page(svg, name, f"{label}; the code is in the table below"),
        "label": f"{label}. Arrow keys go from cell to cell.",
        "geometry": {**asdict(geometry(pipeline)), "slots": pipeline.slots},
        "slots": pipeline.slots,
        "letters": list(pipeline.letters.items()),
        "rows": _rows(pipeline),
        "sources": [(where, text) for where, text in pipeline.sources.items() if where],
    }


def _about(traced: Traced) -> str:
    report, pipeline = traced.explanation, traced.pipeline
    text = (
        f"{report.cycles:,} cycles in the traced run, {100 * report.bound.fraction:.2f} % of the MAC bound; bound by "
        f"{report.limit.unit}, taken in {100 * report.limit.share:.1f} % of the cycles."
    )
    if pipeline is not None:
        text += (
            f" Hottest loop: {pipeline.loop} ({pipeline.where}), {pipeline.cycles} bundles an iteration, "
            f"{100 * pipeline.share:.1f} % of all cycles."
        )
        if pipeline.shown < pipeline.cycles:
            text += f" Shown are cycles {pipeline.first} to {pipeline.first + pipeline.shown - 1}, the densest."
    return f"{text} Next lever: {report.advice}.".replace(" %", "\u00a0%")


def _rows(pipeline: Pipeline) -> list[tuple[int, list[dict[str, str] | None]]]:
    """For each cycle what each slot issues."""
    by_place: dict[tuple[int, str], Cell] = {(cell.column, cell.slot): cell for cell in pipeline.cells}
    rows = []
    for column in range(pipeline.shown):
        cells = [by_place.get((column, slot)) for slot in pipeline.slots]
        rows.append((pipeline.first + column, [None if cell is None else _cell(cell) for cell in cells]))
    return rows


def _cell(cell: Cell) -> dict[str, str]:
    stage = "" if cell.stage is None else f"{cell.stage}: {cell.part}" if cell.part else cell.stage
    return {"text": cell.text, "source": cell.source, "stage": stage}
