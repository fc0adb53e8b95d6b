"""A loop's steady state as a picture: slots × cycles, coloured by stage, a letter for each operation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from xattn.bench.report.pipeline import Pipeline
from xattn.bench.report.style import colour, stage_colour

_MOST_COLUMNS = 72  # cycles in one band: as wide as a page
_CELL, _ROW = 0.135, 0.2  # inches
_LEFT, _RIGHT, _TOP, _BETWEEN, _BOTTOM = 0.5, 0.12, 0.08, 0.34, 0.3
_POINTS = 72.0  # in an inch: the unit of the SVG


@dataclass(frozen=True)
class Geometry:
    """Where cells are in the SVG, in its units: (left + column·width, top + band·pitch + row·height)."""

    left: float
    top: float
    width: float
    height: float
    pitch: float
    columns: int


def geometry(pipeline: Pipeline) -> Geometry:
    """The place of the cells in the picture that `heatmap` draws."""
    rows = len(_rows(pipeline))
    return Geometry(
        left=_LEFT * _POINTS,
        top=_TOP * _POINTS,
        width=_CELL * _POINTS,
        height=_ROW * _POINTS,
        pitch=(rows * _ROW + _BETWEEN) * _POINTS,
        columns=_columns(pipeline),
    )


def _columns(pipeline: Pipeline) -> int:
    """Cycles in one band: as few bands as fit, all about as long."""
    bands = -(-pipeline.shown // _MOST_COLUMNS)
    return -(-pipeline.shown // bands)


def _rows(pipeline: Pipeline) -> list[str]:
    return [*pipeline.slots, *(["stall"] if any(pipeline.stalls) else [])]


def heatmap(pipeline: Pipeline, new: Callable[[float, float], Figure]) -> Figure:
    """The picture. Of a long loop, bands stand below one another."""
    rows, most = _rows(pipeline), _columns(pipeline)
    bands = -(-pipeline.shown // most)
    band = len(rows) * _ROW
    width = _LEFT + most * _CELL + _RIGHT
    height = _TOP + bands * band + (bands - 1) * _BETWEEN + _BOTTOM
    figure = new(width, height)
    for number in range(bands):
        first = number * most
        columns = min(most, pipeline.shown - first)
        bottom = height - _TOP - number * (band + _BETWEEN) - band
        axes = figure.add_axes((_LEFT / width, bottom / height, columns * _CELL / width, band / height))
        axes.set_xlim(0, columns)
        axes.set_ylim(len(rows), 0)
        _draw_band(axes, pipeline, rows, range(first, first + columns))
    return figure


def _draw_band(axes: Axes, pipeline: Pipeline, rows: list[str], columns: range) -> None:
    """Some cycles of a loop: a grid, the taken cells by stage, letters and stalls."""
    across = range(0, len(columns), 8)
    axes.set_xticks([c + 0.5 for c in across], [str(pipeline.first + columns[c]) for c in across])
    axes.set_yticks([row + 0.5 for row in range(len(rows))], rows)
    axes.tick_params(length=0, labelsize=7.5)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.vlines(range(len(columns) + 1), 0, len(rows), color=colour("line"), linewidth=0.4)
    axes.hlines(range(len(rows) + 1), 0, len(columns), color=colour("line"), linewidth=0.4)
    taken: dict[str | None, list[Square]] = defaultdict(list)
    letters = {"ha": "center", "va": "center", "size": 6.5}
    for cell in pipeline.cells:
        if cell.column in columns:
            column, row = cell.column - columns[0], rows.index(cell.slot)
            taken[cell.stage].append(_square(column, row))
            axes.text(column + 0.5, row + 0.54, cell.letter, color=colour("page"), **letters)
    for stage, squares in taken.items():
        axes.add_patch(PathPatch(_joined(squares), facecolor=stage_colour(stage), linewidth=0))
    for column, cycle in enumerate(columns):
        if pipeline.stalls[cycle]:
            axes.text(column + 0.5, len(rows) - 0.46, f"{pipeline.stalls[cycle]:.1g}", **letters)


Square = list[tuple[float, float]]


def _square(column: int, row: int) -> Square:
    inset = 0.05
    left, right, top, bottom = column + inset, column + 1 - inset, row + inset, row + 1 - inset
    return [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]


def _joined(squares: list[Square]) -> Path:
    codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
    return Path([point for square in squares for point in square], codes * len(squares))
