"""The report: its figures beside what they come from, and the page as a document."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from dataclasses import replace
from datetime import datetime, timezone
from functools import lru_cache
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from report_cases import LOOPING, NAMES, require_extra, small_bench

require_extra()

from xattn.bench.explain import explain_kernel  # noqa: E402
from xattn.bench.report import charts  # noqa: E402
from xattn.bench.report.contents import Contents, contents_of  # noqa: E402
from xattn.bench.report.figures import figure_files  # noqa: E402
from xattn.bench.report.heatmap import geometry  # noqa: E402
from xattn.bench.report.html import CHARTS, html_page  # noqa: E402
from xattn.bench.report.pipeline import LONGEST, Pipeline  # noqa: E402
from xattn.bench.report.style import PALETTE, as_svg, drawing, for_page  # noqa: E402
from xattn.bench.report.tables import ladder_table, stage_table  # noqa: E402
from xattn.compiler.compile import CompiledKernel  # noqa: E402
from xattn.devices import Simulator  # noqa: E402
from xattn.isa.codec import Bundle  # noqa: E402
from xattn.kernels import products  # noqa: E402
from xattn.kernels.registry import compiled, kernel_spec  # noqa: E402

MADE = datetime(2026, 1, 2, 3, 4, tzinfo=timezone.utc)


@lru_cache(maxsize=2)
def contents_at(size: int) -> Contents:
    return contents_of(small_bench(size), "measured for a test")


@pytest.fixture(scope="module")
def contents() -> Contents:
    return contents_at(16)


@pytest.fixture(scope="module")
def page(contents: Contents) -> str:
    return html_page(contents, MADE)


def changed(contents: Contents, **changes: Any) -> Contents:
    """The same with another first record."""
    bench = msgspec.structs.replace(
        contents.bench,
        kernels=[msgspec.structs.replace(contents.bench.kernels[0], **changes), *contents.bench.kernels[1:]],
    )
    return contents_of(bench, contents.source)


# --- figures --------------------------------------------------------------------------------------------------------


def test_a_traced_run_is_that_of_the_benchmark(contents: Contents) -> None:
    assert [kernel.record.name for kernel in contents.pages] == list(NAMES[16])
    for kernel in contents.pages:
        assert kernel.traced is not None and not kernel.differs
        assert kernel.traced.stages.cycles == kernel.record.cycles == kernel.traced.explanation.cycles
        assert sum(cycles for _, cycles in charts.stage_shares(kernel)) == kernel.record.cycles


@pytest.mark.parametrize("name", NAMES[16])
def test_bytes_are_those_that_the_compiler_asked_for(name: str, contents: Contents) -> None:
    """The report counts by the opcode table; here by what the program says, and by how often each bundle is issued."""
    program: CompiledKernel = compiled(name, 16, 16)
    issued: Counter[int] = Counter()

    def count(_cycle: int, address: int, _bundle: Bundle) -> None:
        issued[address] += 1

    device = Simulator(trace=count).load(kernel_spec(name), 16, 16)
    from xattn.bench import cut_tile, synthetic_activations

    tile = cut_tile(synthetic_activations(0), 0, 16, 16)
    device.run(tile.q, tile.k, tile.v, tile.shift)
    moved = 0
    for (address, _), operation in program.emitted.operations.items():
        if operation.memory is not None:
            moved += issued[address] * operation.memory.bytes
        elif any("SP" in str(o.type) for o in operation.opcode.operands) or operation.opcode.name.endswith("_spill"):
            moved += issued[address] * 4  # a register kept on the stack
    (kernel,) = (kernel for kernel in contents.pages if kernel.record.name == name)
    assert kernel.traced is not None and kernel.traced.memory_bytes == moved > 0
    points = {point[0]: point[1:] for point in charts.roofline_points(contents)}
    macs = kernel_spec(name).macs(16, 16)
    assert points[name] == pytest.approx((macs / moved, macs / (kernel.record.cycles or 0)))
    assert points[name][1] <= min(256, 96 * points[name][0])  # no kernel is above the roof


@pytest.mark.parametrize(("name", "size"), LOOPING)
def test_a_pipeline_is_the_hottest_loop_of_the_explanation(name: str, size: int) -> None:
    pipeline = pipeline_of(name, size)
    timeline = explain_kernel(name, size, size).timeline
    assert timeline is not None and pipeline.cycles == timeline.cycles and pipeline.loop == timeline.loop
    first = pipeline.first
    for slot in pipeline.slots:
        row = [""] * pipeline.shown
        for cell in pipeline.cells:
            if cell.slot == slot:
                row[cell.column] = pipeline.letters[cell.letter]
                assert cell.text.split()[0] == pipeline.letters[cell.letter]
        assert row == timeline.slots[slot][first : first + pipeline.shown]
    assert pipeline.stalls == tuple(timeline.stalls[first : first + pipeline.shown])


def pipeline_of(name: str, size: int) -> Pipeline:
    (kernel,) = (kernel for kernel in contents_at(size).pages if kernel.record.name == name)
    assert kernel.traced is not None and kernel.traced.pipeline is not None
    return kernel.traced.pipeline


def test_cells_name_the_source_line_that_asked_for_them() -> None:
    pipeline = pipeline_of("qkt", 32)
    lines = inspect.getsource(products).splitlines()
    seen = Counter()
    for cell in pipeline.cells:
        file, _, line = cell.source.rpartition(":")
        assert file == "products.py" and pipeline.sources[cell.source] == lines[int(line) - 1].strip()
        text = pipeline.sources[cell.source]
        if cell.text.startswith(("vmac", "vmul")):
            assert "product(lefts[" in text
            seen["multiply"] += 1
        elif cell.text.startswith("vst"):
            assert text.startswith("out[")
            seen["store"] += 1
        assert cell.stage == "Q·Kᵀ" and cell.part == "products"
    assert seen["multiply"] >= 8 and seen["store"] >= 8


def test_a_long_loop_is_cut_to_its_densest_stretch() -> None:
    from xattn.bench.report.pipeline import _densest

    issued = [1] * 100 + [5] * LONGEST + [1] * 100
    assert _densest(issued, LONGEST) == 100
    assert _densest([1] * 20, LONGEST) == 0


# --- pictures -------------------------------------------------------------------------------------------------------


def test_charts_show_the_figures_as_text(contents: Contents) -> None:
    with drawing() as new:
        for name, draw in CHARTS.items():
            svg = as_svg(draw(contents, new), name)
            texts = [
                element.text or "" for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text")
            ]
            shown = for_page(svg, name, "a title")
            for text in texts:
                assert text in shown, f"the page changed {text!r}"
            everything = " ".join(texts)
            if name == "ladder":
                for record in contents.bench.kernels:
                    assert f"{record.cycles:,}" in everything and record.name in everything
                    assert f"{100 * (record.peak_fraction or 0):.2f} %" in everything
            if name == "accuracy":
                assert f"{contents.bench.kernels[0].rel_l2:.4f}" in everything


def test_charts_stand_for_kernels_that_failed(contents: Contents) -> None:
    failed = changed(contents, cycles=None, seconds=None, peak_fraction=None, exact=False, faults=["it stopped"])
    wrong = changed(contents, exact=False)
    nothing = Contents(msgspec.structs.replace(contents.bench, kernels=[], recorded=[]), (), "")
    for case, words in ((failed, "it stopped"), (wrong, "NOT EXACT"), (nothing, "The ladder")):
        assert words in html_page(case, MADE)
    assert ladder_table(failed).rows[0][1] == "FAILED" and ladder_table(wrong).rows[0][1] == "NO"


def test_stages_at_once_are_striped(contents: Contents) -> None:
    shares = [(("Q·Kᵀ", "softmax"), 10), (("softmax",), 30), ((), 2)]
    with drawing() as new:
        _, axes = charts._rows_figure(new, ["one"])
        charts._share_bar(axes, 0, 0, 50, shares[0][0])
        charts._share_bar(axes, 0, 50, 50, shares[1][0])
        hatches = [patch.get_hatch() for patch in axes.patches]
        assert hatches == ["//", None]
        assert [text.get_text() for text in axes.texts] == ["50.0", "50.0"]
    rows = [row for row in stage_table(contents).rows if row[0] == "qkt"]
    assert rows[0][1] == "Q·Kᵀ" and rows[-1][1] == "no stage"


def test_the_picture_has_its_cells_where_the_script_looks() -> None:
    """The letters of the SVG stand in the middle of the places that `geometry` gives."""
    from xattn.bench.report.heatmap import heatmap

    for name, size in LOOPING:
        pipeline = pipeline_of(name, size)
        place = geometry(pipeline)
        with drawing() as new:
            svg = ElementTree.fromstring(as_svg(heatmap(pipeline, new), name))
        letters = Counter(
            (round(float(e.get("x", 0)), 1), round(float(e.get("y", 0))), e.text)
            for e in svg.iter()
            if e.tag.endswith("text")
        )
        for cell in pipeline.cells:
            band, across = divmod(cell.column, place.columns)
            x = place.left + (across + 0.5) * place.width
            y = place.top + band * place.pitch + (pipeline.slots.index(cell.slot) + 0.5) * place.height
            assert any(
                abs(x - at_x) < 0.5 and 0 <= at_y - y <= place.height / 3 and text == cell.letter
                for at_x, at_y, text in letters
            ), (cell, x, y)


def test_files_are_png_and_svg_of_every_picture(contents: Contents) -> None:
    files = dict(figure_files(contents))
    stems = {*CHARTS, "pipeline-vectorized_pv"}
    assert set(files) == {f"{stem}.{kind}" for stem in stems for kind in ("png", "svg")}
    for name, data in files.items():
        if name.endswith("png"):
            assert data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) > 1000
        else:
            assert ElementTree.fromstring(data).tag == "{http://www.w3.org/2000/svg}svg"


def test_the_same_figures_make_the_same_page(contents: Contents, page: str) -> None:
    assert html_page(contents, MADE) == page


def luminance(colour: str) -> float:
    """Relative luminance: Web Content Accessibility Guidelines 2.2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("shade", [0, 1], ids=["light", "dark"])
