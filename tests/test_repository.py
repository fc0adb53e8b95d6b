"""The repository as a whole: small files, imports that point downward, nothing of any one machine in it."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from xattn.cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "xattn"
LONGEST = 500
# docs/architecture.md; `errors`, `files` and `cache` are below all, `xattn` itself (the version) too.
FLOORS = {
    "isa": 1, "numerics": 1, "array": 1, "sim": 2, "compiler": 2, "cpu": 2, "kernels": 3, "build": 4, "devices": 5,
    "testing": 5, "lint": 5,
    "bench": 6, "whisper": 7, "cli": 8,
}  # fmt: skip
BELOW_ALL = {"errors", "files", "cache", "__version__"}


def _tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: which files belong to the repository is not known")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def _texts() -> Iterator[tuple[Path, str]]:
    for path in _tracked():
        if b"\0" not in path.read_bytes():  # sound and other binary data
            yield path, path.read_text(encoding="utf-8")


def _found(pattern: str, exempt: frozenset[str] = frozenset()) -> list[str]:
    """Every place where a pattern occurs in a tracked text file, as file:line: match."""
    return [
        f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}: {match.group()}"
        for path, text in _texts()
        if str(path.relative_to(ROOT)) not in exempt
        for match in re.finditer(pattern, text)
    ]


def test_no_path_of_any_one_machine() -> None:
    homes = r"/(?:home|root|Users|work|opt|mnt|srv|workspace)/(?!user\b)[\w.-]+|[A-Z]:\\\\?Users"  # "user" is nobody
    assert _found(homes, frozenset({"tests/test_repository.py"})) == []


def test_no_registry_host() -> None:
    hosts = r"(?:files\.pythonhosted|download\.pytorch|pypi|test\.pypi|registry\.npmjs|conda\.anaconda)\.(?:org|com)"
    assert _found(hosts + r"|(?:extra-)?index-url|find-links", frozenset({"tests/test_repository.py"})) == []


def test_the_project_speaks_of_itself_alone() -> None:
    words = r"(?i)\b(?:issue #\d+|chatgpt|claude|copilot|language model|AI assistant|TODO|FIXME|XXX)\b"
    assert _found(words, frozenset({"tests/test_repository.py"})) == []


def test_logic_files_are_small() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in _tracked()
        if path.suffix == ".py" and (lines := path.read_text(encoding="utf-8").count("\n")) >= LONGEST
    }
    assert long == {}


def _imports(path: Path) -> Iterator[tuple[str, int]]:
    """The rooms that a file imports from, also in functions and for type checkers, with the line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            modules = (
                [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "xattn" else [node.module]
            )
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        else:
            continue
        for module in modules:
            if module.startswith("xattn."):
                yield module.split(".")[1], node.lineno


def _wrong_imports(path: Path, room: str) -> list[str]:
    return [
        f"{path.name}:{line}: {room} imports {other}"
        for other, line in _imports(path)
        if other not in BELOW_ALL and other != room and FLOORS[other] >= FLOORS[room]
    ]


def test_imports_point_downward() -> None:
    rooms = sorted(path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__")
    assert set(rooms) <= set(FLOORS), "a room without a floor"
    checked = [(path, room) for room in rooms for path in (SOURCE / room).rglob("*.py")]
    assert len(checked) > 50
    assert [wrong for path, room in checked for wrong in _wrong_imports(path, room)] == []


@pytest.mark.parametrize(
    ("room", "line", "wrong"),
    [
        ("isa", "from xattn.sim.core import Core", True),
        ("isa", "from xattn.numerics import lut", True),
        ("sim", "import xattn.compiler.ir", True),
        ("sim", "def f():\n    from xattn.cli import main", True),
        ("bench", "from xattn.whisper import mel", True),
        ("bench", "from xattn import __version__, cli", True),
        ("bench", "from xattn import __version__\nfrom xattn.bench.table import x\nfrom xattn.errors import E", False),
        ("cli", "from xattn.whisper import mel", False),
    ],
)
def test_the_check_of_imports_sees(room: str, line: str, wrong: bool, tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(line)
    assert bool(_wrong_imports(file, room)) == wrong


def test_every_command_has_a_module_and_a_test() -> None:
    tests = " ".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "cli").glob("test_*.py"))
    for name, (module, _) in COMMANDS.items():
        assert (SOURCE / "cli" / f"{module.rpartition('.')[2]}.py").is_file(), name
        assert re.search(rf'"{name}"', tests), f"no test calls xattn {name}"


def test_tests_mirror_the_package() -> None:
    rooms = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").is_file()}
    assert rooms <= {path.name for path in (ROOT / "tests").iterdir() if any(path.rglob("test_*.py"))}


def test_dependencies_of_the_core_are_few() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (core,) = re.findall(r"^dependencies = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    names = set(re.findall(r'"([\w-]+)', core))
    assert names <= {"numpy", "typer", "rich", "msgspec", "pyelftools"}
