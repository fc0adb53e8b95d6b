"""What all tests share: none of them writes into the user's data folder, and each has an empty one of its own."""

from __future__ import annotations

import itertools

import pytest

_NUMBERS = itertools.count()


@pytest.fixture(autouse=True)
def _own_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("XATTN_DATA", str(tmp_path_factory.getbasetemp() / "data" / str(next(_NUMBERS))))
