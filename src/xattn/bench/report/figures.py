"""The pictures of a report as files, for papers and slides: PNG and SVG of each."""

from __future__ import annotations

import io
from collections.abc import Iterator

from xattn.bench.report.contents import Contents
from xattn.bench.report.heatmap import heatmap
from xattn.bench.report.html import CHARTS
from xattn.bench.report.style import as_svg, colour, drawing

_DOTS_PER_INCH = 200


def figure_files(contents: Contents) -> Iterator[tuple[str, bytes]]:
    """(file name, contents) of every picture."""
    with drawing() as new:
        figures = {name: draw(contents, new) for name, draw in CHARTS.items()}
        for page in contents.pages:
            if page.traced is not None and page.traced.pipeline is not None:
                figures[f"pipeline-{page.record.name}"] = heatmap(page.traced.pipeline, new)
        for name, figure in figures.items():
            yield f"{name}.svg", as_svg(figure, name)
            target = io.BytesIO()
            figure.savefig(target, format="png", dpi=_DOTS_PER_INCH, facecolor=colour("page"))
            yield f"{name}.png", target.getvalue()
