"""A pretended Peano: a script that writes down how it is called and answers with an object that was made beforehand."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from xattn.build.kernel_object import kernel_object
from xattn.isa.elf_writer import write_elf
from xattn.kernels.registry import compiled

VERSION = "clang version 20.0.0 (https://github.com/Xilinx/llvm-aie 2aeb159)"

SCRIPT = """#!{python}
import json, os, sys
from pathlib import Path
here = Path(__file__).parent
if sys.argv[1:] == ["--version"]:
    print({version!r})
    print("Target: x86_64-unknown-linux-gnu")
    sys.exit()
files = {{name: Path(name).read_text() for name in sorted(os.listdir())}}
with open(here / "calls.json", "a") as log:
    log.write(json.dumps({{"argv": sys.argv[1:], "files": files}}) + "\\n")
output = Path(sys.argv[sys.argv.index("-o") + 1])
if (here / "fails").exists():
    output.write_bytes(b"\\x7fELF half")
    sys.stderr.write((here / "fails").read_text())
    sys.exit(1)
if (here / "object").exists():
    output.write_bytes((here / "object").read_bytes())
"""


class FakePeano:
    """An installation in a folder, as PEANO_INSTALL_DIR names it. `answer`: the object that it gives."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, root / "bin"
        self.folder.mkdir(parents=True)
        self.clang = self.folder / "clang"
        self.clang.write_text(SCRIPT.format(python=sys.executable, version=VERSION))
        self.clang.chmod(0o755)

    def answer(self, data: bytes) -> None:
        (self.folder / "object").write_bytes(data)

    def fail(self, says: str) -> None:
        (self.folder / "fails").write_text(says)

    def calls(self) -> list[dict]:  # type: ignore[type-arg]
        log = self.folder / "calls.json"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def object_of(kernel: str, side: int, symbol: str) -> bytes:
    """An object with the kernel's function and data sections, as another compiler could have made it."""
    return write_elf(kernel_object(compiled(kernel, side, side), symbol))
