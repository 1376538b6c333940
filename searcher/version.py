"""The version of searcher."""

__version__ = "0.1.0"
