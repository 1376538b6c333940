"""The folders that data sets are looked for in."""

import os
import warnings
from pathlib import Path

with warnings.catch_warnings():
    # Of tqdm, in a notebook without widgets: its bars are text there.
    warnings.filterwarnings("ignore", message="IProgress not found")
    import pooch


def cache() -> Path:
    """The user's cache folder, where `searcher data fetch` puts data sets."""
    return Path(pooch.os_cache("searcher"))


def find(name: str, marker: str = "") -> Path | None:
    """The folder of that name in $SEARCHER_DATA, ./data or the user's cache, with a file in it; else None."""
    given = os.environ.get("SEARCHER_DATA")
    roots = [*([Path(given)] if given else []), Path("data"), cache()]
    return next((root / name for root in roots if (root / name / marker).exists()), None)
