"""What all tests share: caches that belong to this session alone, and an empty data folder for each test."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest

_NUMBERS = itertools.count()


@pytest.fixture(autouse=True, scope="session")
def _caches_of_this_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "xattn-cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XATTN_CACHE", str(folder))
        yield


@pytest.fixture(autouse=True)
def _own_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("XATTN_DATA", str(tmp_path_factory.getbasetemp() / "data" / str(next(_NUMBERS))))
