"""Recipes, for spaces to import: a model and its stages."""

from searcher.config.recipe import (
    Distill,
    Model,
    PruneChannels,
    PruneWeights,
    Quantize,
    Recipe,
    Stage,
    Train,
    Training,
)

__all__ = [
    "Distill",
    "Model",
    "PruneChannels",
    "PruneWeights",
    "Quantize",
    "Recipe",
    "Stage",
    "Train",
    "Training",
]
