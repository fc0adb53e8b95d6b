"""The charts of a report: ladder, roofline, stages, accuracy. Each is drawn once, for the page and for files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log10

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from xattn.bench.record import PEAK_MACS_PER_CYCLE
from xattn.bench.report.contents import Contents, KernelPage
from xattn.bench.report.style import colour, stage_colour

NewFigure = Callable[[float, float], Figure]
# Two loads and one store of 32 bytes in a cycle: the widest accesses, one in each memory slot.
MEMORY_BYTES_PER_CYCLE = 3 * 32
_PLAIN = FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
_WIDTH, _ROW, _MARGIN = 9.0, 0.31, 0.95  # inches
_ONE_NAME = 0.06  # decades between points that share a name in the roofline
_ALL_AROUND = 1.6  # factor of room beside the outermost points of a logarithmic axis


def ladder(contents: Contents, new: NewFigure) -> Figure:
    """Cycles of each kernel on a logarithmic axis, and how far it is from its MAC bound."""
    rows: list[tuple[str, int, str, bool]] = [
        (page.record.name, page.record.cycles, _of_peak(page), page.record.passed)
        for page in contents.pages
        if page.record.cycles is not None
    ]
    rows += [(f"{r.name} (recorded)", r.cycles, "not run here", True) for r in contents.bench.recorded]
    bounds = {page.record.name: page.bound for page in contents.pages}
    figure, axes = _rows_figure(new, [name for name, *_ in rows])
    for place, (name, cycles, note, passed) in enumerate(rows):
        bound = bounds.get(name)
        role = "text" if bound is None else "scores" if passed else "bound"
        if bound is not None:
            axes.plot([bound, cycles], [place, place], color=colour("scores"), linewidth=2, alpha=0.45)
            axes.plot([bound, bound], [place - 0.42, place + 0.42], color=colour("bound"), linewidth=2)
        face = colour(role) if bound is not None else "none"
        axes.plot(cycles, place, "o" if passed else "X", markersize=7, color=colour(role), markerfacecolor=face)
        axes.annotate(f"{cycles:,}  {note}", (cycles, place), (9, 0), textcoords="offset points", va="center")
    axes.set_xscale("log")
    every = [cycles for _, cycles, *_ in rows] + list(bounds.values())
    axes.set_xlim(min(every, default=1) / _ALL_AROUND, max(every, default=10) * 12)
    axes.xaxis.set_major_formatter(_PLAIN)
    axes.set_xlabel(
        "simulated cycles, logarithmic; red: the MAC bound of each kernel (256 multiply-accumulates a cycle)"
    )
    axes.grid(axis="x")
    return figure


def _of_peak(page: KernelPage) -> str:
    fraction = page.record.peak_fraction
    exact = "" if page.record.passed else ", NOT EXACT"
    return f"({100 * fraction:.2f} % of peak){exact}" if fraction is not None else exact


def roofline(contents: Contents, new: NewFigure) -> Figure:
    """Multiply-accumulates a cycle over multiply-accumulates a byte of local memory, under what the core allows."""
    figure = new(_WIDTH, 4.2)
    axes = figure.add_axes((0.08, 0.13, 0.9, 0.84))
    points = roofline_points(contents)
    ridge = PEAK_MACS_PER_CYCLE / MEMORY_BYTES_PER_CYCLE
    left = min([x for _, x, _ in points] + [ridge]) / 3
    right = max([x for _, x, _ in points] + [ridge]) * 5
    roof = [left, ridge, right], [left * MEMORY_BYTES_PER_CYCLE, PEAK_MACS_PER_CYCLE, PEAK_MACS_PER_CYCLE]
    axes.plot(*roof, color=colour("bound"), linewidth=2)
    axes.annotate(
        f"{PEAK_MACS_PER_CYCLE} multiply-accumulates a cycle",
        (right, PEAK_MACS_PER_CYCLE),
        (-6, 5),
        textcoords="offset points",
        ha="right",
    )
    axes.annotate(
        f"{MEMORY_BYTES_PER_CYCLE} bytes a cycle", (left, left * MEMORY_BYTES_PER_CYCLE), (8, 0),
        textcoords="offset points", va="top",
    )  # fmt: skip
    for _, x, y in points:
        axes.plot(x, y, "o", color=colour("scores"), markersize=7)
    for group in _near(points):
        _, x, y = max(group, key=lambda point: point[1])
        names = ", ".join(name for name, *_ in group)
        axes.annotate(names, (x, y), (7, -3), textcoords="offset points", va="top")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(left, right)
    axes.set_ylim(min([y for *_, y in points] + [1]) / 3, PEAK_MACS_PER_CYCLE * 2.2)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(_PLAIN)
    axes.set_xlabel("useful multiply-accumulates for each byte that loads and stores move")
    axes.set_ylabel("useful multiply-accumulates a cycle")
    axes.grid()
    return figure


Point = tuple[str, float, float]


def _near(points: Sequence[Point]) -> list[list[Point]]:
    """Points in groups that are too near to each other for a name each."""
    groups: list[list[Point]] = []
    for point in points:
        for group in groups:
            if all(abs(log10(a / b)) < _ONE_NAME for a, b in zip(group[0][1:], point[1:], strict=True)):
                group.append(point)
                break
        else:
            groups.append([point])
    return groups


def roofline_points(contents: Contents) -> list[Point]:
    """(kernel, multiply-accumulates a byte, multiply-accumulates a cycle) of every traced run."""
    return [
        (page.record.name, page.record.macs / traced.memory_bytes, page.record.macs / traced.explanation.cycles)
        for page in contents.pages
        if (traced := page.traced) is not None and traced.memory_bytes
    ]


Share = tuple[tuple[str, ...], int]  # stages that are under way at once, cycles


def stage_shares(page: KernelPage) -> list[Share]:
    """What each stage has alone, what several have at once, and what is of no stage; together all cycles."""
    assert page.traced is not None
    stages = page.traced.stages
    alone: list[Share] = [((stage.name,), stage.alone) for stage in stages.stages]
    at_once: list[Share] = [(tuple(overlap.stages), overlap.cycles) for overlap in stages.overlaps]
    return [*alone, *at_once, ((), stages.outside)]


def stages(contents: Contents, new: NewFigure) -> Figure:
    """Each kernel's cycles by stage, as shares; striped where two stages are under way at once."""
    pages = [page for page in contents.pages if page.traced is not None]
    figure, axes = _rows_figure(new, [page.record.name for page in pages], top=0.35)
    labels: dict[str, str] = {}
    striped = False
    for place, page in enumerate(pages):
        shares = stage_shares(page)
        total, left = sum(cycles for _, cycles in shares), 0.0
        for names, cycles in shares:
            share = 100 * cycles / total
            _share_bar(axes, place, left, share, names)
            labels.update((name, stage_colour(name)) for name in names)
            striped = striped or (len(names) > 1 and share > 0.5)
            left += share
    labels["no stage"] = stage_colour(None)
    for name, shade in labels.items():
        axes.barh(0, 0, color=shade, label=name)
    if striped:
        axes.barh(0, 0, color=stage_colour(None), hatch="//", edgecolor=colour("page"), label="striped: at once")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=6, frameon=False, borderaxespad=0.2)
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of the kernel's simulated cycles, %")
    return figure


