"""Measurements, for files in `objectives/` to import."""

from searcher.execution.metrics import Measurement, Rows

__all__ = ["Measurement", "Rows"]
