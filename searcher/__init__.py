"""Search over neural-network compression recipes: the front of quality against cost."""

from typing import TYPE_CHECKING, Any

from searcher.version import __version__

__all__ = ["Front", "Point", "__version__", "compress", "search"]

if TYPE_CHECKING:
    from searcher.api import Front, Point, compress, search


def __getattr__(name: str) -> Any:
    # The commands that only read do without torch.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from searcher import api

    return getattr(api, name)
