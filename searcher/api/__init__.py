"""searcher from Python, in a few lines: `search` for a front of compressed networks, `compress` one."""

from searcher.api.compressing import compress
from searcher.api.front import Front, Point
from searcher.api.searching import search

__all__ = ["Front", "Point", "compress", "search"]
