"""What a finished model costs: the MicroNet score and what it is made of."""

from math import inf

from searcher.costs.scores import score
from searcher.measure import Measurement, Rows


def micronet_score(measurement: Measurement | Rows, variant: str) -> float:
    """Parameters and operations weighted by their bits, relative to the variant's reference net."""
    return score(measurement.ops, variant).value


def params(measurement: Measurement | Rows) -> float:
    """Parameters of the architecture, zeros included."""
    return float(sum(op.params for op in measurement.ops))


def macs(measurement: Measurement | Rows) -> float:
    """Multiply-accumulates of one image."""
    return float(sum(op.macs for op in measurement.ops))


def sparsity(measurement: Measurement | Rows) -> float:
    """The share of the convolutions' and linear layers' weights that are zero; between 0 and 1."""
    ops = [op for op in measurement.ops if op.kind in ("conv", "linear")]
    return 1 - sum(op.nonzero for op in ops) / sum(op.weights for op in ops)


PREDICTED = {"micronet_score": micronet_score, "params": params, "macs": macs, "sparsity": sparsity}
METRICS = PREDICTED
RANGES = {"micronet_score": (0, inf), "params": (0, inf), "macs": (0, inf), "sparsity": (0, 1)}
