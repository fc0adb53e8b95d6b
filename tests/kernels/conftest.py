from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Given with a path under tests/kernels; otherwise the options do not exist and count as not given."""
    group = parser.getgroup("golden cycles of the kernels")
    group.addoption("--update-golden", action="store_true", help="write new and lower cycle counts to the golden file")
    group.addoption("--accept-rise", action="store_true", help="with --update-golden: write higher ones too")