def _share_bar(axes: Axes, place: int, left: float, share: float, names: tuple[str, ...]) -> None:
    first = stage_colour(names[0] if names else None)
    hatch, edge = ("//", stage_colour(names[1])) if len(names) > 1 else (None, first)
    axes.barh(place, share, left=left, height=0.72, color=first, linewidth=0, hatch=hatch, edgecolor=edge)
    if share >= 6:
        axes.text(left + share / 2, place, f"{share:.1f}", ha="center", va="center", color=colour("page"))


def accuracy(contents: Contents, new: NewFigure) -> Figure:
    """Relative L2 error against float attention, with the cosine written beside it."""
    records = [r for r in contents.bench.kernels if r.rel_l2 is not None and r.cosine is not None]
    figure, axes = _rows_figure(new, [record.name for record in records])
    for place, record in enumerate(records):
        error = record.rel_l2 or 0.0
        axes.barh(place, error, height=0.62, color=colour("scores"))
        note = f"{error:.4f}   cosine {record.cosine:.5f}"
        axes.annotate(note, (error, place), (6, 0), textcoords="offset points", va="center")
    axes.set_xlim(0, 1.35 * max([record.rel_l2 or 0.0 for record in records], default=1.0))
    axes.set_xlabel("relative L2 error of the dequantized output against float attention (0: equal)")
    axes.grid(axis="x")
    return figure


def _rows_figure(new: NewFigure, names: Sequence[str], top: float = 0.1) -> tuple[Figure, Axes]:
    """A figure with one named row for each entry, the first at the top."""
    height = _MARGIN - 0.3 + top + _ROW * max(len(names), 1)
    figure = new(_WIDTH, height)
    left = 0.02 + 0.0088 * max(map(len, names), default=0)
    axes = figure.add_axes((left, (_MARGIN - 0.35) / height, 0.98 - left, _ROW * max(len(names), 1) / height))
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    return figure, axes
