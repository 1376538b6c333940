"""Members of the families of tiny networks: their parameters, and their cost as it is predicted."""

from typing import Any

from torch import nn

from searcher.compression.predict import predict
from searcher.config.recipe import Model, Recipe, Stage
from searcher.costs.op import Op

IMAGE = (3, 32, 32)


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def predicted(name: str, args: dict[str, Any], *stages: Stage) -> list[Op]:
    found = predict(Recipe(model=Model(name=name, args=args), stages=stages), IMAGE, 10).ops
    assert found is not None
    return found
