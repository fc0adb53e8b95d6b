"""The native engine's tests need llvmlite."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _llvmlite() -> None:
    pytest.importorskip("llvmlite", reason='NOT CHECKED: native attention needs llvmlite, pip install "xattn[jit]"')
