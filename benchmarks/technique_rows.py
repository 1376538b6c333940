"""The rows of the table of techniques: each a few stages of one trained network."""

import hashlib
import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from searcher.config.stages.int8 import Widths
from searcher.recipe import (
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
)

EPOCHS = 2
CHECKPOINTS = {"resnet20": "resnet20-12fca82f.th", "resnet56": "resnet56-4bfd9763.th"}
SHORT: dict[str, Any] = {"lr": 0.01}
"""Of a training of weights that are trained already."""
EIGHT = {"conv1": Widths(), "linear": Widths()}
"""The first and the last layer keep 8 bits where the others have fewer, as in the literature."""


@dataclass(frozen=True)
class Row:
    """One technique: stages of the trained network, or of random weights where `begins` is empty."""

    group: str
    stages: tuple[Stage, ...]
    epochs: int = EPOCHS
    begins: str = "resnet20"

    @property
    def recipe(self) -> Recipe:
        """The row as a recipe."""
        return Recipe(
            model=trained("resnet20") if self.begins else Model(name="resnet20"), stages=self.stages
        )

    @property
    def key(self) -> str:
        """The name of its file."""
        told = {"recipe": self.recipe.model_dump(mode="json"), "epochs": self.epochs}
        told = json.loads(json.dumps(told).replace(str(checkpoints()), ""))
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def words(self) -> str:
        """The stages as a reader says them."""
        return "; ".join(stage.words() or stage.kind for stage in self.stages)


@cache
def checkpoints() -> Path:
    """The folder of the trained networks."""
    return Path(os.environ["SEARCHER_DATA"]).absolute() / "resnet_cifar10"


def trained(name: str) -> Model:
    """A network with the weights that others have trained."""
    return Model(name=name, weights=str(checkpoints() / CHECKPOINTS[name]))


def rows() -> list[Row]:
    """All that is measured."""
    teacher = trained("resnet56")
    narrow = {"weight_bits": 4, "activation_bits": 4, "bits": EIGHT}

    def channels(**options: Any) -> PruneChannels:
        return PruneChannels.model_validate({"ratio": 0.3} | SHORT | options)

    def weights(**options: Any) -> PruneWeights:
        return PruneWeights.model_validate({"sparsity": 0.8} | SHORT | options)

    def aware(**options: Any) -> QuantizeAware:
        return QuantizeAware.model_validate(options)

    grouped: dict[str, list[tuple[Stage, ...]]] = {
        "Quantization after training": [
            (Quantize(),),
            *[
                (Quantize.model_validate({"observer": o}),)
                for o in ("histogram", "percentile", "moving_average")
            ],
            (Quantize(weights_per="tensor"),),
            (Quantize(weights_per="tensor", equalize=True),),
            (Quantize(calibration_share=0.02, calibration_split="validation"),),
            (Quantize(dynamic=True),),
            (Quantize(weight_bits=4),),
            (Quantize(weight_bits=4, bias_correction=True),),
            (Quantize.model_validate(narrow),),
        ],
        "Quantization in training": [
            (aware(),),
            (aware(**narrow),),
            (aware(**narrow, teaching=Teaching()),),
            (aware(weight_bits=2, activation_bits=4, bits=EIGHT),),
            (Ternary(),),
            (Ternary(teaching=Teaching()),),
        ],
        "Fewer channels": [
            *[
                (channels(criterion=c),)
                for c in ("l1", "l2", "fpgm", "random", "bn_scale", "activation", "taylor")
            ],
            (channels(engine="nni"),),
            (channels(scope="global"),),
            (channels(ratio=0, ratios={"layer1": 0.5, "layer2": 0.5}),),
            (channels(round_to=8),),
            (channels(steps=2),),
            (Train(share=0.5, **SHORT), channels(after="rewind", share=0.5)),
            (channels(after="reinitialize", lr=0.1),),
            (channels(teaching=Teaching()),),
        ],
        "Fewer weights": [
            (weights(),),
            (weights(scope="local"),),
            (weights(layers="convolutions"),),
            (weights(steps=2),),
            (weights(pattern="4x1"),),
            (weights(sparsity=0.5, pattern="2:4"),),
            (weights(sparsity=0.5, criterion="movement"),),
            (Train(share=0.5, **SHORT), weights(after="rewind", share=0.5)),
            (weights(after="reinitialize", lr=0.1),),
            (weights(teaching=Teaching(teacher=teacher)),),
        ],
        "Low rank": [
            (LowRank(ratio=0.5, **SHORT),),
            (LowRank(ratio=0.5, method="spatial", **SHORT),),
            (LowRank(energy=0.9, **SHORT),),
            (LowRank(energy=0.9, method="spatial", **SHORT),),
        ],
        "A teacher": [
            (Distill(teacher=teacher, **SHORT),),
            (Distill(teacher=teacher, features={"layer3": "layer3"}, **SHORT),),
            (Distill(teacher=teacher, attention={"layer2": "layer2", "layer3": "layer3"}, **SHORT),),
            (Distill(teacher=teacher, views=4, **SHORT),),
        ],
        "Training": [
            *[
                (Train.model_validate(SHORT | options),)
                for options in (
                    {},
                    {"label_smoothing": 0.1},
                    {"mixup": 0.2},
                    {"cutmix": 1.0},
                    {"cutout": 0.5},
                    {"colour": 0.2, "rotation": 10},
                    {"ema": 0.99},
                    {"schedule": "one-cycle", "optimizer": "adamw", "lr": 0.001},
                    {"schedule": "step"},
                    {"precision": "fp32"},
                    {"precision": "bf16"},
                )
            ],
        ],
    }
    every = [Row(group, stages) for group, found in grouped.items() for stages in found]
    every.append(Row("Quantization in training", (aware(**narrow),), epochs=30))
    scratch = "A teacher of random weights, and its outputs of fixed views"
    for stage in (Train(), Distill(teacher=teacher), *(Distill(teacher=teacher, views=n) for n in (2, 8))):
        every.append(Row(scratch, (stage,), epochs=20, begins=""))
    order = {group: place for place, group in enumerate(grouped)}
    return sorted(every, key=lambda row: order.get(row.group, len(order)))
