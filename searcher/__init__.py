"""Search over neural-network compression recipes: the front of quality against cost."""

__version__ = "0.1.0"
