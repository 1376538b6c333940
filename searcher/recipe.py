"""Recipes, for spaces to import: a model and its stages."""

from searcher.config.examined import Examined
from searcher.config.recipe import (
    Distill,
    LowRank,
    Model,
    PruneChannels,
    PruneWeights,
    Quantize,
    QuantizeAware,
    Recipe,
    Stage,
    Teaching,
    Ternary,
    Train,
    Training,
)

__all__ = [
    "Distill",
    "Examined",
    "LowRank",
    "Model",
    "PruneChannels",
    "PruneWeights",
    "Quantize",
    "QuantizeAware",
    "Recipe",
    "Stage",
    "Teaching",
    "Ternary",
    "Train",
    "Training",
]
