"""The documents say what is so: commands print what is shown, links and files exist, code runs."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from xattn.devices import Simulator
from xattn.kernels.registry import kernel_spec, kernels
from xattn.whisper.weights import find_weights

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def _load_refresh() -> ModuleType:
    spec = importlib.util.spec_from_file_location("refresh", ROOT / "docs" / "refresh.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules["refresh"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


refresh = _load_refresh()


def _names(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _blocks(document: str, language: str) -> Iterator[str]:
    for info, text in re.findall(r"^```(\S*)[^\n]*\n(.*?)^```$", document, re.MULTILINE | re.DOTALL):
        if info == language:
            yield text


def _commands(path: Path, slow: bool) -> list:
    return [command for command in refresh.commands(path.read_text(encoding="utf-8")) if command.slow == slow]


def _check_commands(path: Path, folder: Path, slow: bool) -> None:
    chosen = _commands(path, slow)
    if "Whisper" in "".join(command.output for command in chosen) and find_weights() is None:
        pytest.skip(f"no Whisper weights: what {path.name} shows is NOT CHECKED")
    for command in chosen:
        assert refresh.run(command, folder) == command.output, (
            f"{path.name}, line {command.line}: {command.text.strip()} prints something else; "
            f"if that is right: python docs/refresh.py {_names(path)}"
        )


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if _commands(path, slow=False)], ids=_names)
def test_commands_print_what_is_shown(path: Path, tmp_path: Path) -> None:
    _check_commands(path, tmp_path, slow=False)


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in DOCUMENTS if _commands(path, slow=True)], ids=_names)
def test_long_commands_print_what_is_shown(path: Path, tmp_path: Path) -> None:
    _check_commands(path, tmp_path, slow=True)


def test_the_readme_shows_the_cycles_of_today() -> None:
    """This kernel's cycles do not depend on data; the whole table is checked by the slow test above."""
    (command,) = _commands(ROOT / "README.md", slow=True)
    shown = dict(re.findall(r"^(\w+) +yes +([\d,]+) ", command.output, re.MULTILINE))
    assert set(shown) == set(kernels()), "the README's table has not one row for each kernel"
    generator = np.random.default_rng(0)
    q, k, v = (generator.integers(-127, 128, (64, 64)).astype(np.int8) for _ in range(3))
    assert f"{Simulator().load(kernel_spec('vectorized'), 64, 64).run(q, k, v, 4).cycles:,}" == shown["vectorized"]


def test_python_code_runs() -> None:
    for path in DOCUMENTS:
        for block in _blocks(path.read_text(encoding="utf-8"), "python"):
            exec(compile(block, _names(path), "exec"), {"__name__": "document"})


@pytest.mark.parametrize("path", DOCUMENTS, ids=_names)
def test_links_and_files_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    missing = [link for link in links if not (path.parent / link).exists()]
    named = re.findall(r"`((?:src|tests|docs|requirements)/[\w/.]+?)/?`", text)
    missing += [name for name in named if not (ROOT / name).exists()]
    assert not missing


def test_the_architecture_names_every_room_and_no_other() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = set(re.findall(r"^\| \d \| `(\w+)/` \|", text, re.MULTILINE))
    packages = {path.parent.name for path in (ROOT / "src" / "xattn").glob("*/__init__.py")}
    assert rooms == packages
    sections = dict(re.findall(r"^### ([^\n]+)\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL))
    for title, body in sections.items():
        folders = [ROOT / "src" / "xattn" / room for room in title.split(" and ")]
        for name in re.findall(r"`(\w+\.py)`", body):
            assert any((folder / name).exists() for folder in folders), f"{title}: there is no {name}"


def test_make_targets_that_documents_name_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    for path in DOCUMENTS:
        named = set(re.findall(r"^(?:\$ |    )?make ([\w-]+)", path.read_text(encoding="utf-8"), re.MULTILINE))
        assert named <= targets, path.name


def test_refresh_puts_todays_output_in_place(tmp_path: Path) -> None:
    document = "a\n```console\n$ echo one  \n> echo two\nold\n\n$ true\n```\n```sh\nxattn nothing\n```\nb\n"
    (first, second) = refresh.commands(document)
    assert (first.output, first.line, first.slow, second.output) == ("old\n\n", 3, False, "")
    new = refresh.refreshed(document, tmp_path)
    assert new == document.replace("old\n\n", "one\ntwo\n")
    with pytest.raises(RuntimeError, match="exit code 3: exit 3"):
        refresh.refreshed("```console slow\n$ exit 3\n```\n", tmp_path)


def test_the_story_of_the_ladder_tells_the_golden_cycles() -> None:
    text = (ROOT / "docs" / "optimization.md").read_text(encoding="utf-8")
    told = {
        name: int(cycles.replace(",", "")) for name, cycles in re.findall(r"^\| `(\w+)`[^|]*\| ([\d,]+) \|", text, re.M)
    }
    golden = json.loads((ROOT / "tests" / "kernels" / "golden_cycles.json").read_text(encoding="utf-8"))
    assert told == {name: shapes["64x64"] for name, shapes in golden.items()}
    for name, share in re.findall(r"^\| `(\w+)`.*\| ([\d.]+) % \|$", text, re.M):
        spec = kernels()[name]
        assert float(share) == pytest.approx(100 * spec.macs(64, 64) / 256 / told[name], rel=0.04), name
