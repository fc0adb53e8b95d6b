"""A kernel's figures over time, from the store: as rows with bars, and as a plot in SVG or PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xattn.bench.figures import CYCLES, kernel_subject
from xattn.bench.store import Store
from xattn.errors import InputError
from xattn.files import write_whole

PLOT_SUFFIXES = (".svg", ".png", ".pdf")


@dataclass(frozen=True)
class Point:
    """One stored result's figure."""

    id: str
    created: str
    commit: str | None
    modified: bool
    value: float | None
    """None where the kernel was wrong or failed."""


def history(store: Store, kernel: str, tokens: int, width: int, metric: str = CYCLES) -> list[Point]:
    """The kernel's figures, oldest first. InputError when none is stored; it names the kernels that are."""
    subject = kernel_subject(kernel, tokens, width)
    with store.index() as index:
        series, subjects = index.series(subject, metric), index.subjects(metric)
    if not series:
        raise InputError(
            f"no {metric} of {subject} are stored in {store.folder}; there are {', '.join(subjects) or 'none'}"
        )
    return [Point(entry.id, entry.created, entry.commit, entry.modified, figure.value) for entry, figure in series]


def bars(values: Sequence[float | None], cells: int) -> list[str]:
    """A bar for each value, in eighths of a cell; the largest value fills all cells."""
    largest = max((value for value in values if value is not None), default=0.0)
    return ["" if value is None or not largest else _bar(value / largest * cells) for value in values]


def _bar(length: float) -> str:
    eighths = max(1, round(length * 8)) if length > 0 else 0
    return "█" * (eighths // 8) + ("▏▎▍▌▋▊▉"[eighths % 8 - 1] if eighths % 8 else "")


def plot(points: Sequence[Point], title: str, metric: str, file: Path) -> None:
    """Draw figures over time. InputError without matplotlib, for another suffix, or a file that cannot be written."""
    require_plot(file)
    from datetime import datetime
    from io import BytesIO

    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    shown = [point for point in points if point.value is not None]
    axes.plot(
        [datetime.fromisoformat(point.created) for point in shown],
        [point.value for point in shown],
        marker="o",
    )
    axes.set(title=title, xlabel="time (UTC)", ylabel=f"{metric} (simulated)")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    figure.autofmt_xdate()
    out = BytesIO()
    figure.savefig(out, format=file.suffix[1:].lower())
    try:
        write_whole(file, out.getvalue())
    except OSError as error:
        raise InputError(f"cannot write {file}: {error.strerror or error}") from None


def require_plot(file: Path) -> None:
    """InputError where no plot can be drawn into that file: to be called before work begins."""
    if file.suffix.lower() not in PLOT_SUFFIXES:
        raise InputError(f"cannot plot into {file}: expected one of the suffixes {', '.join(PLOT_SUFFIXES)}")
    if not file.absolute().parent.is_dir():
        raise InputError(f"cannot write {file}: {file.parent} is not a folder")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise InputError(
            'plots need matplotlib: pip install "xattn[report]"; without --plot a plot is printed'
        ) from None
