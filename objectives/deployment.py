"""What a finished model costs where it is deployed: the size of its file, its latency and its memory."""

from math import inf

from searcher.measure import Measurement, Rows


def size_mb(measurement: Measurement) -> float:
    """The size of the file of what is deployed, in 10^6 bytes."""
    return measurement.size_mb


def weights_mb(rows: Rows) -> float:
    """The size of the weights alone, in the width in which they are stored: no file is smaller."""
    return sum(op.weights * (op.weight_bits or 0) for op in rows.ops) / 8e6


def latency_ms(measurement: Measurement) -> float:
    """Mean latency of a batch in milliseconds, under the study's conditions."""
    return measurement.inference.mean_ms


def latency_std_ms(measurement: Measurement) -> float:
    """Standard deviation of the latency of a batch in milliseconds."""
    return measurement.inference.std_ms


def latency_median_ms(measurement: Measurement) -> float:
    """Median latency of a batch in milliseconds."""
    return measurement.inference.median_ms


def fps(measurement: Measurement) -> float:
    """Images a second, by the mean latency."""
    return measurement.inference.fps


def peak_memory_mb(measurement: Measurement) -> float:
    """The most memory that the whole process of an inference holds, in 10^6 bytes."""
    return measurement.inference.peak_memory_mb


def inference_memory_mb(measurement: Measurement) -> float:
    """The memory that the model and its first run take beyond an empty process, in 10^6 bytes."""
    return measurement.inference.inference_memory_mb


TIMED = {
    "latency_ms": latency_ms,
    "latency_std_ms": latency_std_ms,
    "latency_median_ms": latency_median_ms,
    "fps": fps,
    "peak_memory_mb": peak_memory_mb,
    "inference_memory_mb": inference_memory_mb,
}
METRICS = {"size_mb": size_mb, **TIMED}
RANGES = dict.fromkeys(METRICS, (0, inf))
# What a figure is at least, by the operations alone.
LEAST = {"size_mb": weights_mb}
