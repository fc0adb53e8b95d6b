"""The report in a real browser: nothing complains or is fetched; hover and keys work; light, dark, narrow and paper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Page, browser
from report_cases import require_extra, small_bench

require_extra()

from xattn.bench.report.contents import contents_of  # noqa: E402
from xattn.bench.report.html import html_page  # noqa: E402
from xattn.bench.report.style import PALETTE  # noqa: E402

pytestmark = pytest.mark.slow  # make test-all installs the browser first

KERNEL = "vectorized_pv"
PICTURE = f"document.querySelector('[data-table=\"code-{KERNEL}\"] svg')"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("browser")) as made:
        yield made


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(html_page(contents_of(small_bench(), "measured for a test")), encoding="utf-8")
    return path.as_uri()


def middle(page: Page, cycle: int, slot: int) -> tuple[float, float]:
    """Where a cell of the pipeline is in the window, from the picture's own geometry."""
    script = f"""(() => {{
        const svg = {PICTURE}, g = JSON.parse(svg.parentElement.dataset.geometry);
        const x = g.left + (({cycle} % g.columns) + 0.5) * g.width;
        const y = g.top + Math.floor({cycle} / g.columns) * g.pitch + ({slot} + 0.5) * g.height;
        const at = new DOMPoint(x, y).matrixTransform(svg.getScreenCTM());
        return [at.x, at.y];
    }})()"""
    x, y = page.value(script)
    return x, y


def test_nothing_complains_and_nothing_is_fetched(page: Page, url: str) -> None:
    page.complaints.clear()
    page.requests.clear()
    page.open(url)
    assert page.complaints == []
    assert [request for request in page.requests if not request.startswith("data:")] == [url]
    for section in ("ladder", "roofline", "stages", "accuracy", "pipelines", "method"):
        height = page.value(f"document.getElementById('{section}').getBoundingClientRect().height")
        assert height > 50, section
    sizes = page.value("[...document.querySelectorAll('figure svg')].map(s => s.getBoundingClientRect().width)")
    assert len(sizes) == 5 and min(sizes) > 300


def test_hovering_tells_instruction_and_source(page: Page, url: str) -> None:
    page.open(url)
    page.value(f"{PICTURE}.scrollIntoView({{block: 'center'}})")
    cells = page.value(f"""[...document.getElementById('code-{KERNEL}').tBodies[0].rows].flatMap((row, cycle) =>
        [...row.cells].slice(1).map((cell, slot) => [cycle, slot, cell.textContent, cell.dataset.source || '']))""")
    taken = [cell for cell in cells if cell[2]]
    assert len(taken) > 50
    for cycle, slot, text, source in [*taken[:3], *taken[len(taken) // 2 :][:3], *taken[-3:]]:
        page.point_at(*middle(page, cycle, slot))
        shown = page.value("document.getElementById('hover').textContent")
        assert f"cycle {cycle}, " in shown and f": {text}\n" in shown and source in shown
        assert "softmax: " in shown and "weights[g, e] = " in shown  # the stage, and the text of the source line
        visible = page.value("document.getElementById('hover').getBoundingClientRect().height")
        assert visible > 20
    cycle, slot, *_ = next(cell for cell in cells if not cell[2])
    page.point_at(*middle(page, cycle, slot))
    assert page.value("document.getElementById('hover').textContent").endswith(": nothing")
    page.point_at(2, 2)
    assert page.value("document.getElementById('hover').textContent") == ""


def test_keys_go_from_cell_to_cell(page: Page, url: str) -> None:
    page.open(url)
    page.value(f"{PICTURE}.parentElement.focus()")
    assert page.value("document.getElementById('hover').textContent").startswith("cycle 0, vec")
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        page.press(key)
    assert page.value("document.getElementById('hover').textContent").startswith("cycle 2, mv")
    page.press("Escape")
    assert page.value("document.getElementById('hover').textContent") == ""


def rgb(colour: str) -> str:
    return f"rgb({', '.join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))})"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_light_and_dark(dark: bool, page: Page, url: str) -> None:
    page.open(url, dark=dark)
    shown = page.value("getComputedStyle(document.body).backgroundColor")
    assert shown == rgb(PALETTE["page"][dark])
    texts = page.value("[...document.querySelectorAll('#ladder svg text')].map(t => getComputedStyle(t).fill)")
    assert rgb(PALETTE["text"][dark]) in texts and rgb(PALETTE["text"][not dark]) not in texts
    page.media(dark=dark, paper=True)  # paper is white
    assert page.value("getComputedStyle(document.body).backgroundColor") == rgb(PALETTE["page"][0])


def test_a_narrow_window_scrolls_pictures_not_the_page(page: Page, url: str) -> None:
    page.open(url, width=390, height=800)
    assert page.value("document.documentElement.scrollWidth") <= 390


def test_on_paper_nothing_is_cut_off(page: Page, url: str, tmp_path: Path) -> None:
    page.open(url, width=740)
    page.media(paper=True)
    wide = page.value("[...document.querySelectorAll('svg, table')].filter(e => e.scrollWidth > 740).length")
    assert wide == 0
    page.print_to(tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF-")
    opened = page.value("[...document.querySelectorAll('details')].filter(d => d.open).length")
    assert opened == 0  # closed again


def test_every_picture_and_table_has_a_name_for_those_who_listen(page: Page, url: str) -> None:
    page.open(url)
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    roles: dict[str, list[str]] = {}
    for node in nodes:
        if not node.get("ignored"):
            name = node.get("name", {}).get("value", "")
            roles.setdefault(node.get("role", {}).get("value", ""), []).append(name)
    images = roles.get("image", []) + roles.get("img", [])
    assert len(images) >= 5 and all(images)
    assert all(roles["region"]) and all(roles["link"]) and len(roles["heading"]) >= 9


def test_the_browser_sees_what_is_wrong(page: Page, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text("<!doctype html><img src='missing.png'><script>console.error('no'); nothing.there</script>")
    page.complaints.clear()
    page.requests.clear()
    page.open(bad.as_uri())
    assert any(complaint.startswith("console") for complaint in page.complaints)
    assert any(complaint.startswith("exception") for complaint in page.complaints)
    assert any(request.endswith("missing.png") for request in page.requests)
    page.complaints.clear()


def test_without_a_browser_the_tests_say_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("XATTN_BROWSER", raising=False)
    with pytest.raises(pytest.skip.Exception, match="NOT CHECKED in a browser"), browser(tmp_path):
        pass
