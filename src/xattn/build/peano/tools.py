"""Finding Peano (the clang of llvm-aie), mlir-aie and the headers of the AIE API: environment, packages, PATH."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PEANO_VARIABLES = ("PEANO_INSTALL_DIR", "PEANO")  # the folder with bin/; scripts of others set PEANO to the compiler
_SECONDS = 20


@dataclass(frozen=True)
class Tool:
    """A program and what it says of its version."""

    path: Path
    version: str


@dataclass(frozen=True)
class Tools:
    """Where to look: the environment's variables, and the folders of Python packages."""

    environment: Mapping[str, str]
    packages: tuple[Path, ...]

    @classmethod
    def here(cls) -> Tools:
        """This process's environment and Python."""
        return cls(dict(os.environ), tuple(Path(entry) for entry in sys.path if entry.endswith("-packages")))

    def peano(self) -> Tool | None:
        """Peano's clang. A clang that knows nothing of AIE2 does not count."""
        for path in self._clangs():
            version = version_of(path)
            if "llvm-aie" in version or (
                version and re.search(r"^\s*aie2\b", _said(path, "--print-targets"), re.MULTILINE)
            ):
                return Tool(path, version)
        return None

    def mlir_aie(self) -> Tool | None:
        """mlir-aie's driver, aiecc."""
        for folder in (*(package / "mlir_aie" / "bin" for package in self.packages), *self._path()):
            for name in ("aiecc", "aiecc.py"):
                if os.access(folder / name, os.X_OK) and (folder / name).is_file():
                    return Tool(folder / name, self._package_version("mlir_aie") or "version not known")
        return None

    def aie_api(self) -> Path | None:
        """The folder to include for `aie_api/aie.hpp`, which comes with mlir-aie and not with Peano."""
        for package in self.packages:
            for folder in (package / "mlir_aie" / "include", package / "mlir_aie" / "third_party/aie_api/include"):
                if (folder / "aie_api" / "aie.hpp").is_file():
                    return folder
        return None

    def _clangs(self) -> Iterator[Path]:
        for variable in PEANO_VARIABLES:
            value = self.environment.get(variable)
            if value:
                yield from (path for path in (Path(value) / "bin" / "clang", Path(value)) if path.is_file())
        for package in self.packages:
            yield from (path for path in (package / "llvm-aie" / "bin" / "clang",) if path.is_file())
        found = shutil.which("clang", path=self.environment.get("PATH", ""))
        if found:
            yield Path(found)

    def _path(self) -> Iterator[Path]:
        yield from (Path(entry) for entry in self.environment.get("PATH", "").split(os.pathsep) if entry)

    def _package_version(self, name: str) -> str:
        for package in self.packages:
            for folder in package.glob(f"{name}-*.dist-info"):
                return folder.name.removesuffix(".dist-info").partition("-")[2]
        return ""


def version_of(compiler: Path) -> str:
    """The first line of what `--version` says, with the revision in brackets; "" where it does not run."""
    return re.sub(r"\s+", " ", _said(compiler, "--version").strip().partition("\n")[0])


def _said(compiler: Path, option: str) -> str:
    try:
        done = subprocess.run([compiler, option], capture_output=True, text=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return ""
    return done.stdout if done.returncode == 0 else ""
