"""Measurements, for files in `objectives/` to import."""

from searcher.execution.measurement import Measurement, Rows

__all__ = ["Measurement", "Rows"]
