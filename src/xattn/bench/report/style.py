"""How pictures look: one palette by roles, for light and for dark pages, and figures as SVG for a page or as files."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import matplotlib
from matplotlib.figure import Figure

from xattn.kernels.stages import OUTPUT, SCORES, SOFTMAX

# Role -> colour on a light page, colour on a dark page. Figures are drawn in the light ones; on a page each is replaced
# by a variable. So no two roles may share a light colour. Hues after Okabe and Ito, who chose them for all kinds of
# colour vision.
PALETTE = {
    "page": ("#ffffff", "#14181d"),
    "text": ("#1b1f24", "#e6e9ed"),
    "quiet": ("#59636e", "#a3adb8"),
    "line": ("#d0d7de", "#3a424c"),
    "scores": ("#0b6cb3", "#5fb4ee"),
    "softmax": ("#a55d00", "#f0b040"),
    "output": ("#00805a", "#3fc99a"),
    "other": ("#9c4f86", "#e09acb"),
    "none": ("#8b949e", "#78828d"),
    "bound": ("#b3261e", "#ff8a80"),
}
_ROLE_OF_STAGE = {SCORES: "scores", SOFTMAX: "softmax", OUTPUT: "output", None: "none"}


def colour(role: str) -> str:
    """A role's colour in a figure."""
    return PALETTE[role][0]


def role_of(stage: str | None) -> str:
    """The role of a stage; None: of what belongs to no stage."""
    return _ROLE_OF_STAGE.get(stage, "other")


def stage_colour(stage: str | None) -> str:
    """The colour of a stage in a figure."""
    return colour(role_of(stage))


@contextmanager
def drawing() -> Iterator[Callable[[float, float], Figure]]:
    """A context in which figures are drawn and written; gives a maker of figures of so many inches."""
    settings = {
        "font.size": 9,
        "text.color": colour("text"),
        "axes.facecolor": "none",
        "axes.edgecolor": colour("line"),
        "axes.labelcolor": colour("quiet"),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "grid.color": colour("line"),
        "grid.linewidth": 0.6,
        "xtick.color": colour("line"),
        "ytick.color": colour("line"),
        "xtick.labelcolor": colour("quiet"),
        "ytick.labelcolor": colour("text"),
        "hatch.linewidth": 3.0,
        "svg.fonttype": "none",  # text stays text: it can be read aloud, found and copied
    }
    with matplotlib.rc_context(settings):
        yield lambda width, height: Figure(figsize=(width, height))


def as_svg(figure: Figure, name: str) -> bytes:
    """A figure as an SVG file, the same for the same figure; `name` keeps its ids apart from those of others."""
    target = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(target, format="svg", facecolor="none", metadata={"Date": None, "Creator": None})
    return target.getvalue()


def for_page(svg: bytes, name: str, title: str) -> str:
    """An SVG file as a part of a page: colours by variables, a text alternative, no ids but those it needs itself."""
    text = svg.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for role, (light, _) in PALETTE.items():
        text = text.replace(light, f"var(--{role})")
    needed = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", text))
    text = re.sub(r' id="([^"]*)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in needed else "", text)
    text = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", text)
    text = re.sub(r' (?:xmlns:xlink|xmlns|version)="[^"]*"', "", text).replace("xlink:href", "href")
    width, height = re.findall(r'^<svg[^>]*?viewBox="0 0 ([\d.]+) ([\d.]+)"', text)[0]
    head = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{title}" style="--width:{width}">'
    text = re.sub(r"^<svg[^>]*>", head, text)
    return _smaller(text, name)


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")


def _smaller(svg: str, name: str) -> str:
    """The same picture in fewer bytes: the page chooses the fonts, and a hundredth of a point cannot be seen."""
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = re.sub(r' transform="rotate\(-0 [^"]*"', "", svg)
    svg = re.sub(r"<[^>]*>", lambda tag: re.sub(r"\d+\.\d{3,}", _rounded, tag[0]), svg)
    svg = re.sub(r'style="fill: none"', 'fill="none"', svg)
    svg = re.sub(r'(?<=d=")[^"]*', lambda m: re.sub(r"\s*([MLzCQ])\s*", r"\1", m[0]), svg)
    svg = re.sub(r"<g/>|<defs><style[^>]*>.*?</style></defs>", "", re.sub(r">\s+<", "><", svg))
    svg = re.sub(r"<g>(<text[^>]*>[^<]*</text>)</g>", r"\1", svg)
    for number, (style, times) in enumerate(Counter(re.findall(r'style="([^"]*)"', svg)).items()):
        if times > 9:
            svg = svg.replace(f'style="{style}"', f'class="{name}-{number}"')
            svg = svg.replace("</svg>", f"<style>.{name}-{number}{{{style}}}</style></svg>")
    return svg
