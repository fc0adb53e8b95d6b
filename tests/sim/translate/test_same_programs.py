"""The programs of the interpreter's tests on the translator: each run of each test is done twice and must be equal."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import pytest
from engines import Shadow

from xattn.sim.core import Core

pytest.importorskip("llvmlite", reason="NOT CHECKED: the translator needs llvmlite (pip install 'xattn[jit]')")

SHADOW = Shadow()


@pytest.fixture(autouse=True)
def _both_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Core, "run", lambda core, address=0, **options: SHADOW(core, address, **options))


def _tests() -> Iterator[tuple[str, object]]:
    for module in ("test_control", "test_banks", "test_pipeline", "test_findings"):
        for name, found in vars(importlib.import_module(module)).items():
            if name.startswith("test_"):
                yield f"{name}_of_{module}", found


globals().update(_tests())


def _opcode(name: str) -> None:
    importlib.import_module("test_every_opcode").test_engine_and_evaluator_agree(name)


NAMES = importlib.import_module("test_every_opcode").NAMES


@pytest.mark.parametrize("name", NAMES[::8])
def test_some_opcodes(name: str) -> None:
    _opcode(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_opcode(name: str) -> None:
    _opcode(name)
