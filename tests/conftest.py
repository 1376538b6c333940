import os
from pathlib import Path

import pytest

# Tests run side by side, each on one core.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real data sets and checkpoints, by SEARCHER_DATA."""
    given = os.environ.get("SEARCHER_DATA")
    if not given:
        pytest.skip("SEARCHER_DATA is not set")
    return Path(given)