def test_colours_can_be_read(shade: int) -> None:
    """Text has a contrast of 4.5 with the page, letters too with the cells they stand in; lines and marks 3."""
    page_colour = PALETTE["page"][shade]
    for role in ("text", "quiet", "scores", "softmax", "output", "other", "bound"):
        assert contrast(PALETTE[role][shade], page_colour) >= 4.5, role
    assert contrast(PALETTE["none"][shade], page_colour) >= 3
    assert len({light for light, _ in PALETTE.values()}) == len(PALETTE)


# --- the page -------------------------------------------------------------------------------------------------------

VOID = {"meta", "link", "br", "rect", "use", "path"}


class Document(HTMLParser):
    """Notes what a test asks for; unbalanced tags fail."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert tag in VOID or self.open.pop() == tag, f"</{tag}> closes another"

    def all(self, wanted: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == wanted]


def test_the_page_is_one_file_that_needs_no_other(page: str) -> None:
    assert len(page.encode()) < 1_000_000
    document = Document(page)
    assert [a.get("href") for a in document.all("link")] == ["data:,"]
    assert all("src" not in attributes for _, attributes in document.tags)
    assert not re.search(r"https?://|@import|url\((?!#)", page)
    for a in document.all("a"):
        assert str(a["href"]).startswith("#")


def test_ids_are_unique_and_references_go_somewhere(page: str) -> None:
    document = Document(page)
    ids = Counter(str(attributes["id"]) for _, attributes in document.tags if "id" in attributes)
    assert max(ids.values()) == 1
    wanted = {str(a["href"])[1:] for a in document.all("a")} | set(re.findall(r"url\(#([^)]+)\)", page))
    for _, attributes in document.tags:
        wanted |= {str(attributes[name]) for name in ("aria-labelledby", "data-table") if name in attributes}
        if str(attributes.get("href", "")).startswith("#"):
            wanted.add(str(attributes["href"])[1:])
    assert wanted <= set(ids)
    assert {"ladder", "roofline", "stages", "accuracy", "pipelines", "method"} <= set(ids)
    assert {f"kernel-{name}" for name in NAMES[16]} | {"code-vectorized_pv"} <= set(ids)
    assert "Nothing loops at this shape" in page[page.index('id="kernel-qkt"') :]


def test_pictures_have_text_alternatives_and_tables_have_heads(page: str) -> None:
    document = Document(page)
    for svg in document.all("svg"):
        assert svg.get("aria-hidden") == "true" or (svg["role"] == "img" and svg["aria-label"])
    assert len(document.all("table")) == page.count("<thead>") == 4 + 2
    assert document.all("html")[0]["lang"] == "en" and len(document.all("h1")) == 1
    assert {attributes.get("scope") for attributes in document.all("th")} == {"col", "row"}


def test_colours_are_variables_for_light_and_dark(page: str) -> None:
    body = page[page.index("<body>") :]
    assert not re.findall(r"#[0-9a-fA-F]{6}\b", body)
    assert "prefers-color-scheme: dark" in page and "@media print" in page
    for role, shades in PALETTE.items():
        assert page.count(f"--{role}: {shades[0]};") == page.count(f"--{role}: {shades[1]};") == 1


def test_the_page_says_what_was_run(contents: Contents, page: str) -> None:
    head = page[page.index("<header>") : page.index("<main>")]
    assert "Every cycle here is simulated" in head and "Nothing ran on an NPU" in head
    for words in ("SYNTHETIC", "16×16", "1.8 GHz", "measured for a test", "tokens 0–15"):
        assert words in head
    assert "2026-01-02 03:04 UTC" in page
    assert f"{contents.bench.kernels[0].cycles:,}" in page


def test_what_is_not_as_it_should_be_is_said_at_the_top(contents: Contents) -> None:
    def top(case: Contents) -> str:
        text = html_page(case, MADE)
        return text[text.index("<header>") : text.index("<main>")]

    assert "the benchmark says 7 cycles, the traced run took" in top(changed(contents, cycles=7))
    assert "&lt;b&gt;wrong&lt;/b&gt;" in top(changed(contents, faults=["<b>wrong</b>"]))
    traced = contents.pages[0].traced
    assert traced is not None
    inexact = replace(traced, explanation=msgspec.structs.replace(traced.explanation, exact=False))
    wrong = replace(contents, pages=(replace(contents.pages[0], traced=inexact),))
    assert "the output of the traced run is not" in top(wrong)
    gone = changed(contents, name="long_gone")
    assert "no kernel is called &#39;long_gone&#39;" in html_page(gone, MADE)


def test_the_code_table_has_every_operation() -> None:
    for name, size in LOOPING:
        pipeline, page = pipeline_of(name, size), html_page(contents_at(size), MADE)
        table = page[page.index(f'id="code-{name}"') :]
        table = table[: table.index("</table>")]
        cells = re.findall(r"<td[^>]*>([^<]+)</td>", table)
        assert len(cells) == len(pipeline.cells)
        assert Counter(cells) == Counter(cell.text for cell in pipeline.cells)
        assert table.count("<tr>") == pipeline.shown + 1
