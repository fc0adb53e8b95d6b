import sys
from pathlib import Path

import pytest

# programs, models and generators that the tests of the interpreter keep
sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / "isa" / "semantics"))


@pytest.fixture(autouse=True, scope="session")
def _no_user_cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XATTN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
